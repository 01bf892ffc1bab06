/** The clock of activeDeadlineSeconds and of the policy's maxDuration. It stands still while the run is suspended, or waits for nothing but an approval. */
import type { ExecutionStatus } from "../../api/status.ts";
import { isAwaiting } from "./approvals.ts";
import { type Draft, isMainEnded, wakeAt } from "./draft.ts";
import { isoTime, parseTime } from "./time.ts";

export type ActiveClock = Pick<ExecutionStatus, "activeMs" | "activeSince">;

/** Why the time is up, or undefined. Read before this pass changes anything. */
export function exceededDeadline(draft: Draft): string | undefined {
  const limit = deadlineMs(draft);
  if (limit === undefined || activeMs(draft) < limit.ms) return undefined;
  return `${limit.field} ${limit.ms / 1_000} is over`;
}

/** The clock to write, and a wake-up at the deadline. Finally nodes get the same time again, from zero. */
export function runClock(draft: Draft, wasMainEnded: boolean): ActiveClock {
  const startsAnew = !wasMainEnded && isMainEnded(draft);
  const used = startsAnew ? 0 : activeMs(draft);
  if (draft.suspended || isAwaiting(draft)) return { activeMs: used };
  const limit = deadlineMs(draft);
  if (limit !== undefined && draft.finallyStop === undefined && (draft.stop === undefined || isMainEnded(draft))) {
    wakeAt(draft, draft.nowMs + Math.max(0, limit.ms - used));
  }
  const { status } = draft.seen;
  if (startsAnew || status.activeSince === undefined) return { activeMs: used, activeSince: isoTime(draft.nowMs) };
  return { activeMs: status.activeMs ?? 0, activeSince: status.activeSince };
}

function deadlineMs(draft: Draft): { readonly ms: number; readonly field: string } | undefined {
  const own = draft.seen.spec.activeDeadlineSeconds;
  const policy = draft.seen.policy.maxDurationMs;
  if (policy !== undefined && (own === undefined || policy <= own * 1_000)) {
    return { ms: policy, field: "the policy's limits.maxDurationSeconds" };
  }
  return own === undefined ? undefined : { ms: own * 1_000, field: "activeDeadlineSeconds" };
}

function activeMs(draft: Draft): number {
  const { status } = draft.seen;
  const since = parseTime(status.activeSince);
  return (status.activeMs ?? 0) + (since === undefined ? 0 : Math.max(0, draft.nowMs - since));
}
