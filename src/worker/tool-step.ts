/** One tool call as a recorded step: lookup, in-doubt rule, begin, call, commit; with OAO's own retries around it. */
import type { Json } from "../core/digest/json.ts";
import { WaitingError } from "../core/errors/errors.ts";
import { effectOf, moduleName } from "../core/policy/checks.ts";
import type { ToolCheck } from "../core/policy/types.ts";
import { zeroAmounts } from "../core/protocol/amounts.ts";
import type { StoredBody } from "../core/protocol/types.ts";
import { packBody } from "../core/steps/bodies.ts";
import { idempotencyKey } from "../core/steps/identity.ts";
import { toolHold } from "../core/steps/usage.ts";
import { executionDefaults } from "../api/defaults.ts";
import type { ToolEffect } from "../api/tool.ts";
import { type CallFailure, RecordedFailure, type StepScope, type ToolRequest } from "../ports/step.ts";
import type { Tool } from "../ports/tool.ts";
import { settleDoubt } from "./doubt.ts";
import { checkRepeatedCall, checkToolCall } from "./gate.ts";
import type { NodeContext } from "./node-context.ts";
import { recordedAnswer } from "./recorded-answer.ts";
import { type CallIdentity, type CallResult, keyOf, Recorder, stoppedClass } from "./recorder.ts";
import { callsSoFar, callFailure, cutReason, retryAfter } from "./retry.ts";

/** J3–J5, J7. `inside` makes the scope of the tool's own recorded calls, afresh for each try. Throws RecordedFailure, PolicyViolationError, StoppedError, OAO_IN_DOUBT. */
export async function toolStep(
  context: NodeContext,
  identity: CallIdentity,
  request: ToolRequest,
  inside: () => StepScope,
): Promise<Json> {
  const tool = context.tool(request.tool);
  const effect = effectOf(context.policy, tool.spec);
  // Also where its answer is another run's: a further try of the node would make it again.
  if (effect === "NonIdempotent") context.noteNonIdempotentCall();
  const recorder = new Recorder(context);
  const found = await recorder.lookup(identity, () => request.arguments);
  if (found !== undefined) return found.output;
  const answer = context.reused?.steps.answer(identity);
  if (answer !== undefined) return recordedAnswer(context, recorder, identity, answer);
  const body = packBody(context.redact(request.arguments));
  const input = { body: body.digest };
  await checkRepeatedCall(context, recorder, identity, input, body.bodies);
  await checkToolCall(context, recorder, identity, toolCheck(tool), input, body.bodies);
  await settleDoubt(context, recorder, identity, effect, input);
  for (let call = await callsSoFar(context, identity); ; call += 1) {
    const outcome = await oneCall(context, recorder, identity, {
      tool,
      effect,
      request,
      input,
      bodies: body.bodies,
      call,
      inside,
    });
    if ("output" in outcome) return outcome.output;
    await context.clock.sleep(outcome.retryInMs, context.stop);
  }
}

interface CallPlan {
  readonly tool: Tool;
  readonly effect: ToolEffect;
  readonly request: ToolRequest;
  readonly input: { readonly body: string };
  readonly bodies: readonly StoredBody[];
  readonly call: number;
  readonly inside: () => StepScope;
}

async function oneCall(
  context: NodeContext,
  recorder: Recorder,
  identity: CallIdentity,
  plan: CallPlan,
): Promise<{ output: Json } | { retryInMs: number }> {
  const startedAtMs = context.clock.nowMs();
  const { reserved } = toolHold;
  const common = {
    identity,
    input: plan.input,
    startedAtMs,
    free: reserved,
    settled: reserved,
    overshoot: zeroAmounts,
  };
  const ended = plan.tool.spec.module === undefined ? () => undefined : context.lend(timeoutMs(plan.tool));
  try {
    await begin(context, recorder, identity, plan, startedAtMs);
    return await invoke(context, recorder, plan, common);
  } finally {
    ended();
  }
}

