/** The TLS port itself: certificates that are exchanged while it serves, and what is not HTTP. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type TLSSocket } from "node:tls";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../../../../src/adapters/clock/system-clock.ts";
import { KubeClient } from "../../../../src/adapters/kube/client.ts";
import { loadKubeConfig } from "../../../../src/adapters/kube/connection.ts";
import { Authenticator } from "../../../../src/operator/api/authenticate.ts";
import { makeAuthority, makeServing } from "../../../../src/operator/api/certificate.ts";
import { operations } from "../../../../src/operator/api/routes.ts";
import { type ApiServer, type Credentials, type Handlers, listen } from "../../../../src/operator/api/server.ts";

const authority = makeAuthority(Date.now());
const clients = makeAuthority(Date.now());
const others = makeAuthority(Date.now());
const serving = (clientCa?: string): Credentials => ({
  ...makeServing(authority, ["localhost"], Date.now()),
  clientCa,
});
const answered = Promise.resolve({ status: 200, type: "application/json", body: "{}" });
const handler = () => answered;
const handlers = Object.fromEntries(Object.keys(operations).map((id) => [id, handler])) as unknown as Handlers;

/** Of a cluster that is never asked: nothing here needs to know a caller. */
function nobodysCluster(): KubeClient {
  const folder = mkdtempSync(join(tmpdir(), "oao-api-"));
  const file = join(folder, "kubeconfig");
  const cluster = { name: "c", cluster: { server: "https://127.0.0.1:1" } };
  const context = { name: "x", context: { cluster: "c", user: "u" } };
  const users = [{ name: "u", user: {} }];
  writeFileSync(file, JSON.stringify({ clusters: [cluster], users, contexts: [context], "current-context": "x" }));
  const client = new KubeClient(loadKubeConfig(file), { clock: systemClock });
  rmSync(folder, { recursive: true });
  return client;
}

let server: ApiServer;
const sockets: TLSSocket[] = [];
const first = serving(clients.certificate);
beforeEach(async () => {
  const client = nobodysCluster();
  const authenticator = new Authenticator({ client, nowMs: () => 0, trustsCertificates: () => true });
  const rate = { perSecond: 100, burst: 100 };
  const logger = pino({ level: "silent" });
  server = await listen({ port: 0, authenticator, handlers, rate, logger, observe: () => undefined }, first);
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await server.close();
});

/** Resolves once the connection is secure, so that the server's certificate was checked. */
function connected(): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const options = { host: "127.0.0.1", port: server.port, servername: "localhost", ca: authority.certificate };
    const socket = connect(options, () => resolve(socket));
    socket.once("error", reject);
    sockets.push(socket);
  });
}

/** The next bytes that come; "" = the connection ended. */
function said(socket: TLSSocket, text = ""): Promise<string> {
  return new Promise((resolve) => {
    socket.once("data", (data: Buffer) => resolve(data.toString()));
    socket.once("close", () => resolve(""));
    if (text !== "") socket.write(text);
  });
}

const get = "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n";
const shown = (socket: TLSSocket) => socket.getPeerX509Certificate()?.toString();

describe("certificates", () => {
  test("a renewed one is for new connections; those that are open go on", async () => {
    const open = await connected();
    expect(await said(open, get)).toMatch(/^HTTP\/1\.1 200 /);
    const next = serving(clients.certificate);
    server.use(next);
    expect(await said(open, get)).toMatch(/^HTTP\/1\.1 200 /);
    expect([shown(open), shown(await connected())]).toEqual([first.certificate, next.certificate]);
  });

  test("whoever the former authority of clients let in comes again", async () => {
    const open = await connected();
    expect(await said(open, get)).toMatch(/^HTTP\/1\.1 200 /);
    const closed = said(open);
    server.use(serving(others.certificate));
    expect(await closed).toBe("");
    expect(await said(await connected(), get)).toMatch(/^HTTP\/1\.1 200 /);
  });

  test("without an authority of clients no public one counts", async () => {
    server.use(serving());
    expect(await said(await connected(), "GET /executions/a/b/trace HTTP/1.1\r\nHost: x\r\n\r\n")).toMatch(/ 401 /);
  });
});

test.each([
  ["no HTTP at all", "\u0000\u0001\u0002\r\n\r\n", 400],
  ["two lengths", `${get.trimEnd()}\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n`, 400],
  ["a length and chunks", `${get.trimEnd()}\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n`, 400],
  ["no host", "GET /openapi.json HTTP/1.1\r\n\r\n", 400],
  ["headers without end", `${get.trimEnd()}\r\nX: ${"x".repeat(30_000)}\r\n\r\n`, 431],
])("%s is refused and ends the connection", async (_, text, status) => {
  const socket = await connected();
  expect(await said(socket, text)).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
  expect(await said(socket)).toBe("");
});
