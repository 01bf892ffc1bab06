/** Turns calls into journal entries: one place where intents, steps, repeats and violations are written. */
import { OaoError, PolicyViolationError, StoppedError } from "../core/errors/errors.ts";
import type { Json } from "../core/digest/json.ts";
import { zeroAmounts } from "../core/protocol/amounts.ts";
import type { Amounts, StoredBody } from "../core/protocol/types.ts";
import { packBody } from "../core/steps/bodies.ts";
import type { EntryDraft } from "../core/steps/chain.ts";
import type { RequestRef, StepEntry, StepIdentity, StepOutcome, TokenUsage } from "../core/steps/format.ts";
import type { ToolEffect } from "../api/tool.ts";
import { stepKey } from "../core/steps/identity.ts";
import type { Admission, Hold } from "../core/steps/purchase.ts";
import { valueHold } from "../core/steps/usage.ts";
import { RecordedFailure } from "../ports/step.ts";
import type { BodyReader } from "./body-reader.ts";
import type { NodeContext } from "./node-context.ts";

export type CallIdentity = StepIdentity;

export interface CallResult {
  readonly identity: CallIdentity;
  readonly input: RequestRef | { readonly body: string };
  readonly outcome: StepOutcome;
  readonly output?: Json;
  readonly error?: { readonly class: string; readonly message: string };
  readonly toolCalls?: readonly { readonly name: string; readonly arguments: Json }[];
  readonly usage?: TokenUsage;
  readonly startedAtMs: number;
  /** What the call held and what of it is used. */
  readonly free: Amounts;
  readonly settled: Amounts;
  readonly overshoot: Amounts;
  readonly bodies?: readonly StoredBody[];
  /** Exact reason when this call broke a policy that is enforced. */
  readonly violation?: PolicyViolationError;
  /** Run from whose record it is answered, and the body there: nothing of it is stored again. */
  readonly answeredBy?: { readonly uid: string; readonly body: string | null };
}

/** What a lookup found. `from`: the run whose journal `index` counts in; absent = this one. */
export interface Recorded {
  readonly output: Json;
  readonly index: number;
  readonly from?: string | undefined;
  /** It was asked otherwise, and stands in the same place. */
  readonly isPatched?: boolean;
}

export class Recorder {
  readonly #context: NodeContext;

  constructor(context: NodeContext) {
    this.#context = context;
  }

  /**
   * J4, J5. The recorded answer of this call in this try, or in what a replay reuses; undefined = it is made. Throws what the call
   * threw when it was recorded, and OAO_DIVERGENCE where another call was recorded in its place; `asked` is for telling how it differs.
   */
  async lookup(identity: CallIdentity, asked?: () => Json): Promise<Recorded | undefined> {
    const { history, reused } = this.#context;
    const own = history.steps.get(keyOf(identity));
    const found = own === undefined ? reused?.steps.find(identity) : undefined;
    const { bodies } = this.#context;
    if (own !== undefined) return { output: await answerOf(own.entry, bodies), index: own.index };
    if (found === undefined || reused === undefined) return undefined;
    const { journal, entry } = found.call;
    if (found.is === "Diverged") throw await reused.diverged(found.call, identity, asked?.());
    return {
      output: await answerOf(entry, bodies),
      index: entry.index,
      from: journal.uid,
      isPatched: found.isPatched,
    };
  }

  intent(
    identity: CallIdentity,
    call: number,
    tool?: { readonly effect: ToolEffect; readonly timeoutMs: number },
  ): EntryDraft {
    const { attempt, try: tryNumber, clock } = this.#context;
    const atMs = clock.nowMs();
    return {
      type: "intent",
      attempt,
      try: tryNumber,
      ...identity,
      call,
      ...(tool === undefined ? {} : { effect: tool.effect, deadlineMs: atMs + tool.timeoutMs }),
      at: iso(atMs),
    };
  }

  /** J3. Appends `draft`, after what waits for the next append, if the call is admitted; a refusal leaves all of it waiting. */
  async begin(draft: EntryDraft, bodies: readonly StoredBody[], hold: Hold): Promise<Admission> {
    const { session, waiting } = this.#context;
    const preface = waiting.splice(0);
    let begun = false;
    try {
      const reply = await session.begin([...preface, draft], bodies, hold);
      begun = reply.code === "OK";
      return reply;
    } finally {
      if (!begun) waiting.unshift(...preface);
    }
  }

  /** A completed, numbered step. Returns its journal index. */
  async step(result: CallResult): Promise<number> {
    const { answeredBy } = result;
    const output = result.output === undefined || answeredBy !== undefined ? undefined : packBody(result.output);
    const draft: EntryDraft = {
      type: "step",
      ...this.#record(result, output?.digest ?? answeredBy?.body ?? undefined),
      outcome: result.outcome,
      toolCalls: result.toolCalls ?? [],
      ...(answeredBy === undefined ? {} : { from: answeredBy.uid }),
    };
    return this.#append(result, draft, output?.bodies ?? []);
  }