async function invoke(
  context: NodeContext,
  recorder: Recorder,
  plan: CallPlan,
  common: Omit<CallResult, "outcome">,
): Promise<{ output: Json } | { retryInMs: number }> {
  const { identity } = common;
  context.showLive({ tool: identity.name });
  try {
    const output = context.redact(
      await plan.tool.invoke(plan.request.arguments, {
        signal: context.stop,
        timeoutMs: timeoutMs(plan.tool),
        idempotencyKey: idempotencyKey(context.uid, context.item, keyOf(identity)),
        bodyBytesMax: context.policy.recording.maxBodyBytes,
        values: recordedValues(context, plan.inside()),
      }),
    );
    await recorder.step({ ...common, outcome: "Ok", output });
    return { output };
  } catch (error) {
    const cut = cutReason(context, undefined, error);
    if (cut !== undefined) {
      // A NonIdempotent call that the run's end cut stays in doubt.
      if (cut.violation !== undefined)
        await recorder.step({
          ...common,
          outcome: "Cut",
          error: { class: "PolicyViolation", message: cut.violation.message },
          violation: cut.violation,
        });
      else if (cut.record && plan.effect !== "NonIdempotent")
        await recorder.step({ ...common, outcome: "Cut", error: { class: stoppedClass, message: cut.reason.message } });
      throw cut.reason;
    }
    return { retryInMs: await failed(context, recorder, common, plan, callFailure(error, "ToolFailure")) };
  } finally {
    context.showLive({});
  }
}

async function begin(
  context: NodeContext,
  recorder: Recorder,
  identity: CallIdentity,
  plan: CallPlan,
  startedAtMs: number,
): Promise<void> {
  const intent = recorder.intent(identity, plan.call, { effect: plan.effect, timeoutMs: timeoutMs(plan.tool) });
  const reply = await recorder.begin(intent, plan.bodies, toolHold);
  // What a tool call asks for never waits for siblings, so whatever is not OK is final.
  if (reply.code === "OK") return;
  const violation = context.budgetViolation({ by: "Account", refusal: reply.refusal });
  await recorder.step({
    identity,
    input: plan.input,
    bodies: plan.bodies,
    startedAtMs,
    free: zeroAmounts,
    settled: zeroAmounts,
    overshoot: zeroAmounts,
    outcome: "Refused",
    error: { class: "PolicyViolation", message: violation.message },
    violation,
  });
  throw violation;
}

/** Records the failure; returns the delay before the next try, or throws what the caller gets. */
async function failed(
  context: NodeContext,
  recorder: Recorder,
  common: Omit<CallResult, "outcome">,
  plan: CallPlan,
  failure: CallFailure,
): Promise<number> {
  const message = context.maskText(failure.message);
  // It may have taken effect: making it again would be a guess, so it is in doubt like a call that a crash lost.
  const doubtful = plan.effect === "NonIdempotent" && failure.sent && context.policy.onInDoubt !== "Retry";
  // Its intent stays open, so the next attempt finds the call in doubt and asks.
  if (doubtful && context.policy.onInDoubt === "Ask")
    throw new WaitingError(`tool ${common.identity.name} failed after its request was sent: ${message}`);
  const delay = doubtful ? undefined : retryAfter(context, common.identity, plan.call, failure);
  if (delay === undefined) {
    await recorder.step({ ...common, outcome: "Error", error: { class: failure.failureClass, message } });
    throw new RecordedFailure(failure.failureClass, message);
  }
  await recorder.repeat(
    { ...common, settled: zeroAmounts, outcome: "Error", error: { class: failure.failureClass, message } },
    plan.call,
    delay,
  );
  context.log("warn", "tool call failed, trying again", {
    tool: common.identity.name,
    call: plan.call + 1,
    class: failure.failureClass,
    delayMs: delay,
  });
  return delay;
}

/** ctx.now, random and uuid of module tools: made once, recorded, the same on every resume and replay. */
function recordedValues(context: NodeContext, inside: StepScope) {
  return {
    now: async () => (await inside.value("now", () => context.clock.nowMs())) as number,
    random: async () => (await inside.value("random", () => context.clock.random())) as number,
    uuid: async () => (await inside.value("uuid", () => context.clock.uuid())) as string,
  };
}

function timeoutMs(tool: Tool): number {
  return (tool.spec.timeoutSeconds ?? executionDefaults.toolTimeoutSeconds) * 1_000;
}

function toolCheck({ spec, endpoint }: Tool): ToolCheck {
  return endpoint === undefined
    ? { tool: spec.name, modulePath: spec.module === undefined ? undefined : moduleName(spec.module) }
    : { tool: spec.name, host: endpoint };
}
