/**
 * Everything a worker waits for is parked here and let go by hand, one at a time: its turn is the only source of order.
 * A dead worker's events are never let go; a paused one's are kept.
 */
import type { Clock } from "../../src/ports/clock.ts";
import type { Random } from "../support/random.ts";

export interface Actor {
  readonly name: string;
  alive: boolean;
  paused: boolean;
}

interface Parked {
  readonly actor: Actor;
  /** Virtual time before which it may not go, milliseconds; 0 = at once. */
  readonly dueMs: number;
  go(): void;
}

export class Scheduler {
  readonly #random: Random;
  #parked: Parked[] = [];
  #uuids = 0;
  nowMs = 1_000_000;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Resolves when this event's turn has come. */
  turn(actor: Actor): Promise<void> {
    return new Promise((resolve) => this.#parked.push({ actor, dueMs: 0, go: resolve }));
  }

  /** False when nothing can go: every live worker is paused, or none is left. Time moves only when all else waits, or by chance. */
  step(): boolean {
    this.#parked = this.#parked.filter(({ actor }) => actor.alive);
    const free = this.#parked.filter(({ actor }) => !actor.paused);
    const ready = free.filter(({ dueMs }) => dueMs <= this.nowMs);
    const chosen = ready.length > 0 && !this.#random.chance(0.02) ? this.#random.pick(ready) : earliest(free);
    if (chosen === undefined) return false;
    this.nowMs = Math.max(this.nowMs, chosen.dueMs) + 1;
    this.#parked.splice(this.#parked.indexOf(chosen), 1);
    chosen.go();
    return true;
  }

  clockOf(actor: Actor): Clock {
    return {
      nowMs: () => this.nowMs,
      monotonicMs: () => this.nowMs,
      sleep: (ms, signal) => this.#sleep(actor, ms, signal),
      uuid: () => {
        this.#uuids += 1;
        return `uuid-${this.#uuids}`;
      },
      random: () => this.#random.next(),
    };
  }

  #sleep(actor: Actor, ms: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(signal.reason as Error);
        return;
      }
      const parked: Parked = { actor, dueMs: this.nowMs + ms, go: resolve };
      this.#parked.push(parked);
      signal?.addEventListener("abort", () => {
        const place = this.#parked.indexOf(parked);
        if (place >= 0) this.#parked.splice(place, 1);
        reject(signal.reason as Error);
      });
    });
  }
}

function earliest(parked: readonly Parked[]): Parked | undefined {
  return parked.reduce<Parked | undefined>(
    (first, candidate) => (first === undefined || candidate.dueMs < first.dueMs ? candidate : first),
    undefined,
  );
}
