/**
 * The cluster's store: Redis 7.0 or Valkey, a single primary. One command = one Lua script = one round trip.
 *
 * A command is sent once. When its reply is lost the caller sends it again, and the script gives its first reply (J6).
 */
import { Redis, type RedisOptions } from "ioredis";
import { genesis } from "../../../core/protocol/names.ts";
import { refusedRestore, type RestoredFigures } from "../../../core/protocol/restore.ts";
import type { Account, Command, NodeKey, Reply, StoredBody, StoredEntry, Wake } from "../../../core/protocol/types.ts";
import type { Durability, JournalStore, JournalView } from "../../../ports/store.ts";
import { StoreUnavailable } from "../../../ports/store-errors.ts";
import { fillOf, readDurability } from "./durability.ts";
import { replyCode, translate } from "./errors.ts";
import { runKeys } from "./keys.ts";
import { type ScriptName, script } from "./scripts.ts";
import { Watcher } from "./watcher.ts";
import { decodeReply, encode, readAccount, readEntries, readExecution, readItem } from "./wire.ts";

export interface RedisStoreOptions {
  /** No answer for this long: the connection is given up and StoreUnavailable thrown. */
  readonly commandTimeoutMs?: number;
  readonly access?: StoreAccess | undefined;
}

/** How to get in, beside what the URL says. */
export interface StoreAccess {
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  /** Certificate authority of a rediss:// server, PEM; the system's when absent. */
  readonly ca?: string | undefined;
}

const commandTimeoutMs = 5_000;
const reconnectMs = [20, 50, 100, 200, 500, 1_000];

export class RedisStore implements JournalStore {
  readonly #redis: Redis;
  readonly #watcher: Watcher;
  /** Of this connection: a server does not outlive its connections, nor they it. */
  #runId: string | undefined;

  private constructor(redis: Redis, watcher: Watcher) {
    this.#redis = redis;
    this.#watcher = watcher;
    redis.on("close", () => (this.#runId = undefined));
  }

  /**
   * `redis://[user:password@]host:port[/db]`, `rediss://…` for TLS, `redis+unix:///path/to.sock`.
   * Throws StoreUnavailable when there is no Redis now; later losses of the connection are mended by themselves.
   */
  static async connect(url: string, options: RedisStoreOptions = {}): Promise<RedisStore> {
    const timeoutMs = options.commandTimeoutMs ?? commandTimeoutMs;
    const redis = await connectRedis(url, options.access, timeoutMs);
    return new RedisStore(redis, new Watcher(client(url, timeoutMs, options.access)));
  }

  async execute(uid: string, command: Command): Promise<Reply> {
    const { keys, args } = encode(runKeys(uid), command);
    return this.#ask(async () => decodeReply((await this.#run(command.op, keys, args)) as string));
  }

  async view(uid: string, items: readonly NodeKey[]): Promise<JournalView> {
    const keys = runKeys(uid);
    const found = await this.#ask(() => this.#run("view", [keys.execution, ...items.map((key) => keys.item(key))], []));
    const [execution = {}, ...records] = (found as string[][]).map(fieldsOf);
    return { execution: readExecution(execution), items: records.map(readItem) };
  }

  async nodeAccount(uid: string, node: string): Promise<Account | undefined> {
    return this.#ask(async () => readAccount(await this.#redis.hgetall(runKeys(uid).node(node))));
  }

  async entries(uid: string, key: NodeKey, from: number, limit: number): Promise<readonly StoredEntry[]> {
    if (limit <= 0) return [];
    const elements = await this.#ask(() =>
      this.#redis.lrange(runKeys(uid).entries(key), Math.max(0, from - 1), from + limit - 1),
    );
    return from === 0 ? readEntries(elements, 0, undefined) : readEntries(elements.slice(1), from, elements[0]);
  }

  async bodies(uid: string, digests: readonly string[]): Promise<ReadonlyMap<string, string>> {
    if (digests.length === 0) return new Map();
    const found = await this.#ask(() => this.#redis.hmget(runKeys(uid).bodies, ...digests));
    return new Map(
      digests.flatMap((digest, place) => {
        const bytes = found[place];
        return bytes === null || bytes === undefined ? [] : [[digest, bytes] as const];
      }),
    );
  }

  async putBodies(uid: string, bodies: readonly StoredBody[]): Promise<void> {
    const { bodies: key } = runKeys(uid);
    if (bodies.length === 0) return;
    await this.#ask(() => this.#redis.hset(key, ...bodies.flatMap((body) => [body.digest, body.bytes])));
  }

  async restoreEntries(
    uid: string,
    key: NodeKey,
    entries: readonly StoredEntry[],
    { attempt, try: tryNumber, steps, finished }: RestoredFigures,
  ): Promise<void> {
    const keys = runKeys(uid);
    const figures = [attempt, tryNumber, steps].map(String);
    const args = [...figures, finished === undefined ? "" : `=${finished}`, genesis(uid, key)];
    for (const entry of entries) args.push(String(entry.index), entry.prevHash, entry.hash, entry.bytes);
    const reply = await this.#ask(() =>
      this.#run("restore", [keys.execution, keys.item(key), keys.entries(key)], args),
    );
    if (reply !== "OK") throw refusedRestore(key, String(reply));
  }

  async watch(uid: string, listener: (wake: Wake) => void): Promise<() => Promise<void>> {
    return this.#watcher.watch(runKeys(uid).channel, listener);
  }

