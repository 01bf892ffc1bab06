/** What is done about a tool call that may have taken effect before a crash (J7). */
import type { ToolEffect } from "../api/tool.ts";
import { OaoError, WaitingError } from "../core/errors/errors.ts";
import type { Answer } from "../core/planner/types.ts";
import { zeroAmounts } from "../core/protocol/amounts.ts";
import { packBody } from "../core/steps/bodies.ts";
import type { IntentEntry } from "../core/steps/format.ts";
import { approvalDigest, doubtRequest } from "../core/steps/identity.ts";
import type { NodeContext } from "./node-context.ts";
import { type CallIdentity, type CallResult, keyOf, type Recorder } from "./recorder.ts";

/** A NonIdempotent call whose result a crash lost: the policy says whether it may be made again, once the first one has ended. */
export async function settleDoubt(
  context: NodeContext,
  recorder: Recorder,
  identity: CallIdentity,
  effect: ToolEffect,
  input: CallResult["input"],
): Promise<void> {
  const lost = context.history.inDoubt.get(keyOf(identity));
  if (effect !== "NonIdempotent" || lost === undefined) return;
  const isAsked = context.policy.onInDoubt === "Ask";
  const answer = isAsked ? await decided(context, recorder, identity, lost) : undefined;
  if (context.policy.onInDoubt === "Retry" || answer?.decision === "Approved") {
    const leftMs = context.predecessorMayLive ? (lost.deadlineMs ?? 0) - context.clock.nowMs() : 0;
    if (leftMs > 0)
      context.log("info", "waits for the end of a call that may be at work", { tool: identity.name, leftMs });
    return leftMs > 0 ? context.clock.sleep(leftMs, context.stop) : undefined;
  }
  const why =
    answer === undefined
      ? "the policy's onInDoubt is Fail. Check the outside, then run again; declare the tool Idempotent if its server honours Idempotency-Key, or set onInDoubt: Ask or Retry"
      : `${answer.by} decided that it is not called again`;
  const message = `tool ${identity.name} is NonIdempotent and was called before a crash; whether it took effect is unknown, and ${why}`;
  const nothing = { free: zeroAmounts, settled: zeroAmounts, overshoot: zeroAmounts };
  await recorder.step({
    identity,
    input,
    outcome: "Error",
    error: { class: "InDoubt", message },
    startedAtMs: context.clock.nowMs(),
    ...nothing,
  });
  throw new OaoError("OAO_IN_DOUBT", message);
}

/** What a person decided about this call, recorded as a step of its own. Throws WaitingError while nobody has. */
async function decided(
  context: NodeContext,
  recorder: Recorder,
  call: CallIdentity,
  lost: IntentEntry,
): Promise<Answer> {
  const request = doubtRequest(context.key, lost);
  const answer = context.answers[request];
  if (answer === undefined)
    throw new WaitingError(
      `tool ${call.name} may have taken effect before a crash; ${request} asks what is to be done`,
    );
  // Below the call, where a tool's own recorded values end in 0.
  const identity: CallIdentity = {
    path: [...call.path, 0, 1],
    kind: "approval",
    name: call.name,
    requestDigest: approvalDigest(request),
    occurrence: 0,
  };
  if ((await recorder.lookup(identity)) !== undefined) return answer;
  const { decision, by, proven, decidedAt: at } = answer;
  const input = packBody({ request });
  await recorder.step({
    identity,
    input: { body: input.digest },
    bodies: input.bodies,
    outcome: "Ok",
    output: { decision, by, proven, at },
    startedAtMs: context.clock.nowMs(),
    free: zeroAmounts,
    settled: zeroAmounts,
    overshoot: zeroAmounts,
  });
  return answer;
}
