/** Conditions and phase. kstatus reads Ready, Reconciling and Stalled; people and `oao` read Succeeded. */
import type { Condition, ExecutionStatus, Phase } from "../../api/status.ts";
import type { Account } from "../protocol/types.ts";
import { itemName } from "../protocol/names.ts";
import { spentOf } from "../protocol/amounts.ts";
import { units } from "../protocol/types.ts";
import { isAwaiting, questionOf } from "./approvals.ts";
import { divergenceText } from "../replay/divergence.ts";
import type { Draft } from "./draft.ts";
import { isMainEnded } from "./draft.ts";
import { durability } from "./durability.ts";
import { isAtWork } from "./node-machine.ts";
import { type Outcome, outcomeOf } from "./outcome.ts";
import { tellsLoss, workRows } from "./rows.ts";
import { verdictOf } from "./strict.ts";
import { isoTime } from "./time.ts";

type Verdict = Omit<Condition, "lastTransitionTime" | "type">;
const yes = (reason: string, message = ""): Verdict => ({ status: "True", reason, message });
const no = (reason: string, message = ""): Verdict => ({ status: "False", reason, message });

export interface Standing {
  readonly phase: Phase;
  readonly conditions: readonly Condition[];
}

/** `outcome` is set once the run has ended. */
export function standing(draft: Draft, outcome: Outcome | undefined): Standing {
  const busy = draft.rows.some((row) => workRows(row).some((each) => isAtWork(each.state)));
  const isSuspended = draft.suspended && !busy && outcome === undefined;
  const phase = outcome?.phase ?? running(draft, busy, isSuspended);
  // Known before the end: a stop at once, a failed node when no main node can change it any more.
  const known = outcome ?? (draft.stop !== undefined || isMainEnded(draft) ? outcomeOf(draft) : undefined);
  const succeeded = known !== undefined && (outcome !== undefined || known.phase !== "Succeeded") ? known : undefined;
  const now: Record<string, Verdict> = {
    Succeeded: succeeded === undefined ? open(draft, phase) : judged(draft, succeeded),
    Ready: outcome?.phase === "Succeeded" ? yes("Succeeded") : no(outcome?.reason ?? phase),
    Reconciling: outcome === undefined ? yes(isMainEnded(draft) ? "Finalizing" : phase) : no("Ended"),
    Stalled:
      outcome === undefined || outcome.phase === "Succeeded" ? no("NotStalled") : yes(outcome.reason, outcome.message),
    Suspended: isSuspended
      ? yes("Suspended")
      : no(draft.suspended && outcome === undefined ? "Suspending" : "NotSuspended"),
    PolicyCompliant: compliance(draft, succeeded),
    CheckpointsDurable: durability(draft),
    ...verified(draft, outcome),
    ...kept(draft),
  };
  return { phase, conditions: withTimes(draft.seen.status, now, draft.nowMs) };
}

function verified(draft: Draft, outcome: Outcome | undefined): Readonly<Record<string, Verdict>> {
  const { replay } = draft.seen;
  if (replay?.mode !== "Strict") return {};
  const verdict = outcome === undefined ? undefined : verdictOf(draft);
  if (verdict === undefined)
    return {
      ReplayVerified: { status: "Unknown", reason: outcome === undefined ? "Replaying" : "NotReplayed", message: "" },
    };
  const { divergedAt, steps, times, traceHash, recordedBy = [] } = verdict;
  const byOther = recordedBy.length === 0 ? "" : `; recorded by ${recordedBy.join(", ")}`;
  if (divergedAt !== undefined) return { ReplayVerified: no("Divergence", `${divergenceText(divergedAt)}${byOther}`) };
  const often = times === 1 ? "" : `, ${times} times with the same trace`;
  const message = `${steps} ${steps === 1 ? "step" : "steps"} went as in ${replay.parent.name}${often} (${traceHash.slice(0, 19)})${byOther}`;
  return { ReplayVerified: yes("Verified", message) };
}

function kept({ seen }: Draft): Readonly<Record<string, Verdict>> {
  const { keptBy } = seen.run;
  if (keptBy === undefined) return {};
  const message = `ttlSecondsAfterFinished is not applied: ${keptBy} keeps this object, would create it anew and have everything done and paid for again; delete it there`;
  return { Expiring: no("OwnedByGitOps", message) };
}

/** Keeps the time of a condition whose status did not change, as Kubernetes does; foreign conditions stay. */
export function withTimes(
  previous: ExecutionStatus,
  now: Readonly<Record<string, Verdict>>,
  nowMs: number,
): readonly Condition[] {
  const before = new Map(previous.conditions.map((condition) => [condition.type as string, condition]));
  const rendered = Object.entries(now).map(([type, verdict]) => {
    const old = before.get(type);
    const lastTransitionTime = old?.status === verdict.status ? old.lastTransitionTime : isoTime(nowMs);
    return {
      type: type as Condition["type"],
      ...verdict,
      message: verdict.message.slice(0, 1_024).toWellFormed(),
      lastTransitionTime,
    };
  });
  return [...rendered, ...previous.conditions.filter((condition) => now[condition.type] === undefined)];
}

function running(draft: Draft, busy: boolean, isSuspended: boolean): Phase {
  if (isSuspended) return "Suspended";
  if (isAwaiting(draft)) return "AwaitingApproval";
  return busy || draft.rows.some((row) => row.state !== "Pending") ? "Running" : "Pending";
}

function open(draft: Draft, phase: Phase): Verdict {
  return {
    status: "Unknown",
    reason: phase,
    message: phase === "AwaitingApproval" ? questionOf(draft) : blockedOf(draft),
  };
}

/** What keeps a node from starting: the first of them, for whoever looks at the run alone. */
function blockedOf(draft: Draft): string {
  const rows = draft.rows.flatMap(workRows).filter(({ state, reason }) => state === "Starting" && tellsLoss(reason));
  const [first] = rows;
  if (first === undefined) return "";
  const more = rows.length > 1 ? ` (and ${rows.length - 1} more)` : "";
  return `${itemName(first.key)} cannot start: ${first.reason ?? ""}: ${first.message ?? ""}${more}`;
}

/** The first reason stands: a later one is a consequence. */
function judged(draft: Draft, outcome: Outcome): Verdict {
  const old = draft.seen.status.conditions.find((condition) => condition.type === "Succeeded");
  if (old?.status === "False") return { status: "False", reason: old.reason, message: old.message };
  return outcome.phase === "Succeeded" ? yes(outcome.reason) : no(outcome.reason, outcome.message);
}

function compliance(draft: Draft, outcome: Outcome | undefined): Verdict {
  const old = draft.seen.status.conditions.find((condition) => condition.type === "PolicyCompliant");
  if (outcome?.reason === "PolicyViolation") return no("PolicyViolation", outcome.message);
  if (old?.status === "False" && old.reason !== "AuditViolation") return old;
  const crossed = draft.seen.execution === undefined ? undefined : crossedAudit(draft.seen.execution.account);
  const found = [
    ...(crossed === undefined ? [] : [`an Audit policy's limit is crossed: ${crossed}`]),
    ...draft.audited,
  ];
  if (found.length > 0) return no("AuditViolation", found.join("; "));
  return old?.status === "False" ? old : yes("Compliant");
}

function crossedAudit(account: Account): string | undefined {
  const unit = units.find((each) => spentOf(account, each) > (account.auditLimits[each] ?? Number.POSITIVE_INFINITY));
  return unit && `${unit} ${spentOf(account, unit)} of ${account.auditLimits[unit] ?? 0} of the whole run`;
}
