/** A certificate that comes due while the API serves: kept in a Secret behind a real API port, shown over real TLS, under a clock. */
import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { Agent, createServer, get, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";
import { pino } from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import { systemClock } from "../../../../src/adapters/clock/system-clock.ts";
import { KubeClient } from "../../../../src/adapters/kube/client.ts";
import { loadKubeConfig } from "../../../../src/adapters/kube/connection.ts";
import { Authenticator } from "../../../../src/operator/api/authenticate.ts";
import { makeAuthority, makeServing } from "../../../../src/operator/api/certificate.ts";
import { operations } from "../../../../src/operator/api/routes.ts";
import { type ApiServer, type Handlers, listen } from "../../../../src/operator/api/server.ts";
import { servingCertificate } from "../../../../src/operator/api/serving.ts";
import { keepServing } from "../../../../src/operator/api/start.ts";

const dayMs = 86_400_000;
/** Objects by path, as an API server keeps them: that much of it. */
const stored = new Map<
  string,
  { metadata: { name: string; resourceVersion?: string }; data: Record<string, string> }
>();
let cluster: Server;
let client: KubeClient;

beforeAll(async () => {
  const authority = makeAuthority(Date.now());
  const { certificate: cert, key } = makeServing(authority, ["127.0.0.1"], Date.now());
  cluster = createServer({ cert, key }, (request, answer) => {
    void (async () => {
      let text = "";
      for await (const part of request.setEncoding("utf8")) text += part as string;
      const path = request.url ?? "";
      const reply = (status: number, body: object) =>
        answer.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
      if (request.method === "GET") {
        const found = stored.get(path);
        return found === undefined
          ? reply(404, { kind: "Status", code: 404, reason: "NotFound", message: "" })
          : reply(200, found);
      }
      const {
        stringData = {},
        data = {},
        ...body
      } = JSON.parse(text) as {
        metadata: { name: string };
        stringData?: Record<string, string>;
        data?: Record<string, string>;
      };
      const encoded = Object.entries(stringData).map(([name, value]) => [name, Buffer.from(value).toString("base64")]);
      const place = request.method === "POST" ? `${path}/${body.metadata.name}` : path;
      const metadata = { ...body.metadata, resourceVersion: `${stored.size}-${text.length}` };
      stored.set(place, { ...body, metadata, data: { ...data, ...(Object.fromEntries(encoded) as object) } });
      return reply(200, stored.get(place) ?? {});
    })();
  });
  await new Promise<void>((resolve) => cluster.listen(0, "127.0.0.1", resolve));
  const folder = mkdtempSync(join(tmpdir(), "oao-renewal-"));
  const file = join(folder, "kubeconfig");
  const server = `https://127.0.0.1:${(cluster.address() as AddressInfo).port}`;
  writeFileSync(
    file,
    JSON.stringify({
      clusters: [
        {
          name: "c",
          cluster: { server, "certificate-authority-data": Buffer.from(authority.certificate).toString("base64") },
        },
      ],
      users: [{ name: "u", user: {} }],
      contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
      "current-context": "x",
    }),
  );
  client = new KubeClient(loadKubeConfig(file), { clock: systemClock });
  rmSync(folder, { recursive: true });
});
afterAll(async () => {
  client.close();
  cluster.closeAllConnections();
  await new Promise((resolve) => cluster.close(resolve));
});

test("is renewed in time: new connections see the new one, one that is open goes on, and nothing is started again", async () => {
  const answered = Promise.resolve({ status: 200, type: "application/json", body: "{}" });
  const handlers = Object.fromEntries(Object.keys(operations).map((id) => [id, () => answered])) as unknown as Handlers;
  const authenticator = new Authenticator({ client, nowMs: () => 0, trustsCertificates: () => false });
  const logger = pino({ level: "silent" });
  // Both are good today, when the second is made.
  let nowMs = Date.now() - 61 * dayMs;
  const servers: ApiServer[] = [];
  let resume: () => void = () => undefined;
  let paused: (ms: number) => void = () => undefined;
  const nextPause = () => new Promise<number>((resolve) => (paused = resolve));
  const stop = new AbortController();
  let pausing = nextPause();
  const kept = keepServing(
    {
      read: async () => {
        const { certificate, key } = await servingCertificate({
          client,
          nowMs: () => nowMs,
          namespace: "oao-system",
          service: "oao-api",
          port: 443,
          targetPort: 8443,
          names: [],
          tls: { secret: "oao-api-tls" },
        });
        return { certificate, key, clientCa: undefined };
      },
      serve: async (first) => {
        const rate = { perSecond: 100, burst: 100 };
        servers.push(await listen({ port: 0, authenticator, handlers, rate, logger, observe: () => undefined }, first));
        return servers.at(-1) as ApiServer;
      },
      renewed: () => undefined,
      pause: (ms) => new Promise((resolve) => ((resume = resolve), paused(ms))),
      logger,
      say: () => undefined,
    },
    stop.signal,
  );
  /** A minute goes by. */
  const pass = async () => {
    pausing = nextPause();
    resume();
    return pausing;
  };
  expect(await pausing).toBe(60_000);
  const [server] = servers;
  const ca = stored.get("/api/v1/namespaces/oao-system/configmaps/oao-api")?.data["ca.crt"] ?? "";
  const open = new Agent({ keepAlive: true, maxSockets: 1 });
  /** Serial that is shown when it connects, and the connection. */
  const call = (agent: Agent | false) =>
    new Promise<readonly [string, TLSSocket]>((resolve, reject) => {
      const options = {
        host: "127.0.0.1",
        port: server?.port,
        servername: "localhost",
        ca,
        agent,
        path: "/openapi.json",
      };
      get(options, (answer: IncomingMessage) => {
        const socket = answer.socket as TLSSocket;
        const told = [socket.getPeerX509Certificate()?.serialNumber ?? "", socket] as const;
        answer.resume().once("end", () => (answer.statusCode === 200 ? resolve(told) : reject(new Error("no 200"))));
      }).once("error", reject);
    });
  const [first, connection] = await call(open);
  await pass();
  expect((await call(false))[0]).toBe(first);
  nowMs += 61 * dayMs;
  await pass();
  const [renewed] = await call(false);
  expect(renewed).not.toBe(first);
  expect((await call(open))[1]).toBe(connection);
  const kept64 = stored.get("/api/v1/namespaces/oao-system/secrets/oao-api-tls")?.data["tls.crt"] ?? "";
  expect(new X509Certificate(Buffer.from(kept64, "base64")).serialNumber).toBe(renewed);
  expect(servers).toHaveLength(1);
  open.destroy();
  stop.abort();
  resume();
  await kept;
});
