/** A redis-server of the test's own: unix socket or free port, temporary folder, ended by its process id. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createConnection, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** What a journal store must be run with, see durability.ts. */
export const durable = {
  appendonly: "yes",
  appendfsync: "always",
  "no-appendfsync-on-rewrite": "no",
  "aof-load-truncated": "no",
  "maxmemory-policy": "noeviction",
};

export class RedisProcess {
  readonly directory: string;
  readonly #settings: Readonly<Record<string, string>>;
  readonly #port: number;
  #child: ChildProcess | undefined;

  private constructor(settings: Readonly<Record<string, string>>, port: number) {
    this.directory = mkdtempSync(join(tmpdir(), "oao-redis-"));
    this.#settings = settings;
    this.#port = port;
  }

  /** `tcp` listens on a free port of the loopback as well. */
  static async start(settings: Readonly<Record<string, string>> = durable, tcp = false): Promise<RedisProcess> {
    const server = new RedisProcess(settings, tcp ? await freePort() : 0);
    await server.start();
    return server;
  }

  get url(): string {
    return `redis+unix://${this.directory}/redis.sock`;
  }

  get port(): number {
    return this.#port;
  }

  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error("redis-server does not run");
    return pid;
  }

  async start(): Promise<void> {
    const path = process.env["OAO_REDIS_SERVER"] || "redis-server";
    const settings = {
      port: String(this.#port),
      bind: "127.0.0.1",
      unixsocket: join(this.directory, "redis.sock"),
      dir: this.directory,
      save: "",
      "enable-debug-command": "local",
      ...this.#settings,
    };
    const child = spawn(
      path,
      // The rules of a user are arguments of their own.
      Object.entries(settings).flatMap(([name, value]) => [
        `--${name}`,
        ...(name === "user" ? value.split(" ") : [value]),
      ]),
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    this.#child = child;
    let said = "";
    await new Promise<void>((resolve, reject) => {
      child.once("error", reject);
      child.once("exit", (code) => reject(new Error(`redis-server ended with ${code}:\n${said}`)));
      child.stdout.on("data", (chunk: Buffer) => {
        said += chunk.toString();
        if (said.includes("The server is now ready to accept connections at")) resolve();
      });
    });
    child.stdout.resume();
  }

  /** SIGKILL ends it as a crash does; SIGTERM lets it save. */
  async stop(signal: "SIGKILL" | "SIGTERM" = "SIGKILL"): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null) return;
    const ended = once(child, "exit");
    child.kill(signal);
    await ended;
  }

  /** What rollBack goes back to. Redis writes its log before it answers the next command; only the sync is left for later. */
  async keepLog(): Promise<void> {
    await this.command("PING");
    for (const path of this.logFiles()) copyFileSync(path, `${path}.kept`);
  }

  /** A crash that lost what was written since keepLog: SIGKILL, the kept log in place, not started yet. */
  async rollBack(): Promise<void> {
    await this.stop("SIGKILL");
    for (const path of this.logFiles()) if (existsSync(`${path}.kept`)) copyFileSync(`${path}.kept`, path);
  }

  logFiles(): string[] {
    const folder = join(this.directory, "appendonlydir");
    return readdirSync(folder)
      .filter((name) => name.endsWith(".incr.aof"))
      .map((name) => join(folder, name));
  }

  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** One command over a connection of its own; a simple reply as text. */
  async command(...words: string[]): Promise<string> {
    const socket = createConnection(join(this.directory, "redis.sock"));
    socket.write(`*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join("")}`);
    const [reply] = (await once(socket, "data")) as [Buffer];
    socket.destroy();
    return reply.toString().trim();
  }
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** A TCP proxy that can swallow the reply to a request and then cut the connection: the command was executed, nobody knows. */
export class LossyProxy {
  readonly #server = createServer((client) => this.#accept(client));
  readonly #sockets = new Set<Socket>();
  readonly #port: number;
  #swallow: RegExp | undefined;
  swallowed = 0;

  constructor(port: number) {
    this.#port = port;
  }

  async listen(): Promise<string> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    return `redis://127.0.0.1:${address.port}`;
  }

  /** The next request that matches is executed, its reply lost. */
  swallowReplyTo(request: RegExp): void {
    this.#swallow = request;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #accept(client: Socket): void {
    const redis = createConnection(this.#port, "127.0.0.1");
    let lossy = false;
    for (const socket of [client, redis]) {
      this.#sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        client.destroy();
        redis.destroy();
      });
    }
    client.on("data", (request: Buffer) => {
      if (this.#swallow?.test(request.toString()) === true) {
        this.#swallow = undefined;
        lossy = true;
      }
      redis.write(request);
    });
    redis.on("data", (reply: Buffer) => {
      if (lossy) {
        this.swallowed += 1;
        client.destroy();
      } else client.write(reply);
    });
  }
}
