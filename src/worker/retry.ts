/** Step level retries (policy.retry), and what it means that a live call threw. */
import { NotJsonError } from "../core/digest/json.ts";
import { PolicyViolationError, StoppedError } from "../core/errors/errors.ts";
import { retryDelayMs } from "../core/policy/retry.ts";
import { CallFailure } from "../ports/step.ts";
import type { NodeContext } from "./node-context.ts";
import { type CallIdentity, keyOf } from "./recorder.ts";

/** Milliseconds until this call is made again, or undefined when its failure stands. `call` counts tries from 0. */
export function retryAfter(
  context: NodeContext,
  identity: CallIdentity,
  call: number,
  failure: CallFailure,
): number | undefined {
  const { retry } = context.policy;
  if (call >= retry.maxRetries) return undefined;
  if (!(retry.retryOn as readonly string[]).includes(failure.failureClass)) return undefined;
  return retryDelayMs(retry, [context.uid, context.item, keyOf(identity)], call + 1, failure.retryAfterMs);
}

/** The failure of a call that was not cut. An answer that cannot be stored is its author's fault; anything else is a bug and is thrown on. */
export function callFailure(error: unknown, unstorable: CallFailure["failureClass"]): CallFailure {
  if (error instanceof CallFailure) return error;
  if (error instanceof NotJsonError)
    return new CallFailure(unstorable, `the answer cannot be recorded: ${error.message}`);
  throw error;
}

/**
 * Failed calls that earlier attempts have recorded: their tries are used up in a resume too, and what was left of the
 * delay is waited out first. Throws the reason of the stop.
 */
export async function callsSoFar(context: NodeContext, identity: CallIdentity): Promise<number> {
  const recorded = context.history.repeats.get(keyOf(identity));
  if (recorded === undefined) return 0;
  const leftMs = Date.parse(recorded.retryAt) - context.clock.nowMs();
  // A clock that was set back must not hold the node for hours.
  if (leftMs > 0) await context.clock.sleep(Math.min(leftMs, context.policy.retry.maxDelayMs), context.stop);
  return recorded.count;
}

export interface CutReason {
  readonly reason: Error;
  /** A cut call becomes a step with outcome Cut, but for a suspension or an ending process: those make it again later. */
  readonly record: boolean;
  /** Set when this very call broke a budget. */
  readonly violation: PolicyViolationError | undefined;
}

/** Undefined = the call failed by itself. */
export function cutReason(
  context: NodeContext,
  budget: AbortSignal | undefined,
  error: unknown,
): CutReason | undefined {
  const violation =
    error instanceof PolicyViolationError ? error : budget?.aborted === true ? (budget.reason as Error) : undefined;
  if (violation instanceof PolicyViolationError) return { reason: violation, record: true, violation };
  if (!context.stop.aborted) return undefined;
  const reason =
    context.stop.reason instanceof Error
      ? context.stop.reason
      : new StoppedError("Stopped", String(context.stop.reason));
  const final = reason instanceof StoppedError && (reason.state === "Cancelled" || reason.state === "Violated");
  return { reason, record: final, violation: undefined };
}
