/** What ends a run before its nodes do, and the control state that says so to every worker. */
import { transition } from "../protocol/control.ts";
import type { ControlState } from "../protocol/types.ts";
import { type Draft, isAllEnded, isMainEnded, runsOnCancel, type Stop, stopReasons } from "./draft.ts";
import type { Verdict } from "./judge.ts";
import { isEnded } from "./node-machine.ts";
import type { NodeRow, Row } from "./rows.ts";

/** The stop that an earlier pass has written to the status: it stands, whatever happens later. */
export function latchedStop(draft: Draft): Stop | undefined {
  const condition = draft.seen.status.conditions.find((each) => each.type === "Succeeded");
  const reason = stopReasons.find((each) => each === condition?.reason);
  return condition?.status === "False" && reason !== undefined ? { reason, message: condition.message } : undefined;
}

/** Looks at the verdicts of this pass before any of them is acted on, so that no node is restarted into a stopped run. */
export function detectStop(draft: Draft, verdicts: ReadonlyMap<Row, Verdict>, deadline: string | undefined): void {
  draft.stop =
    latchedStop(draft) ??
    storeStop(draft) ??
    lostStop(draft, false) ??
    verdictStop(verdicts, false) ??
    deadlineStop(draft, deadline, false);
  if (draft.stop === undefined && draft.cancelRequested) draft.stop = cancelled(draft);
  draft.finallyStop =
    (draft.seen.execution === undefined ? draft.stop : undefined) ??
    lostStop(draft, true) ??
    verdictStop(verdicts, true) ??
    deadlineStop(draft, deadline, true);
  draft.stop ??= draft.finallyStop;
}

function storeStop(draft: Draft): Stop | undefined {
  const control = draft.seen.execution?.control;
  if (control === undefined)
    return { reason: "DurabilityLost", message: "the journal store does not know this run, which was opened" };
  if (control.state === "Violated") return { reason: "PolicyViolation", message: control.message };
  if (control.state === "Finalizing" && !isMainEnded(draft)) {
    return { reason: "DurabilityLost", message: "the journal is past the main nodes, the status is not" };
  }
  // Set by somebody else, or by this host just before it lost its status.
  if (control.state === "Cancelled") return { reason: "Cancelled", message: control.message };
  return undefined;
}

function lostStop(draft: Draft, ofFinally: boolean): Stop | undefined {
  const row = draft.rows.find((each) => each.node.isFinally === ofFinally && each.reason === "DurabilityLost");
  return (
    row && { reason: "DurabilityLost", message: `${row.node.name}: ${row.message ?? "what was recorded is gone"}` }
  );
}

function verdictStop(verdicts: ReadonlyMap<Row, Verdict>, ofFinally: boolean): Stop | undefined {
  for (const [row, verdict] of verdicts) {
    if (row.node.isFinally !== ofFinally) continue;
    if (verdict.is === "RolledBack")
      return { reason: "DurabilityLost", message: `${row.node.name}: ${verdict.detail}` };
    const error = verdict.is === "Finished" ? verdict.finished.error : null;
    // Finally nodes hold their budgets each for itself: one that breaks it fails, the others still tidy up.
    if (error?.class === "PolicyViolation" && !ofFinally) return { reason: "PolicyViolation", message: error.message };
  }
  return undefined;
}

function deadlineStop(draft: Draft, deadline: string | undefined, ofFinally: boolean): Stop | undefined {
  if (deadline === undefined || isMainEnded(draft) !== ofFinally || isAllEnded(draft)) return undefined;
  return { reason: "DeadlineExceeded", message: deadline };
}

/** A run whose main nodes failed is Failed, also when it is cancelled while it tidies up; one that has ended is what it is. */
function cancelled(draft: Draft): Stop | undefined {
  if (isAllEnded(draft)) return undefined;
  const hasFailed = isMainEnded(draft) && draft.rows.some((row) => !row.node.isFinally && row.state === "Failed");
  return hasFailed ? undefined : { reason: "Cancelled", message: "the run was cancelled" };
}

export function hasFinallyToRun(rows: readonly NodeRow[], draft: Draft): boolean {
  return rows.some((row) => row.node.isFinally && !isEnded(row.state) && (!draft.cancelRequested || runsOnCancel(row)));
}

/** Moves the control state where it should be, if the table of moves allows it. The status has the reason by then. */
export function decideControl(draft: Draft): void {
  const control = draft.seen.execution?.control;
  if (control === undefined) return;
  const { to, message } = desiredControl(draft);
  if (control.state === to || transition(control, to, message) === undefined) return;
  draft.decisions.push({ kind: "SetControl", to, message });
}

function desiredControl(draft: Draft): { to: ControlState; message: string } {
  if (isMainEnded(draft) && hasFinallyToRun(draft.rows, draft)) return { to: "Finalizing", message: "finally" };
  const { stop } = draft;
  // Workers know four states; a deadline or a loss ends them like a cancellation, and the message says which it was.
  if (stop !== undefined) {
    if (stop.reason === "PolicyViolation") return { to: "Violated", message: stop.message };
    return { to: "Cancelled", message: `${stop.reason}: ${stop.message}` };
  }
  if (draft.suspended) return { to: "Suspended", message: "desiredState is Suspended" };
  return { to: "Running", message: "" };
}
