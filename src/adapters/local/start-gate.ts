/**
 * How many workers load at once. Loading a program is all CPU, so more than the machine can run only make each other late,
 * in heartbeats too; one that waits for its calls costs nothing and holds no place.
 */
import { availableParallelism } from "node:os";

export class StartGate {
  readonly #waiting: (() => void)[] = [];
  #free: number;

  constructor(places = 2 * availableParallelism()) {
    this.#free = places;
  }

  /** Calls `start` now or when a place is free, first come, first served. Whoever was started must `leave` once. */
  enter(start: () => void): void {
    if (this.#free === 0) {
      this.#waiting.push(start);
      return;
    }
    this.#free -= 1;
    start();
  }

  leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free += 1;
    else next();
  }
}
