/** One row on from what became of its attempt: end, next try (own fault), restart (loss), or wait. Two separate counters. */
import { statusLimits } from "../../api/status.ts";
import { askDoubt } from "./approvals.ts";
import { type Draft, isReleased, killWorkers, recordOf, seenItem, stopOf, stopWorkers, wakeAt } from "./draft.ts";
import { overdue, ownFault, timedOut } from "./faults.ts";
import type { Verdict } from "./judge.ts";
import { firstRestartDelayMs, lost, restart } from "./losses.ts";
import { isEnded } from "./node-machine.ts";
import { takenOverAttempt } from "../replay/taken-over.ts";
import { beginTry, isTakenOver, succeed } from "./origin.ts";
import type { KnownEnd } from "./types.ts";
import { apply, isBehind, isMarked, marks, type Row, shorten, tellsLoss } from "./rows.ts";

/** Worker events wake the host; this is for the ones that get lost. */
const pollMs = 5_000;
/**
 * From the end of a lease until its worker is given up. Not at once: when this machine or the store has paused, leases look
 * over until their workers have said otherwise. Longer where the worker may be out of reach and still at work.
 */
const silentGraceMs = { listed: 5_000, remote: 10_000 } as const;

/** A row in Starting or Running, or one whose given-up attempt turns out to have finished. */
export function advance(draft: Draft, row: Row, verdict: Verdict): void {
  switch (verdict.is) {
    case "Finished":
      return finished(draft, row, verdict);
    case "RolledBack":
      apply(row, "lose", draft.nowMs, "DurabilityLost", verdict.detail);
      return;
    case "Working":
      return working(draft, row, verdict);
    case "Silent":
      return silent(draft, row, verdict);
    case "Changed":
      return changed(draft, row, verdict.detail);
    case "Asking":
      if (stopOf(draft, row) !== undefined) return cancelRow(draft, row);
      return askDoubt(draft, row, verdict.doubt);
    case "Unseen":
      if (stopOf(draft, row) !== undefined) return cancelRow(draft, row);
      if (draft.suspended) apply(row, "park", draft.nowMs);
      else if (isTimedOut(draft, row)) timedOut(draft, row);
      // Otherwise start.ts orders the same attempt again: the name is the same, so it is harmless (P2).
      return;
    case "Gone":
      return gone(draft, row, verdict);
  }
}

/** A row that ends as in the run that this one replays: nobody works on it, so it waits for no turn. */
export function takeOver(draft: Draft, row: Row, end: KnownEnd): void {
  beginTry(draft.seen, row);
  row.attempt = takenOverAttempt;
  apply(row, "start", draft.nowMs);
  finished(draft, row, { is: "Finished", ...end });
}

/** Ends a row that has not finished, once its last attempt is fenced. */
export function cancelRow(draft: Draft, row: Row): void {
  if (isEnded(row.state) || !isReleased(draft, row)) return;
  apply(row, "cancel", draft.nowMs, stopOf(draft, row)?.reason ?? "SiblingFailed");
}

type Of<Is extends Verdict["is"]> = Extract<Verdict, { is: Is }>;

function finished(draft: Draft, row: Row, { finished: result, steps }: Of<"Finished">): void {
  row.steps = steps;
  for (const message of result.audited ?? [])
    if (draft.audited.size < statusLimits.auditFindings)
      draft.audited.add(message.slice(0, statusLimits.messageChars).toWellFormed());
  if (result.outcome === "Succeeded") return succeed(draft.seen, row, draft.nowMs);
  const error = result.error ?? { class: "Unknown", message: "" };
  // What lost the attempt before is why anything is in doubt.
  const isExplained = error.class === "InDoubt" && row.message !== undefined && !isMarked(row);
  const message = isExplained ? `its worker was lost (${row.message}): ${error.message}` : error.message;
  ownFault(draft, row, { class: error.class, message }, result.final === true);
}

function working(draft: Draft, row: Row, { claimed, leaseEndsMs, silentAtMs, blocked }: Of<"Working">): void {
  answers(row);
  if (blocked !== undefined && !isMarked(row)) {
    row.reason = blocked.failure;
    row.message = shorten(blocked.detail);
  }
  if (claimed && row.state === "Starting") apply(row, "claim", draft.nowMs, row.reason, row.message);
  wakeAt(draft, leaseEndsMs ?? Math.min(silentAtMs ?? Number.POSITIVE_INFINITY, draft.nowMs + pollMs));
  if (stopOf(draft, row) !== undefined) return stopWorkers(draft, row);
  const timeoutMs = timeoutOf(row);
  if (isTimedOut(draft, row)) noteTimeout(row);
  else if (timeoutMs !== undefined) wakeAt(draft, (row.startedAtMs ?? draft.nowMs) + timeoutMs);
  if (draft.suspended && row.reason !== marks.timeout) row.reason = marks.suspending;
  // A suspended worker lets its calls in flight end and leaves by itself; asking it to end would cut them.
  const leavesByItself = row.reason === marks.suspending && blocked === undefined;
  if (isMarked(row) && !leavesByItself) stopWorkers(draft, row);
}

