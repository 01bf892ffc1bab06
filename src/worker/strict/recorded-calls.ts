/** Calls of one node item answered from its record alone: nothing is made, nothing is written, and every step that was asked for is noted. */
import type { Json, JsonObject } from "../../core/digest/json.ts";
import { divergenceAt } from "../../core/replay/divergence.ts";
import { isInside, type RecordedCall } from "../../core/replay/reused-steps.ts";
import type { Divergence } from "../../core/replay/types.ts";
import { pathText } from "../../core/steps/identity.ts";
import { stepsOf, type ItemJournal } from "../../core/trace/journal.ts";
import { comparePaths } from "../../core/trace/order.ts";
import type { BodyReader } from "../body-reader.ts";
import { requestJson } from "../model-step.ts";
import { answerOf, type CallIdentity, keyOf } from "../recorder.ts";
import { callDivergence, callText } from "../reuse.ts";
import type { StepCalls } from "../scope.ts";

/** The record ends here, and so did the node: its run was stopped, or its surroundings failed. */
export class EndOfRecord extends Error {
  override readonly name = "EndOfRecord";
}

/** Thrown to the node's code; `RecordedCalls.divergence` says where, whatever that code makes of it. */
export class DivergedError extends Error {
  override readonly name = "DivergedError";
}

export interface RecordedCallsOptions {
  /** gather, or rate[3]. */
  readonly name: string;
  readonly journal: ItemJournal;
  /** Step number of the item's first step. */
  readonly firstStep: number;
  /** Whether the record shows the node's own end: then nothing may be asked for beyond it. */
  readonly isComplete: boolean;
  readonly bodies: Pick<BodyReader, "read">;
  readonly mask: (text: string) => string;
}

export class RecordedCalls implements StepCalls {
  readonly #options: RecordedCallsOptions;
  readonly #steps: readonly RecordedCall[];
  readonly #byKey: ReadonlyMap<string, RecordedCall>;
  /** Made at the first call that no key finds. */
  #byPath: ReadonlyMap<string, RecordedCall> | undefined;
  readonly #asked = new Map<RecordedCall, CallIdentity>();
  /** Calls that were begun and have no step: their run ended first. */
  readonly #begun: (readonly number[])[] = [];
  #divergence: Divergence | undefined;

  constructor(options: RecordedCallsOptions) {
    this.#options = options;
    this.#steps = stepsOf(options.journal);
    this.#byKey = new Map(this.#steps.map((call) => [keyOf(call.entry), call]));
  }

  /** The first place where another call was made than the recorded one. */
  get divergence(): Divergence | undefined {
    return this.#divergence;
  }

  async model(identity: CallIdentity, request: Parameters<StepCalls["model"]>[1]) {
    const message = (await this.#answer(identity, () => requestJson(request))) as JsonObject;
    return { message, previous: undefined };
  }

  async tool(identity: CallIdentity, request: { readonly arguments: Json }): Promise<Json> {
    return this.#answer(identity, () => request.arguments);
  }

  async value(identity: CallIdentity): Promise<Json> {
    return this.#answer(identity, () => ({ value: identity.name }));
  }

  count(): void {}

  /** A recorded step that nothing asked for. What was called inside of a tool is not called again, and goes with it. */
  unasked(): Divergence | undefined {
    const left = this.#steps.find((call) => !this.#asked.has(call) && !this.#isInner(call));
    if (left === undefined) return undefined;
    return divergenceAt(this.#place(left), "call", callText(left.entry), undefined);
  }

  /** As it went this time, in canonical order: answers are the record's, everything else is what was asked for. The same objects where nothing differs. */
  remade(): RecordedCall[] {
    return this.#steps
      .filter((call) => this.#asked.has(call) || this.#isInner(call))
      .map((call) => {
        const { path, kind, requestDigest, occurrence } = this.#asked.get(call) ?? call.entry;
        const { entry } = call;
        // Its key is the recorded one, or it stands in the recorded place: what may still differ is the rest of either.
        const isSame =
          pathText(path) === pathText(entry.path) &&
          kind === entry.kind &&
          requestDigest === entry.requestDigest &&
          occurrence === entry.occurrence;
        if (isSame) return call;
        return { ...call, entry: { ...call.entry, path, kind, requestDigest, occurrence } };
      })
      .sort((a, b) => comparePaths(a.entry.path, b.entry.path));
  }

  async #answer(identity: CallIdentity, asked: () => Json): Promise<Json> {
    const found = this.#byKey.get(keyOf(identity)) ?? this.#inPlace(identity);
    if (found === undefined) throw await this.#miss(identity, asked);
    const { entry } = found;
    this.#asked.set(found, found.byPosition === true ? entry : identity);
    return answerOf(entry, this.#options.bodies);
  }

  /** As the run itself took it, whose own fields were not those of the record. */
  #inPlace({ path, kind, name }: CallIdentity): RecordedCall | undefined {
    const there = this.#at(path);
    return there?.byPosition === true && there.entry.kind === kind && there.entry.name === name ? there : undefined;
  }

  async #miss(identity: CallIdentity, asked: () => Json): Promise<Error> {
    const there = this.#at(identity.path);
    if (there === undefined && !this.#options.isComplete) {
      this.#begun.push(identity.path);
      return new EndOfRecord();
    }
    const { bodies, mask, name } = this.#options;
    const call = callText(identity);
    const found =
      there === undefined
        ? divergenceAt({ node: name }, "call", undefined, call)
        : await callDivergence(this.#place(there), there, identity, asked(), bodies);
    this.#divergence ??= found.replayed === undefined ? found : { ...found, replayed: mask(found.replayed) };
    return new DivergedError(call);
  }

  #at(path: readonly number[]): RecordedCall | undefined {
    this.#byPath ??= new Map(this.#steps.map((call) => [pathText(call.entry.path), call]));
    return this.#byPath.get(pathText(path));
  }

  #isInner({ entry }: RecordedCall): boolean {
    for (const outer of this.#asked.keys()) if (isInside(entry.path, outer.entry.path)) return true;
    return this.#begun.some((path) => isInside(entry.path, path));
  }

  #place(call: RecordedCall) {
    return { node: this.#options.name, step: this.#options.firstStep + this.#steps.indexOf(call) };
  }
}
