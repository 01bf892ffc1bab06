/** One model call as a recorded step: lookup, begin, call through the meter, commit; with OAO's own retries around it. */
import { canonicalJson } from "../core/digest/digest.ts";
import type { Json, JsonObject } from "../core/digest/json.ts";
import { PolicyViolationError } from "../core/errors/errors.ts";
import { add, zeroAmounts } from "../core/protocol/amounts.ts";
import type { StoredBody } from "../core/protocol/types.ts";
import { packBody } from "../core/steps/bodies.ts";
import type { RequestRef } from "../core/steps/format.ts";
import { idempotencyKey, modelRequestDigest, type RequestDigest } from "../core/steps/identity.ts";
import { unitsOver } from "../core/steps/purchase.ts";
import { type Charge, chargeModelCall } from "../core/steps/usage.ts";
import {
  type CallFailure,
  type LiveCall,
  type ModelAnswer,
  type ModelRequest,
  RecordedFailure,
} from "../ports/step.ts";
import { checkModelCall, checkRepeatedCall } from "./gate.ts";
import { answerTooLarge, ModelMeter } from "./meter.ts";
import type { NodeContext } from "./node-context.ts";
import { type CallIdentity, type CallResult, keyOf, Recorder, stoppedClass } from "./recorder.ts";
import { callsSoFar, callFailure, cutReason, retryAfter } from "./retry.ts";

/** The previous model step of the same scope: requests are stored as what they add to it. */
export interface PreviousRequest {
  readonly index: number;
  readonly messages: readonly string[];
  /** Run whose journal it stands in; absent = this one. */
  readonly from?: string | undefined;
}

/**
 * J3–J5, J7. `path` ends in [o, 0]; `occurrence` is the caller's, taken at call entry.
 * Returns the recorded message, and what the next request may build on. Throws RecordedFailure, PolicyViolationError, StoppedError.
 */
export async function modelStep(
  context: NodeContext,
  identity: CallIdentity,
  request: ModelRequest,
  digest: RequestDigest,
  previous: PreviousRequest | undefined,
  live: (call: LiveCall) => Promise<ModelAnswer>,
): Promise<{ message: JsonObject; previous: PreviousRequest | undefined }> {
  const recorder = new Recorder(context);
  const found = await recorder.lookup(identity, () => requestJson(request));
  if (found !== undefined) {
    const { index, from, isPatched } = found;
    // A step that matched by its place was asked with other messages than these.
    const stored = isPatched ? undefined : { index, messages: digest.messages, from };
    return { message: found.output as JsonObject, previous: stored };
  }
  // What the agent has not asked for by now it will not ask for: that is told before a token is paid for.
  await context.reused?.checkConsumed(identity.path.slice(0, -2));
  const { ref, bodies } = storedRequest(request, digest, previous);
  const { inputTokens } = digest;
  await checkRepeatedCall(context, recorder, identity, ref, bodies);
  await checkModelCall(context, recorder, identity, request, ref, bodies);
  for (let call = await callsSoFar(context, identity); ; call += 1) {
    const attempt = await oneCall(context, recorder, identity, { ref, bodies, inputTokens, call }, live);
    if ("message" in attempt)
      return { message: attempt.message, previous: { index: attempt.index, messages: digest.messages } };
    await context.clock.sleep(attempt.retryInMs, context.stop);
  }
}

interface CallPlan {
  readonly ref: RequestRef;
  readonly bodies: readonly StoredBody[];
  readonly inputTokens: number;
  readonly call: number;
}

async function oneCall(
  context: NodeContext,
  recorder: Recorder,
  identity: CallIdentity,
  plan: CallPlan,
  live: (call: LiveCall) => Promise<ModelAnswer>,
): Promise<{ message: JsonObject; index: number } | { retryInMs: number }> {
  const meter = new ModelMeter(context, plan.inputTokens);
  const startedAtMs = context.clock.nowMs();
  const common = { identity, input: plan.ref, startedAtMs };
  let outputCap: number | undefined;
  try {
    const intent = recorder.intent(identity, plan.call);
    outputCap = await meter.begin((hold) => recorder.begin(intent, plan.bodies, hold));
  } catch (error) {
    if (!(error instanceof PolicyViolationError)) throw error;
    const unheld = { free: zeroAmounts, settled: zeroAmounts, overshoot: zeroAmounts };
    await recorder.step({
      ...common,
      ...unheld,
      bodies: plan.bodies,
      outcome: "Refused",
      error: { class: "PolicyViolation", message: error.message },
      violation: error,
    });
    throw error;
  }
  let reported: ModelAnswer["usage"];
  try {
    const answer = await live({
      signal: AbortSignal.any([context.stop, meter.signal]),
      outputCap,
      meter: (text) => meter.meter(text),
      idempotencyKey: idempotencyKey(context.uid, context.item, keyOf(identity)),
    });
    reported = answer.usage;
    if (answer.truncatedByCap === true) throw await meter.capReached(reported?.output);
    const message = recordable(context, answer.message);
    const charge = chargeOf(context, meter, plan.inputTokens, reported);
    const index = await recorder.step({
      ...common,
      ...settle(meter, charge),
      outcome: "Ok",
      output: message,
      toolCalls: toolCallsOf(message),
      usage: charge.usage,
    });
    return { message, index };
  } catch (error) {
    return { retryInMs: await failed(context, recorder, meter, common, { ...plan, reported }, error) };
  }
}

