/** Some at once, fewer for each caller, some waiting: what costs memory takes turns, and nobody has them all. */
import { Problem } from "./problems.ts";

export interface TurnLimits {
  readonly atOnce: number;
  readonly perCaller: number;
  readonly waiting: number;
}

/** What is said to whom nothing is left to wait for. */
interface TooMany {
  readonly said: string;
  readonly afterSeconds: number;
}

interface Waiting {
  readonly caller: string;
  readonly go: () => void;
}

export class Turns {
  readonly #limits: TurnLimits;
  readonly #tooMany: TooMany;
  /** Turns taken, by caller. */
  readonly #taken = new Map<string, number>();
  readonly #waiting: Waiting[] = [];

  constructor(limits: TurnLimits, tooMany: TooMany = { said: "others are being served", afterSeconds: 1 }) {
    this.#limits = limits;
    this.#tooMany = tooMany;
  }

  /** Resolves with what gives the turn back; calling that again does nothing. Throws Problem where too many wait, or nobody does any more. */
  async take(caller: string, signal: AbortSignal): Promise<() => void> {
    if (this.#isFree(caller)) this.#give(caller);
    else await this.#wait(caller, signal);
    let isMine = true;
    return () => {
      if (!isMine) return;
      isMine = false;
      const left = (this.#taken.get(caller) ?? 1) - 1;
      if (left === 0) this.#taken.delete(caller);
      else this.#taken.set(caller, left);
      this.#next();
    };
  }

  #isFree(caller: string): boolean {
    const { atOnce, perCaller } = this.#limits;
    const taken = [...this.#taken.values()].reduce((sum, count) => sum + count, 0);
    return taken < atOnce && (this.#taken.get(caller) ?? 0) < perCaller;
  }

  #give(caller: string): void {
    this.#taken.set(caller, (this.#taken.get(caller) ?? 0) + 1);
  }

  #next(): void {
    const place = this.#waiting.findIndex(({ caller }) => this.#isFree(caller));
    if (place < 0) return;
    for (const { caller, go } of this.#waiting.splice(place, 1)) {
      this.#give(caller);
      go();
    }
  }

  async #wait(caller: string, signal: AbortSignal): Promise<void> {
    if (this.#waiting.length >= this.#limits.waiting) {
      const { said, afterSeconds } = this.#tooMany;
      throw new Problem("too-many-requests", said, { headers: { "Retry-After": String(afterSeconds) } });
    }
    const turn = Promise.withResolvers<void>();
    const mine = { caller, go: () => turn.resolve() };
    this.#waiting.push(mine);
    const leave = () => {
      const place = this.#waiting.indexOf(mine);
      if (place < 0) return;
      this.#waiting.splice(place, 1);
      turn.reject(new Problem("unavailable", "nobody waits for it any more"));
    };
    signal.addEventListener("abort", leave, { once: true });
    if (signal.aborted) leave();
    await turn.promise.finally(() => signal.removeEventListener("abort", leave));
  }
}
