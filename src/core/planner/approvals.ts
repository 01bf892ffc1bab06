/**
 * Questions to people: an approval node's, and a call in doubt under `onInDoubt: Ask`. A question stands in the status from when it
 * was asked; its answer is latched there too, before anything is done about it, so that it is acted on once and the same way by
 * every host.
 */
import { type ApprovalStatus, statusLimits } from "../../api/status.ts";
import type { Json } from "../digest/json.ts";
import { ExpressionError } from "../expressions/errors.ts";
import { type ExpressionScope, interpolate } from "../expressions/evaluate.ts";
import { itemName } from "../protocol/names.ts";
import { requestName } from "../steps/identity.ts";
import { type Draft, isReleased, recordOf, wakeAt } from "./draft.ts";
import { apply, type NodeRow, type Row, shorten, workRows } from "./rows.ts";
import { isoTime, parseTime } from "./time.ts";
import type { SeenDoubt } from "./types.ts";

/** Open questions of a run at once: they stand in the status (P4). Further ones are asked once these are answered. */
const openMax = 20;
/** Of questions that are answered and whose node has ended. */
const keptMax = 20;

/** Nobody: the time was over. */
export const byTimeout = "timeout";

export function pendingOf(draft: Draft, row: Row): ApprovalStatus | undefined {
  const name = itemName(row.key);
  return draft.approvals.find(({ node, decision }) => node === name && decision === undefined);
}

/** The last answer for this row. */
export function answerOf(draft: Draft, row: Row): ApprovalStatus | undefined {
  const name = itemName(row.key);
  return draft.approvals.findLast(({ node, decision }) => node === name && decision !== undefined);
}

/** An approval node whose time has come. `outputs` are those that its message names. */
export function askNode(draft: Draft, row: NodeRow, scope: ExpressionScope): void {
  const { approval } = row.node.spec;
  if (approval === undefined || openCount(draft) >= openMax) return;
  let message: string;
  try {
    const value: Json = interpolate(approval.message, scope);
    message = typeof value === "string" ? value : JSON.stringify(value);
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
    return apply(row, "fail", draft.nowMs, error.code, error.message);
  }
  // Its time is part of its name, so that nobody can answer before it is asked.
  ask(draft, row, requestName(row.key, [draft.seen.run.uid, itemName(row.key), isoTime(draft.nowMs)]), message);
}

/** Its worker has left because of a call that may have taken effect: nobody but a person knows. */
export function askDoubt(draft: Draft, row: Row, { request, tool }: SeenDoubt): void {
  if (!isReleased(draft, row)) return;
  const message = `tool ${tool} is NonIdempotent and was called before a crash; whether it took effect is unknown. Check the outside. Approve: call it again. Reject: the node fails`;
  ask(draft, row, request, message);
}

function ask(draft: Draft, row: Row, request: string, message: string): void {
  const told = shorten(message);
  apply(row, "ask", draft.nowMs, undefined, told);
  row.startedAtMs = draft.nowMs;
  draft.approvals.push({ request, node: itemName(row.key), message: told, requestedAt: isoTime(draft.nowMs) });
}

/** For a row that waits for an answer: latches one that is there, or the one that its time limit gives. */
export function settleApproval(draft: Draft, row: Row): void {
  const pending = pendingOf(draft, row);
  if (draft.suspended) return;
  if (pending !== undefined) {
    const decided = answered(draft, pending) ?? overdue(draft, row, pending);
    if (decided === undefined) return;
    draft.approvals[draft.approvals.indexOf(pending)] = { ...pending, ...decided, decidedAt: isoTime(draft.nowMs) };
  }
  // Of an approval node its answer is recorded by the host (start.ts); a call in doubt is settled by the next attempt.
  if (row.node.spec.approval === undefined) return apply(row, "park", draft.nowMs);
  row.attempt = Math.max(row.attempt, recordOf(draft, row.key)?.attempt ?? 0) + 1;
  apply(row, "start", draft.nowMs);
}

type Decided = Pick<ApprovalStatus, "decision" | "by" | "proven">;

function answered(draft: Draft, { request }: ApprovalStatus): Decided | undefined {
  return draft.seen.run.answers?.get(request);
}

function overdue(draft: Draft, row: Row, { requestedAt }: ApprovalStatus): Decided | undefined {
  const { timeoutSeconds, onTimeout } = row.node.spec.approval ?? {};
  if (timeoutSeconds === undefined) return undefined;
  const atMs = (parseTime(requestedAt) ?? draft.nowMs) + timeoutSeconds * 1_000;
  if (draft.nowMs < atMs) {
    wakeAt(draft, atMs);
    return undefined;
  }
  return { decision: onTimeout === "Approve" ? "Approved" : "Rejected", by: byTimeout, proven: true };
}

/** Nothing is at work or due, and somebody is asked. */
export function isAwaiting(draft: Draft): boolean {
  const rows = draft.rows.flatMap(workRows);
  const isBusy = rows.some(({ state }) => state === "Starting" || state === "Running" || state === "Retrying");
  return !isBusy && rows.some(({ state }) => state === "AwaitingApproval");
}

/** For people: the first open question, and how to answer it. */
export function questionOf(draft: Draft): string {
  const open = draft.approvals.filter(({ decision }) => decision === undefined);
  const [first] = open;
  if (first === undefined) return "";
  const more = open.length > 1 ? ` (and ${open.length - 1} more)` : "";
  return `${first.node} asks: ${first.message}${more}; answer: oao approve ${draft.seen.run.name} ${first.request} [--reject]`;
}

/** Every question of a row that has not ended, and the latest of the others. */
export function renderApprovals(draft: Draft): { readonly approvals?: readonly ApprovalStatus[] } {
  if (draft.approvals.length === 0) return {};
  const ended = new Set(
    draft.rows.flatMap(workRows).flatMap((row) => (row.completedAtMs === undefined ? [] : [itemName(row.key)])),
  );
  const isDone = ({ node, decision }: ApprovalStatus) => decision !== undefined && ended.has(node);
  const spare = Math.max(0, draft.approvals.filter(isDone).length - keptMax);
  let dropped = 0;
  const kept = draft.approvals.filter((each) => {
    // A question whose node was ended before anybody answered is none any more.
    if (each.decision === undefined) return !ended.has(each.node);
    if (!isDone(each) || dropped >= spare) return true;
    dropped += 1;
    return false;
  });
  return {
    approvals: kept.map((each) => ({
      ...each,
      message: each.message.slice(0, statusLimits.messageChars).toWellFormed(),
    })),
  };
}

function openCount(draft: Draft): number {
  return draft.approvals.filter(({ decision }) => decision === undefined).length;
}
