/** /healthz, /readyz and /metrics: for the kubelet and Prometheus; nothing of a run's content is told here. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Registry } from "prom-client";

export interface Health {
  /** Why the process should be restarted; undefined = it should not. */
  sick(): string | undefined;
  /** Why it cannot do its work now; undefined = it can. */
  unready(): string | undefined;
}

/** Resolves when it listens. */
export async function serve(port: number, registry: Registry, health: Health): Promise<Server & { port: number }> {
  const server = createServer((request, response) => {
    const say = (code: number, text: string, type = "text/plain; charset=utf-8") =>
      response.writeHead(code, { "Content-Type": type }).end(text);
    const verdict = (why: string | undefined) => say(why === undefined ? 200 : 503, `${why ?? "ok"}\n`);
    if (request.method !== "GET" && request.method !== "HEAD") return void say(405, "only GET\n");
    switch (request.url?.split("?")[0]) {
      case "/healthz":
        return void verdict(health.sick());
      case "/readyz":
        return void verdict(health.unready());
      case "/metrics":
        return void registry.metrics().then(
          (text) => say(200, text, registry.contentType),
          () => say(500, "metrics cannot be collected\n"),
        );
      case undefined:
      default:
        return void say(404, "here are /healthz, /readyz and /metrics\n");
    }
  });
  server.requestTimeout = 10_000;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, resolve);
  });
  return Object.assign(server, { port: (server.address() as AddressInfo).port });
}
