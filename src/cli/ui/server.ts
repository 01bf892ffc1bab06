/** The local server of `oao ui`: the page's files, the JSON routes and the events. */
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { cliExitCodes } from "../../api/exit-codes.ts";
import { RecordChanged } from "../../host/record-changed.ts";
import type { Problem, RunKey } from "../../ui/wire.ts";
import { CliError } from "../errors.ts";
import { newToken, OneTimeCode, refuseStranger, refuseUnknown, securityHeaders } from "./guard.ts";
import { answer, BadRequest, focusOf, NotFound, pageRoutes, type RouteContext } from "./routes.ts";

export interface UiOptions extends RouteContext {
  /** The folder with index.html and what it loads. */
  readonly assets: string;
  /** 0 = any that is free. */
  readonly port: number;
}

export interface UiServer {
  /** `http://127.0.0.1:PORT/` */
  readonly origin: string;
  readonly token: string;
  /** Stands for the token once, in the address that a browser is started with: `#open:CODE`. */
  readonly code: string;
  close(): Promise<void>;
}

const bodyBytesMax = 4_096;
const pingIntervalMs = 15_000;
/** Steps may be recorded by the hundred a second; a page needs to hear of it only so often. */
const eventIntervalMs = 250;

const contentTypes: Readonly<Record<string, string>> = {
  "index.html": "text/html; charset=utf-8",
  "app.js": "text/javascript; charset=utf-8",
  "app.css": "text/css; charset=utf-8",
  "icon.svg": "image/svg+xml",
};

/** Throws CliError: the port is taken. */
export async function serveUi(options: UiOptions): Promise<UiServer> {
  const token = newToken();
  const code = new OneTimeCode(performance.now());
  const files = new Map(Object.keys(contentTypes).map((name) => [name, readFileSync(join(options.assets, name))]));
  const server = createServer({ requestTimeout: 10_000, maxHeaderSize: 8_192 }, (request, response) => {
    respond(request, response, options, files, { token, code }).catch((error: unknown) =>
      sendProblem(response, problemOf(error)),
    );
  });
  const port = await listen(server, options.port);
  return {
    origin: `http://127.0.0.1:${port}/`,
    token,
    code: code.value,
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

function listen(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) =>
      reject(
        error.code === "EADDRINUSE"
          ? new CliError(
              `port ${port} of 127.0.0.1 is taken`,
              ["another one: --port N; without it, one that is free"],
              cliExitCodes.infrastructure,
            )
          : error,
      ),
    );
    server.listen(port, "127.0.0.1", () => resolve((server.address() as AddressInfo).port));
  });
}

interface Secrets {
  readonly token: string;
  readonly code: OneTimeCode;
}

async function respond(
  request: IncomingMessage,
  response: ServerResponse,
  options: UiOptions,
  files: ReadonlyMap<string, Buffer>,
  { token, code }: Secrets,
): Promise<void> {
  for (const [name, value] of Object.entries(securityHeaders)) response.setHeader(name, value);
  response.setHeader("cache-control", "no-store");
  const stranger = refuseStranger(request.headers, request.socket.localPort ?? 0);
  if (stranger !== undefined) return sendProblem(response, problem(stranger.status, "Refused", stranger.detail));
  const url = parsed(request.url);
  if (!url.pathname.startsWith("/api/")) return sendFile(request, response, url.pathname, files);
  if (url.pathname === "/api/open" && request.method === "POST") {
    const { code: given } = ((await bodyOf(request)) ?? {}) as { code?: unknown };
    const refusal = code.use(typeof given === "string" ? given : "", performance.now());
    if (refusal !== undefined) return sendProblem(response, problem(refusal.status, "Not signed in", refusal.detail));
    return sendJson(response, 200, { token });
  }
  const unknown = refuseUnknown(request.headers, token);
  if (unknown !== undefined) return sendProblem(response, problem(unknown.status, "Not signed in", unknown.detail));
  if (url.pathname === "/api/events") return sendEvents(request, response, options, focusOf(url));
  const body = request.method === "POST" ? await bodyOf(request) : undefined;
  sendJson(response, 200, await answer({ method: request.method ?? "GET", url, body }, options));
}

