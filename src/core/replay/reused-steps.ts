/** What a Fork answers from the record of the run it replays: steps before its cursor, and tool calls that were recorded with the same arguments. */
import type { StepEntry, StepIdentity } from "../steps/format.ts";
import { pathText, stepKey } from "../steps/identity.ts";
import type { TracedCall } from "../trace/journal.ts";

export type RecordedCall = TracedCall<StepEntry>;

export type Found =
  | { readonly is: "Reused"; readonly call: RecordedCall; readonly isPatched: boolean }
  /** Another call stands recorded in this place: J5 makes no guess. */
  | { readonly is: "Diverged"; readonly call: RecordedCall };

export interface ReusedStepsOptions {
  /** Steps of the node item before the cursor, in canonical order. */
  readonly prefix: readonly RecordedCall[];
  /** All of them: what tool calls after the cursor may be answered from; empty where they are made again. */
  readonly recorded: readonly RecordedCall[];
  /** The request of a step before the cursor may differ, and its place decides. */
  readonly isPatched: boolean;
}

export class ReusedSteps {
  readonly #options: ReusedStepsOptions;
  readonly #byKey: ReadonlyMap<string, RecordedCall>;
  readonly #byPath: ReadonlyMap<string, RecordedCall>;
  /** Of tool calls. An error is no answer to go on from: such a call is made again. */
  readonly #answers: ReadonlyMap<string, RecordedCall>;
  readonly #consumed = new Set<RecordedCall>();
  readonly #patched = new Set<RecordedCall>();
  /** Scopes in which every step was asked for, which stays so: each live model call asks. */
  readonly #exhausted = new Set<string>();

  constructor(options: ReusedStepsOptions) {
    this.#options = options;
    const { prefix, recorded } = options;
    this.#byKey = new Map(prefix.map((call) => [keyOf(call.entry), call]));
    this.#byPath = new Map(prefix.map((call) => [pathText(call.entry.path), call]));
    const answered = recorded.filter(({ entry }) => entry.kind === "tool" && entry.outcome === "Ok");
    this.#answers = new Map(answered.map((call) => [keyOf(call.entry), call]));
  }

  /** How many steps stand before the cursor. */
  get length(): number {
    return this.#options.prefix.length;
  }

  /** How many of them were asked otherwise than they were recorded. */
  get patched(): number {
    return this.#patched.size;
  }

  /** Undefined = after the cursor. */
  find(asked: StepIdentity): Found | undefined {
    const same = this.#byKey.get(keyOf(asked));
    if (same !== undefined) {
      this.#consumed.add(same);
      return { is: "Reused", call: same, isPatched: false };
    }
    const there = this.#byPath.get(pathText(asked.path));
    if (there === undefined) return undefined;
    const { kind, name } = there.entry;
    const mayDiffer = this.#options.isPatched || there.byPosition === true;
    if (!mayDiffer || kind !== asked.kind || name !== asked.name) return { is: "Diverged", call: there };
    this.#consumed.add(there);
    this.#patched.add(there);
    return { is: "Reused", call: there, isPatched: true };
  }

  /** The recorded answer of a tool call after the cursor: of the same call, made as often before. */
  answer(asked: StepIdentity): RecordedCall | undefined {
    return this.#answers.get(keyOf(asked));
  }

  /** What was called in the course of a recorded call, in canonical order. */
  inside({ entry: { path } }: RecordedCall): readonly RecordedCall[] {
    return this.#options.recorded.filter(({ entry }) => isInside(entry.path, path));
  }

  /**
   * The first step before the cursor, in this scope, that nobody asked for; what was called inside of a tool goes with it. People who
   * were asked about a call in doubt are not asked again where it is in none.
   */
  unconsumed(scope: readonly number[]): RecordedCall | undefined {
    const name = pathText(scope);
    if (this.#exhausted.has(name)) return undefined;
    const isIn = ({ entry: { path } }: RecordedCall) => scope.length === 0 || isInside(path, scope);
    const left = this.#options.prefix.find(
      (call) => isIn(call) && call.entry.kind !== "approval" && !this.#consumed.has(call) && !this.#isInner(call),
    );
    if (left === undefined) this.#exhausted.add(name);
    return left;
  }

  #isInner({ entry }: RecordedCall): boolean {
    for (const outer of this.#consumed) if (isInside(entry.path, outer.entry.path)) return true;
    return false;
  }
}

/** Whether a call was made in the course of another one. */
export function isInside(path: readonly number[], outer: readonly number[]): boolean {
  return path.length > outer.length && outer.every((part, place) => path[place] === part);
}

function keyOf({ path, kind, requestDigest, occurrence }: StepIdentity): string {
  return stepKey(path, kind, requestDigest, occurrence);
}