  /** A failed call that is tried again: charged and visible, never looked up. */
  async repeat(result: CallResult, call: number, retryInMs: number): Promise<void> {
    const retryAt = iso(this.#context.clock.nowMs() + retryInMs);
    await this.#append(result, { type: "repeat", ...this.#record(result, undefined), call, retryAt }, []);
  }

  /** A value made here: no outside call, so intent and step are one command (J3 holds: durable before use). */
  async value(identity: CallIdentity, output: Json): Promise<void> {
    const { clock, values } = this.#context;
    const packed = packBody(output);
    const request = packBody({ value: identity.name });
    const now = clock.nowMs();
    const result: CallResult = {
      identity,
      input: { body: request.digest },
      outcome: "Ok",
      output,
      startedAtMs: now,
      free: zeroAmounts,
      settled: zeroAmounts,
      overshoot: zeroAmounts,
    };
    const draft: EntryDraft = { type: "step", ...this.#record(result, packed.digest), outcome: "Ok", toolCalls: [] };
    const bodies = [...packed.bodies, ...request.bodies];
    const reply = await this.begin(draft, bodies, valueHold).catch((error: unknown) => {
      if (error instanceof StoppedError && error.state === "Suspended") return this.#valueWhileSuspended(draft, bodies);
      throw error;
    });
    // A step never waits for others, so whatever is not OK is final.
    if (reply.code !== "OK") throw this.#context.budgetViolation({ by: "Account", refusal: reply.refusal });
    values.set(keyOf(identity), output);
  }

  /** A suspension refuses new calls; a call in flight may end by itself, and without its values it could not. */
  async #valueWhileSuspended(draft: EntryDraft, bodies: readonly StoredBody[]): Promise<Admission> {
    const { session, waiting } = this.#context;
    const reply = await session.grow(valueHold.settled);
    if (reply.code === "OK")
      await session.commit({
        drafts: [...waiting.splice(0), draft],
        bodies,
        free: valueHold.settled,
        settled: valueHold.settled,
        overshoot: zeroAmounts,
      });
    return reply;
  }

  #append(result: CallResult, draft: EntryDraft, outputBodies: readonly StoredBody[]): Promise<number> {
    const { attempt, try: tryNumber, clock, session, waiting } = this.#context;
    const violation: EntryDraft[] =
      result.violation === undefined
        ? []
        : [
            {
              type: "violation",
              attempt,
              try: tryNumber,
              enforcement: "Enforce",
              message: result.violation.message,
              path: result.violation.path,
              at: iso(clock.nowMs()),
            },
          ];
    return session.commit({
      drafts: [...waiting.splice(0), ...violation, draft],
      bodies: [...(result.bodies ?? []), ...outputBodies],
      free: result.free,
      settled: result.settled,
      overshoot: result.overshoot,
      violation: result.violation?.message,
    });
  }

  #record(result: CallResult, output: string | undefined) {
    const { attempt, try: tryNumber, clock } = this.#context;
    return {
      attempt,
      try: tryNumber,
      ...result.identity,
      input: result.input,
      output: output === undefined ? null : { body: output },
      error: result.error ?? null,
      usage: result.usage ?? null,
      startedAt: iso(result.startedAtMs),
      completedAt: iso(clock.nowMs()),
    };
  }
}

/** Error class of a step that was cut because its run ended, not by its own fault. */
export const stoppedClass = "Stopped";

export function keyOf(identity: CallIdentity): string {
  return stepKey(identity.path, identity.kind, identity.requestDigest, identity.occurrence);
}

/** What a recorded call gave, live and on every replay alike (J7): its output, or what it threw is thrown again. */
export async function answerOf({ outcome, output, error }: StepEntry, bodies: Pick<BodyReader, "read">): Promise<Json> {
  if (outcome === "Ok") return output === null ? null : bodies.read(output.body);
  throw recordedError(outcome, error ?? { class: "Unknown", message: "the recorded call has no error" });
}

/** What a recorded outcome other than Ok throws. */
function recordedError(outcome: StepOutcome, error: { class: string; message: string }): Error {
  if (error.class === stoppedClass) return new StoppedError("Cancelled", error.message);
  if (outcome === "Refused" || outcome === "Cut") return new PolicyViolationError(error.message);
  if (error.class === "InDoubt") return new OaoError("OAO_IN_DOUBT", error.message);
  return new RecordedFailure(error.class, error.message);
}

export function iso(ms: number): string {
  return new Date(ms).toISOString();
}
