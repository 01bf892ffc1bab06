/** What the tests of this folder share: a call's context, a real server that notes what reached it, a certificate. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingHttpHeaders, type RequestListener } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { createHttpTool, type HttpToolOptions } from "../../../src/adapters/tool/http-tool.ts";
import type { HttpToolSpec } from "../../../src/api/tool.ts";
import type { Json } from "../../../src/core/digest/json.ts";
import { CallFailure } from "../../../src/ports/step.ts";
import type { AddressRules, Tool, ToolCallContext } from "../../../src/ports/tool.ts";

export function callContext(changes: Partial<ToolCallContext> = {}): ToolCallContext {
  return {
    signal: new AbortController().signal,
    timeoutMs: 15_000,
    idempotencyKey: "key-1",
    bodyBytesMax: 1_000_000,
    values: {
      now: () => Promise.resolve(1_700_000_000_000),
      random: () => Promise.resolve(0.25),
      uuid: () => Promise.resolve("00000000-0000-4000-8000-000000000001"),
    },
    ...changes,
  };
}

export function rules(changes: Partial<AddressRules> = {}): AddressRules {
  return { allowHost: () => ({ allowed: true, named: false }), allowLoopback: true, denyCidrs: [], ...changes };
}

export const noSecrets = (): string => {
  throw new Error("no secret is expected to be read");
};

/** The tool `search` on loopback, without secrets. */
export function makeTool(http: HttpToolSpec, options: Partial<HttpToolOptions> = {}): Promise<Tool> {
  return createHttpTool({ name: "search", http }, { rules: rules(), readSecret: noSecrets, ...options });
}

export const get = (port: number, path = "/"): HttpToolSpec => ({
  method: "GET",
  url: `http://127.0.0.1:${port}${path}`,
});

/** The CallFailure a call ends in; anything else fails the test. */
export async function failureOf(call: Promise<Json>): Promise<CallFailure> {
  const outcome: unknown = await call.then(
    (answer) => new Error(`the call answered ${JSON.stringify(answer)}`),
    (error: unknown) => error,
  );
  if (outcome instanceof CallFailure) return outcome;
  throw outcome;
}

export interface SeenRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** Host name of the TLS greeting; undefined without TLS. */
  readonly servername: unknown;
}

export interface TestServer {
  readonly port: number;
  readonly seen: SeenRequest[];
  /** Number of TCP connections accepted. */
  readonly connections: () => number;
}

type Answer = (request: SeenRequest, response: Parameters<RequestListener>[1]) => void;

/** A server on a free loopback port that ends with the test. */
export async function startServer(answer: Answer, tls?: { key: string; cert: string }): Promise<TestServer> {
  const seen: SeenRequest[] = [];
  let connections = 0;
  const listener: RequestListener = (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const one = {
        method: request.method ?? "",
        url: request.url ?? "",
        headers: request.headers,
        body: Buffer.concat(chunks).toString(),
        servername: "servername" in request.socket ? request.socket.servername : undefined,
      };
      seen.push(one);
      answer(one, response);
    });
  };
  const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
  server.on("connection", () => connections++);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    return new Promise<void>((resolve) => void server.close(() => resolve()));
  });
  return { port: (server.address() as AddressInfo).port, seen, connections: () => connections };
}

export function json(value: unknown): Answer {
  return (_request, response) => {
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify(value));
  };
}

/** A self-signed certificate for one DNS name, made by the openssl program. */
export function certificateFor(name: string): { key: string; cert: string } {
  const folder = scratchFolder();
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  const names = ["-subj", `/CN=${name}`, "-addext", `subjectAltName=DNS:${name}`];
  execFileSync("openssl", ["req", "-x509", ...curve, "-keyout", key, "-out", cert, "-days", "2", ...names], {
    stdio: "pipe",
  });
  return { key: readFileSync(key, "utf8"), cert: readFileSync(cert, "utf8") };
}

/** A folder that is removed when the test ends, with these files in it. */
export function scratchFolder(files: Readonly<Record<string, string>> = {}): string {
  const folder = mkdtempSync(join(tmpdir(), "oao-tool-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return folder;
}
