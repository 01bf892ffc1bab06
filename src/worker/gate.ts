/** Checks before a call is made: allow lists, endpoints, loop detection. A refused call is a recorded step (outcome Refused). */
import { PolicyViolationError } from "../core/errors/errors.ts";
import { checkLoop, checkModel, checkTool } from "../core/policy/checks.ts";
import { violationsText } from "../core/policy/messages.ts";
import type { ToolCheck, Violation } from "../core/policy/types.ts";
import { zeroAmounts } from "../core/protocol/amounts.ts";
import type { StoredBody } from "../core/protocol/types.ts";
import type { ModelRequest } from "../ports/step.ts";
import type { NodeContext } from "./node-context.ts";
import { type CallIdentity, type CallResult, type Recorder } from "./recorder.ts";

type Input = CallResult["input"];

export async function checkModelCall(
  context: NodeContext,
  recorder: Recorder,
  identity: CallIdentity,
  request: ModelRequest,
  input: Input,
  bodies: readonly StoredBody[],
): Promise<void> {
  const found = checkModel(context.policy, {
    policyName: request.policyName,
    endpoint: request.endpoint,
    secret: request.secret,
  });
  await act(context, recorder, identity, input, bodies, found);
}

export async function checkToolCall(
  context: NodeContext,
  recorder: Recorder,
  identity: CallIdentity,
  check: ToolCheck,
  input: Input,
  bodies: readonly StoredBody[],
): Promise<void> {
  await act(context, recorder, identity, input, bodies, checkTool(context.policy, check));
}

/** The same call again and again is a loop: limits.loopDetection.sameCall. */
export async function checkRepeatedCall(
  context: NodeContext,
  recorder: Recorder,
  identity: CallIdentity,
  input: Input,
  bodies: readonly StoredBody[],
): Promise<void> {
  const made = context.callCounts.get(identity.requestDigest) ?? 0;
  await act(context, recorder, identity, input, bodies, checkLoop(context.policy, context.item, identity, made));
}

async function act(
  context: NodeContext,
  recorder: Recorder,
  identity: CallIdentity,
  input: Input,
  bodies: readonly StoredBody[],
  violations: readonly Violation[],
): Promise<void> {
  const startedAtMs = context.clock.nowMs();
  for (const { message, path } of violations.filter((violation) => violation.enforcement === "Audit")) {
    context.audit(message, path);
    context.log("warn", "policy violation (audit)", { message, path });
  }
  const enforced = violations.filter((violation) => violation.enforcement === "Enforce");
  const first = enforced[0];
  if (first === undefined) return;
  const message = violationsText(enforced);
  const violation = new PolicyViolationError(message, first.path);
  const nothing = { free: zeroAmounts, settled: zeroAmounts, overshoot: zeroAmounts };
  await recorder.step({
    identity,
    input,
    outcome: "Refused",
    error: { class: "PolicyViolation", message },
    startedAtMs,
    bodies,
    violation,
    ...nothing,
  });
  throw violation;
}
