/** One row on from what became of its attempt: end, next try (own fault), restart (loss), or wait. Two separate counters. */
import { failureClasses } from "../../api/defaults.ts";
import { retryDelayMs } from "../policy/retry.ts";
import { itemName } from "../protocol/names.ts";
import { type Draft, isReleased, recordOf, stopOf, stopWorkers, wakeAt } from "./draft.ts";
import type { Verdict } from "./judge.ts";
import { isEnded } from "./node-machine.ts";
import { apply, isBehind, marks, type Row } from "./rows.ts";

/** Worker events wake the host; this is for the ones that get lost. */
const pollMs = 5_000;
/** G1: whatever a list says, nothing outside the schema's enum is ever tried again. */
const retryable: readonly string[] = failureClasses;
const firstRestartDelayMs = 1_000;
const maxRestartDelayMs = 60_000;

/** The first restart comes at once, as most losses are single; then 1 s, 2 s, 4 s … up to a minute. */
export function restartDelayMs(restart: number): number {
  return restart <= 1 ? 0 : Math.min(firstRestartDelayMs * 2 ** Math.min(restart - 2, 30), maxRestartDelayMs);
}

/** A row in Starting or Running, or one whose given-up attempt turns out to have finished. */
export function advance(draft: Draft, row: Row, verdict: Verdict): void {
  switch (verdict.is) {
    case "Finished":
      row.steps = verdict.steps;
      if (verdict.finished.outcome === "Succeeded") apply(row, "succeed", draft.nowMs);
      else
        ownFault(
          draft,
          row,
          verdict.finished.error ?? { class: "Unknown", message: "" },
          verdict.finished.final === true,
        );
      return;
    case "RolledBack":
      apply(row, "lose", draft.nowMs, "DurabilityLost", verdict.detail);
      return;
    case "Working":
      return working(draft, row, verdict);
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

/** Ends a row that has not finished, once its last attempt is fenced. */
export function cancelRow(draft: Draft, row: Row): void {
  if (isEnded(row.state) || !isReleased(draft, row)) return;
  apply(row, "cancel", draft.nowMs, stopOf(draft, row)?.reason ?? "SiblingFailed");
}

function working(draft: Draft, row: Row, verdict: Extract<Verdict, { is: "Working" }>): void {
  if (verdict.claimed && row.state === "Starting") apply(row, "claim", draft.nowMs, row.reason, row.message);
  wakeAt(draft, verdict.leaseEndsMs ?? draft.nowMs + pollMs);
  if (stopOf(draft, row) !== undefined) return stopWorkers(draft, row);
  const timeoutMs = timeoutOf(row);
  if (isTimedOut(draft, row)) row.reason = marks.timeout;
  else if (timeoutMs !== undefined) wakeAt(draft, (row.startedAtMs ?? draft.nowMs) + timeoutMs);
  if (draft.suspended && row.reason !== marks.timeout) row.reason = marks.suspending;
  // A suspended worker lets its calls in flight end and leaves by itself; asking it to end would cut them.
  if (row.reason !== undefined && row.reason !== marks.suspending) stopWorkers(draft, row);
}

function gone(draft: Draft, row: Row, verdict: Extract<Verdict, { is: "Gone" }>): void {
  if (stopOf(draft, row) !== undefined) return cancelRow(draft, row);
  if (row.reason === marks.timeout) return timedOut(draft, row);
  if (row.reason === marks.lost) return lost(draft, row, row.message ?? verdict.detail);
  // However it ended: it was asked to, and resumes without being counted.
  if (row.reason === marks.suspending) return apply(row, "park", draft.nowMs);
  if (verdict.how !== "Fenced") return restart(draft, row, verdict.detail);
  // Fenced never counts. Where the journal does not show by whom, a pause keeps it from spinning.
  const record = recordOf(draft, row.key);
  if (record !== undefined && record.attempt >= row.attempt) return apply(row, "park", draft.nowMs);
  apply(row, "wait", draft.nowMs, "Fenced", shorten(verdict.detail));
  row.retryAtMs = draft.nowMs + firstRestartDelayMs;
}

/** Infrastructure: same try, next attempt, resumed from the journal. */
function restart(draft: Draft, row: Row, detail: string): void {
  if (row.restarts >= draft.seen.policy.maxRestarts) return lost(draft, row, detail);
  row.restarts += 1;
  const record = recordOf(draft, row.key);
  if (record?.attempt === row.attempt && record.claimId !== "") {
    draft.decisions.push({ kind: "ReleaseAttempt", key: row.key, attempt: row.attempt });
  }
  apply(row, "wait", draft.nowMs, "Restarting", shorten(detail));
  row.retryAtMs = draft.nowMs + restartDelayMs(row.restarts);
}

function lost(draft: Draft, row: Row, detail: string): void {
  row.reason = marks.lost;
  row.message = shorten(detail);
  if (!isReleased(draft, row)) return;
  const message = `lost ${row.restarts + 1} times (policy infrastructure.maxRestarts ${draft.seen.policy.maxRestarts}); last: ${detail}`;
  apply(row, "fail", draft.nowMs, marks.lost, shorten(message));
}

function timedOut(draft: Draft, row: Row): void {
  row.reason = marks.timeout;
  if (!isReleased(draft, row)) return;
  const message = `not finished within timeoutSeconds ${row.node.spec.timeoutSeconds ?? 0} of one attempt`;
  ownFault(draft, row, { class: "Timeout", message }, false);
}

/** A new try really asks again. `final`: a NonIdempotent call was made in this try, so nobody may. */
function ownFault(draft: Draft, row: Row, error: { class: string; message: string }, final: boolean): void {
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

/** The highest position seen goes into the status of every row that has not ended, so that a later rollback shows. */
export function notePosition(draft: Draft, row: Row): void {
  const record = recordOf(draft, row.key);
  // A store that fell behind must stay visible as such until its worker has healed it.
  if (record === undefined || record.length === 0 || isBehind(row, record)) return;
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

function shorten(text: string): string {
  return text.length <= 512 ? text : `${text.slice(0, 511)}…`.toWellFormed();
}