/** What was said of it while it did not answer, or could not start, holds no more. */
function answers(row: Row): void {
  row.retryAtMs = undefined;
  if (row.reason !== marks.silent && !tellsLoss(row.reason)) return;
  row.reason = undefined;
  row.message = undefined;
}

/** The message says what kept it from starting, if that was it. */
function noteTimeout(row: Row): void {
  if (row.reason === marks.timeout) return;
  row.message = tellsLoss(row.reason) ? shorten(`${row.reason}: ${row.message ?? ""}`) : undefined;
  row.reason = marks.timeout;
}

function silent(draft: Draft, row: Row, { failure, detail }: Of<"Silent">): void {
  const { listsAll } = draft.seen;
  if (isTimedOut(draft, row)) noteTimeout(row);
  if (!isMarked(row)) {
    row.reason = marks.silent;
    row.message = shorten(detail);
  }
  const graceMs = failure === "NodeLost" ? 0 : listsAll ? silentGraceMs.listed : silentGraceMs.remote;
  row.retryAtMs = Math.min(row.retryAtMs ?? Number.POSITIVE_INFINITY, draft.nowMs + graceMs);
  if (draft.nowMs < row.retryAtMs) {
    if (stopOf(draft, row) !== undefined || row.reason !== marks.silent) stopWorkers(draft, row);
    return wakeAt(draft, row.retryAtMs);
  }
  killWorkers(draft, row);
  // Where its end will be seen, that is waited for.
  if (listsAll) return wakeAt(draft, draft.nowMs + pollMs);
  gone(draft, row, { is: "Gone", how: "Lost", detail, failure });
}

function gone(draft: Draft, row: Row, verdict: Of<"Gone">): void {
  const { how, detail, failure } = verdict;
  if (stopOf(draft, row) !== undefined) return cancelRow(draft, row);
  if (row.reason === marks.timeout) return timedOut(draft, row);
  if (failure === "DeadlineExceeded") return timedOut(draft, row, shorten(`${failure}: ${detail}`));
  if (row.reason === marks.lost || row.reason === marks.poisoned) {
    return lost(draft, row, row.reason, row.message ?? detail);
  }
  // However it ended: it was asked to, and resumes without being counted. What its cut call held is charged now, so that it shows.
  if (row.reason === marks.suspending) return isReleased(draft, row) ? apply(row, "park", draft.nowMs) : undefined;
  if (row.reason === marks.silent) return goneSilent(draft, row, verdict);
  if (how !== "Fenced") return restart(draft, row, detail, failure);
  // Fenced never counts. Where the journal does not show by whom, a pause keeps it from spinning.
  const record = recordOf(draft, row.key);
  if (record !== undefined && record.attempt >= row.attempt) return apply(row, "park", draft.nowMs);
  apply(row, "wait", draft.nowMs, "Fenced", shorten(detail));
  row.retryAtMs = draft.nowMs + firstRestartDelayMs;
}

/** As a worker that reads it fails: nothing is tried again over such a record, and its next attempt could not begin. */
function changed(draft: Draft, row: Row, detail: string): void {
  if (stopOf(draft, row) !== undefined) return cancelRow(draft, row);
  killWorkers(draft, row);
  if (isReleased(draft, row)) ownFault(draft, row, { class: "RecordChanged", message: detail }, true);
}

/** An overdue call is the node's own fault; a worker that was silent without one was lost, and how it was ended says nothing. */
function goneSilent(draft: Draft, row: Row, { detail, failure }: Of<"Gone">): void {
  const call = seenItem(draft, row)?.overdue;
  if (call !== undefined && failure !== "NodeLost") return overdue(draft, row, call);
  restart(draft, row, row.message ?? detail, draft.seen.listsAll ? undefined : "NodeLost");
}

/** The highest position seen goes into the status of every row that has not ended, so that a later rollback shows. */
export function notePosition(draft: Draft, row: Row): void {
  const record = recordOf(draft, row.key);
  // A store that fell behind must stay visible as such until its worker has healed it.
  if (record === undefined || record.length === 0 || isBehind(row, record)) return;
  // However the row ends, these are the steps that it has.
  row.steps = record.steps;
  if (isTakenOver(draft.seen, row.key, record)) return;
  row.journal = { length: record.length, head: record.head.slice(0, 16) };
}

function timeoutOf(row: Row): number | undefined {
  const seconds = row.node.spec.timeoutSeconds;
  return seconds === undefined ? undefined : seconds * 1_000;
}

function isTimedOut(draft: Draft, row: Row): boolean {
  const timeoutMs = timeoutOf(row);
  if (row.reason === marks.timeout) return true;
  return timeoutMs !== undefined && row.startedAtMs !== undefined && draft.nowMs - row.startedAtMs >= timeoutMs;
}