/** Records what became of a call that did not answer. Returns the delay before the next try, or throws what the caller gets. */
async function failed(
  context: NodeContext,
  recorder: Recorder,
  meter: ModelMeter,
  common: Pick<CallResult, "identity" | "input" | "startedAtMs">,
  plan: CallPlan & { readonly reported: ModelAnswer["usage"] },
  error: unknown,
): Promise<number> {
  const cut = cutReason(context, meter.signal, error);
  if (cut !== undefined) {
    if (cut.record) {
      const charge = chargeOf(context, meter, plan.inputTokens, plan.reported);
      const error = {
        class: cut.violation === undefined ? stoppedClass : "PolicyViolation",
        message: cut.reason.message,
      };
      await recorder.step({
        ...common,
        ...settle(meter, charge),
        outcome: "Cut",
        error,
        usage: charge.usage,
        ...(cut.violation === undefined ? {} : { violation: cut.violation }),
      });
    }
    throw cut.reason;
  }
  const failure = callFailure(error, "InvalidAnswer");
  const charge = chargeFailure(context, meter, plan, failure);
  const recorded = { class: failure.failureClass, message: context.maskText(failure.message) };
  const delay = retryAfter(context, common.identity, plan.call, failure);
  if (delay === undefined) {
    await recorder.step({
      ...common,
      ...settle(meter, charge),
      outcome: "Error",
      error: recorded,
      usage: charge.usage,
    });
    throw new RecordedFailure(recorded.class, recorded.message);
  }
  // Only the call that stands is a step.
  await recorder.repeat(
    {
      ...common,
      ...settle(meter, charge),
      settled: charge.settled,
      outcome: "Error",
      error: recorded,
      usage: charge.usage,
    },
    plan.call,
    delay,
  );
  context.log("warn", "model call failed, trying again", {
    call: plan.call + 1,
    class: recorded.class,
    delayMs: delay,
  });
  return delay;
}

function settle(meter: ModelMeter, charge: Charge): Pick<CallResult, "free" | "settled" | "overshoot"> {
  return { free: meter.reserved, settled: { ...charge.settled, Steps: 1 }, overshoot: charge.overshoot };
}

/** Once at the end of each call: limits of Audit policies that one call passed are found here. */
function chargeOf(context: NodeContext, meter: ModelMeter, input: number, reported: ModelAnswer["usage"]): Charge {
  const charge = chargeModelCall({ input, output: meter.outputTokens }, reported, meter.reserved);
  const used = add(charge.settled, charge.overshoot);
  for (const unit of unitsOver(context.policy.auditLimits.call, used)) context.auditPassed(`Call/${unit}`);
  return charge;
}

/** J7: the agent sees what a resume would read, down to the order of members. Throws CallFailure InvalidAnswer, NotJsonError. */
function recordable(context: NodeContext, answer: JsonObject): JsonObject {
  const bytes = canonicalJson(context.redact(answer));
  const { maxBodyBytes } = context.policy.recording;
  if (Buffer.byteLength(bytes) > maxBodyBytes) throw answerTooLarge(maxBodyBytes);
  return JSON.parse(bytes) as JsonObject;
}

/** An answer that never began costs nothing when the provider refused it; otherwise the prompt was read and is charged. */
function chargeFailure(
  context: NodeContext,
  meter: ModelMeter,
  plan: CallPlan & { readonly reported: ModelAnswer["usage"] },
  failure: CallFailure,
): Charge {
  const refused = !failure.sent || ["RateLimit", "InvalidRequest", "QuotaExhausted"].includes(failure.failureClass);
  return chargeOf(
    context,
    meter,
    refused && meter.outputTokens === 0 ? 0 : plan.inputTokens,
    failure.usage ?? plan.reported,
  );
}

/** J5: only what this request adds to the previous one of its scope is stored. */
function storedRequest(
  request: ModelRequest,
  digest: RequestDigest,
  previous: PreviousRequest | undefined,
): { ref: RequestRef; bodies: StoredBody[] } {
  let keep = 0;
  if (previous !== undefined)
    while (keep < previous.messages.length && previous.messages[keep] === digest.messages[keep]) keep += 1;
  const added = request.messages.slice(keep).map((message) => packBody(message));
  const header = packBody(request.header);
  return {
    ref: {
      base: previous === undefined || keep === 0 ? null : previous.index,
      ...(previous?.from === undefined || keep === 0 ? {} : { from: previous.from }),
      keep,
      append: added.map((body) => body.digest),
      header: header.digest,
    },
    bodies: [...added.flatMap((body) => body.bodies), ...header.bodies],
  };
}

export function modelIdentity(
  path: readonly number[],
  request: ModelRequest,
  digest: RequestDigest,
  occurrence: number,
): CallIdentity {
  return { path, kind: "model", name: request.model, requestDigest: digest.digest, occurrence };
}

/** As a trace shows it. */
export function requestJson({ header, messages }: ModelRequest): Json {
  return { ...header, messages };
}

export function digestOf(request: ModelRequest): RequestDigest {
  return modelRequestDigest(request.header, request.messages);
}

/** Tool calls of a frozen message, as LangChain writes them. */
export function toolCallsOf(message: JsonObject): { name: string; arguments: Json }[] {
  const calls = message["tool_calls"];
  if (!Array.isArray(calls)) return [];
  return (calls as readonly Json[]).flatMap((call) => {
    if (call === null || typeof call !== "object" || Array.isArray(call)) return [];
    const { name, args } = call as JsonObject;
    return typeof name === "string" ? [{ name, arguments: args ?? {} }] : [];
  });
}
