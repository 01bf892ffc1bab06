/** Own faults of a node: what its finish record says, time that is over, a call that never came back. */
import { failureClasses } from "../../api/defaults.ts";
import { retryDelayMs } from "../policy/retry.ts";
import { itemName } from "../protocol/names.ts";
import { type Draft, isReleased, stopOf } from "./draft.ts";
import { apply, marks, type Row, shorten } from "./rows.ts";
import type { OpenCall } from "./types.ts";

/** G1: whatever a list says, nothing outside the schema's enum is ever tried again. */
const retryable: readonly string[] = failureClasses;

/** A new try really asks again. `final`: a NonIdempotent call was made in this try, so nobody may. */
export function ownFault(draft: Draft, row: Row, error: { class: string; message: string }, final: boolean): void {
  const { retry } = row.node.spec;
  const { policy, run } = draft.seen;
  const classes: readonly string[] = retry?.retryOn ?? policy.retry.retryOn;
  const mayRetry =
    retry !== undefined &&
    !final &&
    stopOf(draft, row) === undefined &&
    retryable.includes(error.class) &&
    classes.includes(error.class) &&
    row.try <= Math.min(retry.maxRetries, policy.retry.maxRetries);
  if (!mayRetry) return apply(row, "fail", draft.nowMs, error.class, shorten(error.message));
  const ownDelay = retry.retryDelaySeconds === undefined ? {} : { retryDelayMs: retry.retryDelaySeconds * 1_000 };
  const delayMs = retryDelayMs({ ...policy.retry, ...ownDelay }, [run.uid, itemName(row.key), "node"], row.try);
  row.try += 1;
  apply(row, "wait", draft.nowMs, error.class, shorten(error.message));
  row.retryAtMs = draft.nowMs + delayMs;
}

/** `what` kept it from ending, where that is known. */
export function timedOut(draft: Draft, row: Row, what = row.message): void {
  row.reason = marks.timeout;
  row.message = what;
  if (!isReleased(draft, row)) return;
  const limit = `not finished within timeoutSeconds ${row.node.spec.timeoutSeconds ?? 0} of one attempt`;
  ownFault(draft, row, { class: "Timeout", message: what === undefined ? limit : `${limit}: ${what}` }, false);
}

/** Its module held the thread past the time limit, so its worker could not say so and was ended. */
export function overdue(draft: Draft, row: Row, call: OpenCall): void {
  if (!isReleased(draft, row)) return;
  const message = `tool ${call.tool} did not end within its timeoutSeconds and let nothing else run, so its worker was ended`;
  const { onInDoubt } = draft.seen.policy;
  // The next attempt finds the call in doubt, and asks.
  if (call.effect === "NonIdempotent" && onInDoubt === "Ask") return apply(row, "park", draft.nowMs);
  if (call.effect !== "NonIdempotent" || onInDoubt !== "Fail") {
    return ownFault(draft, row, { class: "Timeout", message }, false);
  }
  const doubt = `${message}; it is NonIdempotent, and whether it took effect is unknown`;
  ownFault(draft, row, { class: "InDoubt", message: doubt }, true);
}
