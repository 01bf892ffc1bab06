import { RE2JS } from "re2js";
import { Stop } from "./errors.ts";

/** What one evaluation may cost. Interpolating one value, whatever it holds, is one evaluation. */
export interface ExpressionLimits {
  /** Rounds of all comprehensions together, nested ones multiplied out. */
  readonly iterations: number;
  /** Bytes of JSON the named inputs have, and separately that the results have. */
  readonly bytes: number;
  /** Bytes of all values made on the way: joined texts, lists, slices. */
  readonly scratchBytes: number;
  /** Elementary operations (a node of the tree, a character compared): about 20 ns each. */
  readonly work: number;
}

export const defaultExpressionLimits: ExpressionLimits = {
  iterations: 100_000,
  bytes: 1_048_576,
  scratchBytes: 8_388_608,
  work: 20_000_000,
};

export const patternLengthMax = 1_000;
/** RE2 instructions; the library itself would build a million from a short repetition. */
export const patternSizeMax = 1_000;
const patternsKept = 32;
/** A pattern's instructions that are tried on one character in the time of one unit of work. */
const instructionsPerWork = 4;
/** Characters that a text search compares in the time of one unit of work. */
const comparisonsPerWork = 32;

/**
 * Counts what one evaluation costs and stops it. The counts depend on expression and data alone,
 * never on time or on what was evaluated before, so a run and its replay stop at the same place.
 * Once stopped it stays stopped: CEL's `||`, `&&` and `all` swallow errors of an operand.
 */
export class Meter {
  readonly limits: ExpressionLimits;
  #iterations = 0;
  #inputBytes = 0;
  #resultBytes = 0;
  #scratchBytes = 0;
  #work = 0;
  #stopped: Stop | undefined;
  readonly #patterns = new Map<string, RE2JS>();

  constructor(limits: ExpressionLimits = defaultExpressionLimits) {
    this.limits = limits;
  }

  /** The bound that was reached, even when the expression went on and gave a value. */
  get stopped(): Stop | undefined {
    return this.#stopped;
  }

  /** One round of a comprehension whose body has `bodySize` nodes. */
  iteration(bodySize: number): void {
    this.work(bodySize);
    if (++this.#iterations > this.limits.iterations) {
      this.#stop(`runs through more than ${this.limits.iterations} items; let a tool do the work on long lists`);
    }
  }

  work(units: number): void {
    if (this.#stopped !== undefined) throw this.#stopped;
    this.#work += units;
    if (this.#work > this.limits.work) this.#stop("takes too much work; let a tool do it");
  }

  input(bytes: number): void {
    this.#inputBytes += bytes;
    if (this.#inputBytes > this.limits.bytes) {
      this.#stop(
        `reads more than ${this.limits.bytes} bytes of JSON; let a tool or node pick out the part that is needed`,
      );
    }
  }

  result(bytes: number): void {
    this.#resultBytes += bytes;
    if (this.#resultBytes > this.limits.bytes) this.#stop(`gives more than ${this.limits.bytes} bytes of JSON`);
  }

  /** Called before the value is made wherever the value can be larger than what it is made of. */
  scratch(bytes: number): void {
    if (this.#stopped !== undefined) throw this.#stopped;
    this.#scratchBytes += bytes;
    if (this.#scratchBytes > this.limits.scratchBytes) {
      this.#stop(`builds more than ${this.limits.scratchBytes} bytes of intermediate values`);
    }
  }

  /** Charges a search for `needle`: the engine's own is quadratic on repetitive text (measured: 15 s). */
  search(text: string, needle: string): void {
    this.work(1 + Math.ceil((text.length * Math.max(1, needle.length)) / comparisonsPerWork));
  }

  /** CEL's `matches`: true if RE2 `pattern` is found anywhere in `text`; linear in the text. */
  matches(text: string, pattern: string): boolean {
    const compiled = this.#patterns.get(pattern) ?? this.#compile(pattern);
    this.work(1 + Math.ceil((text.length * compiled.programSize()) / instructionsPerWork));
    return compiled.test(text);
  }

  #compile(pattern: string): RE2JS {
    if (pattern.length > patternLengthMax) {
      this.#stop(`matches a pattern of more than ${patternLengthMax} characters`);
    }
    // Charged before: a short pattern of Unicode classes takes milliseconds to compile.
    this.work(10_000 + 1_000 * pattern.length);
    let compiled: RE2JS;
    try {
      compiled = RE2JS.compile(pattern);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Stop("ExpressionFailed", `matches: not an RE2 pattern: ${reason}`);
    }
    const size = compiled.programSize();
    if (size > patternSizeMax) {
      this.#stop(`matches a pattern of ${size} RE2 instructions (at most ${patternSizeMax}); use smaller repetitions`);
    }
    // The oldest goes first. Kept per evaluation only: a shared cache would make the cost depend on the past.
    const oldest = this.#patterns.size < patternsKept ? undefined : this.#patterns.keys().next().value;
    if (oldest !== undefined) this.#patterns.delete(oldest);
    this.#patterns.set(pattern, compiled);
    return compiled;
  }

  #stop(reason: string): never {
    this.#stopped = new Stop("ExpressionTooExpensive", `The expression ${reason}`);
    throw this.#stopped;
  }
}
