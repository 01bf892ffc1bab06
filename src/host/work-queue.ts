/** A keyed queue: one pass per key at a time, wake-ups, back-off per key, a bounded number at once (S1: one bad key stops no other). */
import type { Clock } from "../ports/clock.ts";

export interface WorkQueueOptions<K> {
  readonly clock: Clock;
  /** Two keys of one name are the same key. */
  nameOf(key: K): string;
  /** Returns milliseconds until this key is due again. A throw backs off. */
  work(key: K): Promise<number | undefined>;
  /** Milliseconds after a pass before the next one of this key: what happens meanwhile is looked at together. 0 when absent. */
  restMs?(key: K): number;
  /** Whether this key goes before those that are new; never when absent. Of four turns, one is a new one's all the same. */
  isBegun?(key: K): boolean;
  /** Keys at work at once. */
  readonly parallel: number;
  readonly backoff: { readonly firstMs: number; readonly maxMs: number };
  onError(key: K, error: unknown, retryAfterMs: number): void;
}

interface Entry<K> {
  readonly key: K;
  isQueued: boolean;
  isRunning: boolean;
  /** Until a pause after its last pass is over. */
  isResting: boolean;
  failures: number;
  /** Monotonic, of the last pass. */
  endedAtMs: number;
  /** Drops the pending wake-up, which comes at `atMs`. */
  wake: { readonly abort: AbortController; readonly atMs: number } | undefined;
}

/** A key that backs off for longer is looked at this long after its last pass when something happens to it: it may be a stop. */
const pressedMs = 1_000;

export class WorkQueue<K> {
  readonly #options: WorkQueueOptions<K>;
  readonly #entries = new Map<string, Entry<K>>();
  readonly #queue: Entry<K>[] = [];
  readonly #begun: Entry<K>[] = [];
  #turn = 0;
  #running = 0;
  #isStopped = false;
  #idle: (() => void)[] = [];

  constructor(options: WorkQueueOptions<K>) {
    this.#options = options;
  }

  /**
   * Something about this key changed. While it is at work it is noted, and looked at again right after; while it backs
   * off it is looked at a second after its last pass at the soonest, else every event would hammer what is already failing.
   */
  add(key: K): void {
    const entry = this.#entry(key);
    if (this.#isStopped || entry.isQueued) return;
    if (entry.failures > 0 && entry.wake !== undefined) return this.#press(entry, entry.wake.atMs);
    entry.isQueued = true;
    this.#cancelWake(entry);
    if (!entry.isRunning && !entry.isResting) this.#line(entry);
    this.#fill();
  }

  /** Keys that wait for their turn. */
  get depth(): number {
    return this.#queue.length + this.#begun.length;
  }

  /** Takes no more work and resolves when what is at work has ended. Repeat: harmless. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#queue.length = 0;
    this.#begun.length = 0;
    for (const entry of this.#entries.values()) this.#cancelWake(entry);
    if (this.#running > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #entry(key: K): Entry<K> {
    const name = this.#options.nameOf(key);
    const found = this.#entries.get(name);
    if (found !== undefined) return found;
    const idle = { isQueued: false, isRunning: false, isResting: false, failures: 0, endedAtMs: 0 };
    const entry: Entry<K> = { key, ...idle, wake: undefined };
    this.#entries.set(name, entry);
    return entry;
  }

  #line(entry: Entry<K>): void {
    (this.#options.isBegun?.(entry.key) === true ? this.#begun : this.#queue).push(entry);
  }

  #take(): Entry<K> | undefined {
    this.#turn = (this.#turn + 1) % 4;
    const [first, second] = this.#turn === 0 ? [this.#queue, this.#begun] : [this.#begun, this.#queue];
    return first.shift() ?? second.shift();
  }

  #fill(): void {
    while (this.#running < this.#options.parallel) {
      const entry = this.#take();
      if (entry === undefined) return;
      this.#running += 1;
      entry.isQueued = false;
      entry.isRunning = true;
      void this.#run(entry);
    }
  }

  async #run(entry: Entry<K>): Promise<void> {
    let dueAfterMs: number | undefined;
    try {
      dueAfterMs = await this.#options.work(entry.key);
      entry.failures = 0;
    } catch (error) {
      const { firstMs, maxMs } = this.#options.backoff;
      dueAfterMs = Math.min(firstMs * 2 ** Math.min(entry.failures, 30), maxMs);
      entry.failures += 1;
      this.#options.onError(entry.key, error, dueAfterMs);
    }
    this.#running -= 1;
    entry.isRunning = false;
    entry.endedAtMs = this.#options.clock.monotonicMs();
    if (this.#isStopped) {
      if (this.#running === 0) for (const resolve of this.#idle.splice(0)) resolve();
      return;
    }
    const restMs = entry.failures > 0 ? 0 : (this.#options.restMs?.(entry.key) ?? 0);
    if (restMs > 0) this.#rest(entry, restMs, dueAfterMs);
    else this.#next(entry, dueAfterMs);
    this.#fill();
  }

  #next(entry: Entry<K>, dueAfterMs: number | undefined): void {
    if (entry.isQueued && entry.failures === 0) this.#line(entry);
    else {
      entry.isQueued = false;
      if (dueAfterMs === undefined) this.#entries.delete(this.#options.nameOf(entry.key));
      else this.#wakeAfter(entry, dueAfterMs);
    }
  }

  #rest(entry: Entry<K>, restMs: number, dueAfterMs: number | undefined): void {
    entry.isResting = true;
    void this.#options.clock.sleep(restMs).then(() => {
      entry.isResting = false;
      if (this.#isStopped) return;
      this.#next(entry, dueAfterMs === undefined ? undefined : Math.max(0, dueAfterMs - restMs));
      this.#fill();
    });
  }

  #press(entry: Entry<K>, dueAtMs: number): void {
    const soonestMs = entry.endedAtMs + pressedMs;
    if (soonestMs < dueAtMs) this.#wakeAfter(entry, soonestMs - this.#options.clock.monotonicMs());
  }

  #wakeAfter(entry: Entry<K>, afterMs: number): void {
    this.#cancelWake(entry);
    if (afterMs <= 0) return this.add(entry.key);
    const abort = new AbortController();
    entry.wake = { abort, atMs: this.#options.clock.monotonicMs() + afterMs };
    this.#options.clock.sleep(afterMs, abort.signal).then(
      () => {
        entry.wake = undefined;
        this.add(entry.key);
      },
      () => undefined, // dropped for an earlier reason to look
    );
  }

  #cancelWake(entry: Entry<K>): void {
    entry.wake?.abort.abort();
    entry.wake = undefined;
  }
}
