/**
 * The Redis users of runs: a worker runs code of tenants, so it never holds the operator's credentials.
 *
 * One user per run, limited to the keys and the channel of its {uid} and to the commands that the protocol's scripts are made of: no
 * EVAL, no SCRIPT, no KEYS, no CONFIG, no INFO. Passwords are derived, so a restarted operator sets the same ones again. Users and
 * scripts are not in Redis' log: both are set anew in each of its lives.
 */
import { createHmac } from "node:crypto";
import type { Redis } from "ioredis";
import type { Clock } from "../../../ports/clock.ts";
import { StoreUnavailable } from "../../../ports/store-errors.ts";
import { replyCode, translate } from "./errors.ts";
import { runKeys } from "./keys.ts";
import { connectRedis, type StoreAccess } from "./redis-store.ts";
import { script, scriptNames } from "./scripts.ts";

/** What the scripts of a worker call, what it reads outside them, and its wake-ups. */
const workerCommands = [
  "evalsha",
  "evalsha_ro",
  "hget",
  "hgetall",
  "hmget",
  "hset",
  "hsetnx",
  "rpush",
  "lrange",
  "time",
  "publish",
  "subscribe",
  "unsubscribe",
  "ping",
  "select",
];

export interface RunUser {
  readonly user: string;
  readonly password: string;
}

export interface OpenRun {
  readonly uid: string;
  /** Runs whose journals it reads. */
  readonly reads: readonly string[];
}

export interface RunUsersOptions {
  readonly clock: Clock;
  /** Passwords are HMAC-SHA256(key, uid). */
  readonly key: string;
  readonly access?: StoreAccess;
  /** How often the server is asked whether it is still in the same life, milliseconds; 1,000 when absent. */
  readonly lookMs?: number;
  /** Told when users and scripts were set anew, and of what kept that from happening. Must not throw. */
  readonly onRenewed?: (users: number) => void;
  readonly onError?: (error: unknown) => void;
}

export class RunUsers {
  readonly #redis: Redis;
  readonly #options: RunUsersOptions;
  /** Users that are set, each with the runs that it may read. */
  readonly #set = new Map<string, string>();
  #life = "";

  private constructor(redis: Redis, options: RunUsersOptions) {
    this.#redis = redis;
    this.#options = options;
  }

  /** Throws StoreUnavailable. */
  static async connect(url: string, options: RunUsersOptions): Promise<RunUsers> {
    return new RunUsers(await connectRedis(url, options.access), options);
  }

  /**
   * Makes the run's user if this life of the server does not have it. `reads`: other runs, whose journals it may read and no more,
   * since it replays them. Throws StoreUnavailable.
   */
  async ensure(uid: string, reads: readonly string[] = []): Promise<RunUser> {
    const { user, password } = this.#userOf(uid);
    if (this.#set.get(uid) !== reads.join()) {
      await this.#apply(uid, reads);
      this.#set.set(uid, reads.join());
    }
    return { user, password };
  }

  /** The run has ended: its user may do nothing any more, and its connections end. Repeat is a no-op. */
  async remove(uid: string): Promise<void> {
    this.#set.delete(uid);
    await this.#ask(() => this.#redis.acl("DELUSER", this.#userOf(uid).user));
  }

  /** Until `signal` aborts: users of open runs and scripts are there in each life of the server, whatever it forgot. */
  async keep(openRuns: () => Iterable<OpenRun>, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.#renew(openRuns);
      } catch (error) {
        this.#options.onError?.(error);
      }
      await this.#options.clock.sleep(this.#options.lookMs ?? 1_000, signal).catch(() => undefined);
    }
  }

  close(): void {
    this.#redis.disconnect();
  }

  async #renew(openRuns: () => Iterable<OpenRun>): Promise<void> {
    const info = await this.#ask(() => this.#redis.info("server"));
    const life = /^run_id:(\w+)/m.exec(info)?.[1] ?? "";
    const scripts = scriptNames.map(script);
    const known = await this.#ask(() => this.#redis.script("EXISTS", ...scripts.map(({ sha }) => sha)));
    for (const [place, { text }] of scripts.entries()) {
      if ((known as readonly number[])[place] !== 1) await this.#ask(() => this.#redis.script("LOAD", text));
    }
    if (life === this.#life) return;
    this.#set.clear();
    for (const { uid, reads } of openRuns()) await this.ensure(uid, reads);
    this.#life = life;
    this.#options.onRenewed?.(this.#set.size);
  }

  #userOf(uid: string): RunUser {
    runKeys(uid); // refuses what is no uid
    return { user: `oao-${uid}`, password: createHmac("sha256", this.#options.key).update(uid).digest("hex") };
  }

  async #apply(uid: string, reads: readonly string[]): Promise<void> {
    const { user, password } = this.#userOf(uid);
    const { pattern, channel } = runKeys(uid);
    const others = reads.map((other) => `%R~${runKeys(other).pattern}`);
    const rules = ["reset", "on", `>${password}`, `~${pattern}`, ...others, `&${channel}`, "-@all"];
    const may = workerCommands.map((command) => `+${command}`);
    await this.#ask(() => this.#redis.acl("SETUSER", user, ...rules, ...may));
  }

  async #ask<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (replyCode(error) === "NOPERM")
        throw new StoreUnavailable(
          `this Redis does not let the operator make users for its runs (${(error as Error).message}); its user needs +acl, +script and +info`,
          { cause: error },
        );
      throw translate(error);
    }
  }
}