/** Only paths: an absolute address, as for a proxy, is none of this server's. */
function parsed(target: string | undefined): URL {
  if (target?.startsWith("/") !== true || target.startsWith("//"))
    throw new BadRequest("the request's path is no path");
  return new URL(target, "http://127.0.0.1");
}

function sendFile(
  request: IncomingMessage,
  response: ServerResponse,
  path: string,
  files: ReadonlyMap<string, Buffer>,
): void {
  if (request.method !== "GET" && request.method !== "HEAD") throw new BadRequest("only GET is answered here", 405);
  const name = path.startsWith("/assets/") ? path.slice("/assets/".length) : pageRoutes.test(path) ? "index.html" : "";
  const content = files.get(name);
  if (content === undefined) throw new NotFound(`there is nothing at ${path}`);
  response.writeHead(200, { "content-type": contentTypes[name], "content-length": content.length });
  response.end(request.method === "HEAD" ? undefined : content);
}

async function sendEvents(
  request: IncomingMessage,
  response: ServerResponse,
  { source }: UiOptions,
  focus: RunKey | undefined,
): Promise<void> {
  if (request.method !== "GET") throw new BadRequest("only GET is answered here", 405);
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.write(": hello\n\n");
  const waiting = new Map<string, string>();
  let isOpen = true;
  const flush = () => {
    for (const text of waiting.values()) response.write(text);
    waiting.clear();
  };
  const ended = await source.watch(focus, ({ event, data }) => {
    if (isOpen) waiting.set(`${event} ${JSON.stringify(data)}`, `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  });
  const timers = [setInterval(flush, eventIntervalMs), setInterval(() => response.write(": ping\n\n"), pingIntervalMs)];
  const end = () => {
    if (!isOpen) return;
    isOpen = false;
    for (const timer of timers) clearInterval(timer);
    void ended().catch(() => undefined);
  };
  response.once("close", end);
  if (response.destroyed) end();
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > bodyBytesMax) throw new BadRequest(`a body of more than ${bodyBytesMax} bytes is refused`, 413);
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString("utf8")) as unknown;
  } catch {
    throw new BadRequest("the body is no JSON");
  }
}

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  const text = JSON.stringify(value);
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(text) });
  response.end(text);
}

function sendProblem(response: ServerResponse, found: Problem): void {
  if (response.headersSent) return void response.destroy();
  response.setHeader("content-type", "application/problem+json");
  response.writeHead(found.status, { connection: "close" });
  response.end(JSON.stringify(found));
}

function problem(status: number, title: string, detail: string, hints?: readonly string[]): Problem {
  return { type: "about:blank", title, status, detail, ...(hints === undefined ? {} : { hints }) };
}

function problemOf(error: unknown): Problem {
  if (error instanceof BadRequest) return problem(error.status, "Bad request", error.message);
  if (error instanceof NotFound) return problem(404, "Not found", error.message);
  if (error instanceof RecordChanged) return problem(409, "Changed after it was recorded", error.message);
  if (!(error instanceof CliError)) {
    return problem(500, "Failed", error instanceof Error ? error.message : String(error));
  }
  switch (error.exitCode) {
    case cliExitCodes.tampered:
      return problem(409, "Changed after it was recorded", error.message, error.hints);
    case cliExitCodes.infrastructure:
      return problem(502, "Not reachable", error.message, error.hints);
    case cliExitCodes.usage:
      return problem(404, "Not found", error.message, error.hints);
    case cliExitCodes.succeeded:
    case cliExitCodes.failed:
    case cliExitCodes.policyViolation:
    case cliExitCodes.cancelled:
    case cliExitCodes.divergence:
    case cliExitCodes.waiting:
      return problem(409, "Not possible", error.message, error.hints);
  }
}
