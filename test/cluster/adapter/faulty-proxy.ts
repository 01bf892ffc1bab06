/** A real HTTP proxy in front of the real API server that breaks answers on request. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { Agent, request as httpsRequest, type RequestOptions } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { KubeConfig } from "@kubernetes/client-node";
import { inject } from "vitest";
import { systemClock } from "../../../src/adapters/clock/system-clock.ts";
import { KubeClient } from "../../../src/adapters/kube/client.ts";
import { loadKubeConfig } from "../../../src/adapters/kube/connection.ts";

export interface Seen {
  readonly method: string;
  readonly url: URL;
  readonly isWatch: boolean;
  readonly atMs: number;
}

interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: unknown;
}

/** Asked before each request goes on; an answer is sent instead. "Cut" closes the connection. */
type Fault = (seen: Seen) => Answer | "Cut" | undefined;

export class FaultyProxy {
  readonly seen: Seen[] = [];
  /** Connections that were opened. */
  connections = 0;
  fault: Fault = () => undefined;
  readonly #config = loadKubeConfig(inject("kubeconfig"));
  readonly #asAdmin: boolean;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #watches = new Set<ServerResponse>();
  #port = 0;

  /** `asAdmin` false: callers bring credentials of their own. */
  constructor({ asAdmin = true }: { readonly asAdmin?: boolean } = {}) {
    this.#asAdmin = asAdmin;
    this.#server = createServer((request, response) => void this.#forward(request, response));
    this.#server.on("connection", (socket) => {
      this.connections += 1;
      this.#sockets.add(socket);
      socket.on("error", () => undefined);
      socket.once("close", () => this.#sockets.delete(socket));
    });
  }

  /** At the same port each time. */
  async listen(): Promise<void> {
    this.#server.listen(this.#port, "127.0.0.1");
    await once(this.#server, "listening");
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  /** Refuses connections from now on. */
  async close(): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    this.cut();
    await closed;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  client(timeoutMs = 30_000): KubeClient {
    const config = new KubeConfig();
    config.loadFromClusterAndUser({ name: "proxy", server: this.url, skipTLSVerify: true }, { name: "nobody" });
    return new KubeClient(config, { clock: systemClock, timeoutMs });
  }

  get openWatches(): number {
    return this.#watches.size;
  }

  count(isWanted: (seen: Seen) => boolean): number {
    return this.seen.filter(isWanted).length;
  }

  /** A line into every open watch. */
  say(line: string): void {
    for (const watch of this.#watches) watch.write(`${line}\n`);
  }

  /** Every connection, at once. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Nothing more comes through the open connections, and they stay open. New ones work. */
  blackhole(): void {
    for (const socket of this.#sockets) {
      socket.pause();
      socket.write = () => false;
    }
  }

  async #forward(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://proxy");
    const isWatch = url.searchParams.get("watch") === "true";
    const seen = { method: request.method ?? "GET", url, isWatch, atMs: performance.now() };
    this.seen.push(seen);
    const fault = this.fault(seen);
    if (fault === "Cut") return void request.socket.destroy();
    if (fault !== undefined) {
      response.writeHead(fault.status, { "Content-Type": "application/json", ...fault.headers });
      return void response.end(JSON.stringify(fault.body));
    }
    const server = new URL(this.#config.getCurrentCluster()?.server ?? "");
    const options: RequestOptions = {};
    await this.#config.applyToHTTPSOptions(options);
    const { ca } = options;
    const { cert, key } = this.#asAdmin ? options : {};
    const { host: _, ...headers } = request.headers;
    const onward = httpsRequest({
      ca,
      cert,
      key,
      headers,
      agent: this.#agent,
      hostname: server.hostname,
      port: server.port,
      path: request.url,
      method: request.method,
    });
    onward.on("error", () => response.destroy());
    response.on("close", () => onward.destroy());
    request.pipe(onward);
    const [answer] = (await once(onward, "response").catch(() => [])) as [IncomingMessage?];
    if (answer === undefined) return;
    response.writeHead(answer.statusCode ?? 500, answer.headers);
    response.flushHeaders();
    if (isWatch) {
      this.#watches.add(response);
      response.on("close", () => this.#watches.delete(response));
    }
    answer.on("error", () => response.destroy());
    answer.pipe(response);
  }
}

export function statusBody(code: number, reason: string): object {
  return { kind: "Status", apiVersion: "v1", status: "Failure", code, reason, message: `${reason} on purpose` };
}
