/** How often one caller may ask: a bucket of tokens each, refilled evenly. Bounded: the longest unused are forgotten, full. */

import { Problem } from "./problems.ts";

export interface Rate {
  readonly perSecond: number;
  /** At once, after a pause. */
  readonly burst: number;
}

interface Bucket {
  tokens: number;
  atMs: number;
}

const callersMax = 10_000;

/** Throws Problem (too-many-requests) where there is something to wait for. */
export function slowDown(waitMs: number | undefined): void {
  if (waitMs === undefined) return;
  const seconds = Math.ceil(waitMs / 1_000);
  throw new Problem("too-many-requests", `again in ${seconds} s`, { headers: { "Retry-After": String(seconds) } });
}

export class RateLimit {
  readonly #rate: Rate;
  readonly #nowMs: () => number;
  readonly #buckets = new Map<string, Bucket>();

  /** `nowMs` monotonic. */
  constructor(rate: Rate, nowMs: () => number) {
    this.#rate = rate;
    this.#nowMs = nowMs;
  }

  /** Takes one; undefined = granted, else after how many milliseconds there is one again. */
  take(caller: string): number | undefined {
    const bucket = this.#filled(caller);
    if (bucket.tokens < 1) return Math.ceil(((1 - bucket.tokens) / this.#rate.perSecond) * 1_000);
    bucket.tokens -= 1;
    return undefined;
  }

  /** Whether there is one, without taking it: as `take`. */
  look(caller: string): number | undefined {
    const { tokens } = this.#filled(caller);
    return tokens >= 1 ? undefined : Math.ceil(((1 - tokens) / this.#rate.perSecond) * 1_000);
  }

  #filled(caller: string): Bucket {
    const nowMs = this.#nowMs();
    const { perSecond, burst } = this.#rate;
    const known = this.#buckets.get(caller);
    const bucket: Bucket =
      known === undefined
        ? { tokens: burst, atMs: nowMs }
        : { tokens: Math.min(burst, known.tokens + ((nowMs - known.atMs) / 1_000) * perSecond), atMs: nowMs };
    this.#buckets.delete(caller);
    this.#buckets.set(caller, bucket);
    const [oldest] = this.#buckets.keys();
    if (this.#buckets.size > callersMax && oldest !== undefined) this.#buckets.delete(oldest);
    return bucket;
  }
}
