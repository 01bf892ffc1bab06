/**
 * How long this worker may be silent before it is given up. Its own code renews each second. A module shares its thread and
 * may keep it from renewing, so while one runs the lease ends soon after that call's own time limit: code that never returns
 * is found out then, and code that computes for long within its limit is left alone.
 */
import type { Clock } from "../ports/clock.ts";

/** For the answer to be recorded after the limit. */
const marginMs = 3_000;
/** Heartbeats that come a little late lose no lease: so many of them fit into the shortest one. */
const heartbeatsLeast = 5;

export class Lease {
  readonly #ttlMs: number;
  readonly #leastMs: number;
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #calls = new Set<{ readonly untilMs: number }>();

  constructor(ttlMs: number, heartbeatIntervalMs: number, clock: Pick<Clock, "monotonicMs">) {
    this.#ttlMs = ttlMs;
    this.#leastMs = Math.min(ttlMs, heartbeatsLeast * heartbeatIntervalMs);
    this.#clock = clock;
  }

  /** Of a lease that is taken now, milliseconds. */
  get ttlMs(): number {
    if (this.#calls.size === 0) return this.#ttlMs;
    const latestMs = Math.max(...[...this.#calls].map((call) => call.untilMs));
    return Math.max(this.#leastMs, Math.ceil(latestMs - this.#clock.monotonicMs()) + marginMs);
  }

  /** Foreign code may hold the thread from now on, for `timeoutMs` at most. Returns what is to be called when it has ended. */
  lend(timeoutMs: number): () => void {
    const call = { untilMs: this.#clock.monotonicMs() + timeoutMs };
    this.#calls.add(call);
    return () => this.#calls.delete(call);
  }
}