  async dropBodies(uid: string, keep: readonly string[]): Promise<void> {
    const { bodies } = runKeys(uid);
    await this.#ask(() => this.#run("drop", [bodies], keep));
  }

  async keep(uid: string, items: readonly NodeKey[], seconds: number): Promise<void> {
    await this.#ask(() => this.#run("keep", allKeys(uid, items), [String(Math.max(0, Math.ceil(seconds)))]));
  }

  async expire(uid: string, items: readonly NodeKey[], seconds: number): Promise<void> {
    await this.#ask(() => this.#run("expire", allKeys(uid, items), [String(Math.max(0, Math.ceil(seconds)))]));
  }

  /**
   * Redis draws a new run id at each start, so it is asked for once per connection. A user without the right to INFO works too, and is
   * told nothing.
   */
  async runId(): Promise<string> {
    if (this.#runId !== undefined && this.#redis.status === "ready") return this.#runId;
    const { stream } = this.#redis;
    const runId = /^run_id:(\w+)/m.exec(await this.#info("server"))?.[1] ?? "";
    // Where the connection was lost meanwhile, the answer is that of a past life.
    if (this.#redis.stream === stream) this.#runId = runId;
    return runId;
  }

  async fill(): Promise<number> {
    return fillOf(await this.#info("memory"));
  }

  async durability(): Promise<Durability> {
    return this.#ask(() => readDurability(this.#redis));
  }

  /** "" where it may not be asked for. */
  async #info(section: "server" | "memory"): Promise<string> {
    return this.#ask(async () => {
      try {
        return await this.#redis.info(section);
      } catch (error) {
        if (replyCode(error) !== "NOPERM") throw error;
        return "";
      }
    });
  }

  async close(): Promise<void> {
    this.#watcher.close();
    this.#redis.disconnect();
  }

  async #run(name: ScriptName, keys: readonly string[], args: readonly string[]): Promise<unknown> {
    const { sha, text } = script(name);
    // Whoever may only read a run, as the user of one that replays it, is refused anything else.
    const evaluate = name === "view" ? "evalsha_ro" : "evalsha";
    try {
      return await this.#redis[evaluate](sha, keys.length, ...keys, ...args);
    } catch (error) {
      // Nothing ran. Redis has forgotten its scripts (restart, SCRIPT FLUSH).
      if (replyCode(error) !== "NOSCRIPT") throw error;
    }
    await this.#redis.script("LOAD", text);
    return this.#redis[evaluate](sha, keys.length, ...keys, ...args);
  }

  async #ask<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      // A silent connection is given up, else a dead peer would be waited for until TCP notices.
      if (error instanceof Error && error.message === "Command timed out") this.#redis.disconnect(true);
      throw translate(error);
    }
  }
}

/** The run's own records go with its items: a run is kept or forgotten as a whole. */
function allKeys(uid: string, items: readonly NodeKey[]): string[] {
  const run = runKeys(uid);
  const nodes = new Set(items.map((key) => key.node));
  return [
    run.execution,
    run.bodies,
    ...[...nodes].map((node) => run.node(node)),
    ...items.flatMap((key) => [run.item(key), run.entries(key)]),
  ];
}

/** A connection that mends itself later, but must stand now. Throws StoreUnavailable. */
export async function connectRedis(url: string, access?: StoreAccess, timeoutMs = commandTimeoutMs): Promise<Redis> {
  const redis = client(url, timeoutMs, access);
  let cause: unknown;
  redis.on("error", (error) => {
    cause = error;
  });
  try {
    await redis.connect();
  } catch (error) {
    redis.disconnect();
    throw new StoreUnavailable(`no Redis at ${withoutSecrets(url)}: ${((cause ?? error) as Error).message}`, {
      cause: cause ?? error,
    });
  }
  return redis;
}

/** Not connected yet. */
function client(url: string, timeoutMs: number, access: StoreAccess = {}): Redis {
  const options: Omit<RedisOptions, "replyMapping"> = {
    lazyConnect: true,
    commandTimeout: timeoutMs,
    connectTimeout: timeoutMs,
    keepAlive: 10_000,
    // Nothing waits unseen and nothing is sent twice: the caller knows what it resends.
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (times) => reconnectMs[Math.min(times, reconnectMs.length) - 1] ?? 1_000,
    reconnectOnError: (error) => error.message.startsWith("READONLY"),
    ...(access.user === undefined ? {} : { username: access.user }),
    ...(access.password === undefined ? {} : { password: access.password }),
    // Whoever has a user of its own may not ask for INFO; a server that still loads says so by itself.
    enableReadyCheck: access.user === undefined,
    ...(access.ca === undefined ? {} : { tls: { ca: access.ca } }),
  };
  return url.startsWith("redis+unix://")
    ? new Redis({ ...options, path: decodeURIComponent(new URL(url).pathname) })
    : // What the URL says comes first in the client, so TLS with an authority of one's own is asked for by the options alone.
      new Redis(access.ca === undefined ? url : url.replace(/^rediss:/, "redis:"), options);
}

/** HGETALL as a script returns it: field, value, field, value. */
function fieldsOf(flat: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    flat.flatMap((field, place) => (place % 2 === 0 ? [[field, flat[place + 1] ?? ""] as const] : [])),
  );
}

function withoutSecrets(url: string): string {
  return url.replace(/\/\/[^@/]*@/, "//");
}
