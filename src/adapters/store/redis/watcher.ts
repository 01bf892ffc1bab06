/** Wake-ups by publish, on a connection of its own: a subscriber's connection serves nothing else. */
import type { Redis } from "ioredis";
import type { Wake } from "../../../core/protocol/types.ts";

type Listener = (wake: Wake) => void;

const wakes: ReadonlySet<string> = new Set<Wake>(["control", "settled", "progress"]);

/** Lossy by contract. After each (re)subscription listeners get "control", as they may have missed one. */
export class Watcher {
  readonly #redis: Redis;
  readonly #listeners = new Map<string, Set<Listener>>();

  /** `redis` is a connection of the caller's own; `close` ends it. */
  constructor(redis: Redis) {
    this.#redis = redis;
    this.#redis.on("error", () => undefined);
    this.#redis.on("ready", () => void this.#subscribe([...this.#listeners.keys()]));
    this.#redis.on("message", (channel: string, wake: string) => {
      if (wakes.has(wake)) this.#tell(channel, wake as Wake);
    });
  }

  /** Resolves when the subscription stands, or when it could not be made now (a reconnect makes it). */
  async watch(channel: string, listener: Listener): Promise<() => Promise<void>> {
    const listeners = this.#listeners.get(channel) ?? new Set();
    const isNew = listeners.size === 0;
    listeners.add(listener);
    this.#listeners.set(channel, listeners);
    if (this.#redis.status === "wait") await this.#redis.connect().catch(() => undefined);
    if (isNew) await this.#subscribe([channel]);
    return async () => {
      listeners.delete(listener);
      if (listeners.size > 0 || this.#listeners.get(channel) !== listeners) return;
      this.#listeners.delete(channel);
      await this.#redis.unsubscribe(channel).catch(() => undefined);
    };
  }

  close(): void {
    this.#listeners.clear();
    this.#redis.disconnect();
  }

  async #subscribe(channels: readonly string[]): Promise<void> {
    if (channels.length === 0 || this.#redis.status !== "ready") return;
    try {
      await this.#redis.subscribe(...channels);
      for (const channel of channels) this.#tell(channel, "control");
    } catch {
      // A closed connection subscribes anew when it is back; a silent one is made to close.
      if (this.#redis.status === "ready") this.#redis.disconnect(true);
    }
  }

  #tell(channel: string, wake: Wake): void {
    for (const listener of this.#listeners.get(channel) ?? []) listener(wake);
  }
}
