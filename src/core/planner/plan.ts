/**
 * plan(seen, now): what to write and what to do next, as data. P1: same input, same plan, whatever the order in which
 * things were observed. P2: every decision may be performed twice. The work per call is linear in nodes, edges and items.
 */
import type { ExecutionStatus } from "../../api/status.ts";
import { byCodeUnit } from "../dag/spec-graph.ts";
import { itemName } from "../protocol/names.ts";
import type { NodeKey } from "../protocol/types.ts";
import { settleApproval } from "./approvals.ts";
import { emptyTraceHash } from "../trace/canonical.ts";
import { advance, cancelRow, notePosition } from "./advance.ts";
import { withTimes } from "./conditions.ts";
import { exceededDeadline } from "./deadline.ts";
import { absence, type Draft, draftOf, isAllEnded, isMainEnded, recordOf, stopOf, wakeNow } from "./draft.ts";
import { settleForEach } from "./for-each.ts";
import { judge } from "./judge.ts";
import { keysOf, outputsNeeded } from "./needs.ts";
import { isAtWork, isEnded } from "./node-machine.ts";
import { loseVanished, outcomeOf, resultOf } from "./outcome.ts";
import { settlePending } from "./readiness.ts";
import { renderStatus } from "./render.ts";
import { finishedOf, type Row, thawRows, workRows } from "./rows.ts";
import { startReady } from "./start.ts";
import { strictOutcome, verdictOf } from "./strict.ts";
import { decideControl, detectStop } from "./stop.ts";
import { strictNode } from "../replay/strict.ts";
import { isoTime, parseTime } from "./time.ts";
import type { Decision, Plan, Seen } from "./types.ts";

export function plan(seen: Seen, nowMs: number): Plan {
  const items = new Map(seen.items.map((item) => [itemName(item.key), item]));
  const asked = new Set(outputsNeeded(seen.spec, seen.status, (key) => items.get(itemName(key))?.record));
  const draft = draftOf(seen, nowMs, asked, items);
  if (seen.status.completedAt !== undefined) return planEnded(draft);
  const isClosing = isAllEnded(draft);
  const wasMainEnded = isMainEnded(draft);
  advanceRun(draft);
  if (isClosing) loseResult(draft);
  stopStrays(draft);
  const hasEnded = isAllEnded(draft);
  if (hasEnded && !isClosing && seen.execution !== undefined) wakeNow(draft);
  const isOver = hasEnded && (isClosing || seen.execution === undefined);
  const status = renderStatus(draft, isOver ? overOutcome(draft) : undefined, wasMainEnded);
  if (isOver) seal(draft, status);
  return planOf(draft, status, isOver);
}

function advanceRun(draft: Draft): void {
  loseVanished(draft);
  const open = draft.rows.flatMap(workRows).filter((row) => !isEnded(row.state));
  // An attempt given up too early may have finished before it was fenced: its finish counts all the same.
  const hasFinished = (row: Row) => row.attempt > 0 && finishedOf(row, recordOf(draft, row.key)) !== undefined;
  const atWork = open.filter((row) => isAtWork(row.state) || hasFinished(row));
  const verdicts = new Map(atWork.map((row) => [row, judge(draft, row)]));
  for (const row of open) notePosition(draft, row);
  detectStop(draft, verdicts, exceededDeadline(draft));
  for (const [row, verdict] of verdicts) advance(draft, row, verdict);
  const stopSeen = draft.stop;
  for (const node of draft.graph.order) {
    const row = draft.byName.get(node.name);
    if (row === undefined) continue;
    settleForEach(draft, row);
    if (stopOf(draft, row) !== undefined) {
      if (row.itemCount === undefined && !isAtWork(row.state)) cancelRow(draft, row);
    } else {
      settlePending(draft, row);
      for (const each of workRows(row)) if (each.state === "AwaitingApproval") settleApproval(draft, each);
    }
    settleForEach(draft, row);
  }
  startReady(draft);
  decideControl(draft);
  // A loss found while looking for work stops the nodes that were looked at before it.
  if (draft.stop !== stopSeen) wakeNow(draft);
}

/** The stop that stands, or how the nodes ended; an earlier False of Succeeded is kept by the conditions. */
function overOutcome(draft: Draft): ReturnType<typeof outcomeOf> {
  const latched = draft.seen.status.conditions.find((each) => each.type === "Succeeded" && each.status === "False");
  const verdict = verdictOf(draft);
  const outcome = verdict === undefined ? outcomeOf(draft) : strictOutcome(draft, verdict);
  if (latched === undefined) return outcome;
  return {
    phase: latched.reason === "Cancelled" ? "Cancelled" : "Failed",
    reason: latched.reason,
    message: latched.message,
  };
}

/** A result whose parts are gone is lost work too. */
function loseResult(draft: Draft): void {
  if (draft.stop !== undefined || outcomeOf(draft).phase !== "Succeeded") return;
  const bodies = draft.bodies.length;
  const result = resultOf(draft);
  draft.bodies.length = bodies;
  if (result.absent === undefined) return;
  const { reason, is } = absence(draft, result.absent);
  draft.stop = { reason, message: `the output of a node that the result is made of ${is}` };
}

/** Workers that no row counts on any more: older attempts, ended nodes, unknown names. */
function stopStrays(draft: Draft): void {
  const current = new Map(draft.rows.flatMap(workRows).map((row) => [itemName(row.key), row]));
  for (const [name, views] of draft.workers) {
    const row = current.get(name);
    for (const worker of views) {
      if (worker.state === "Exited") continue;
      const isCurrent = row !== undefined && isAtWork(row.state) && row.attempt === worker.attempt;
      const hasExited = views.some((view) => view.attempt === worker.attempt && view.state === "Exited");
      // Its finish is durable, so it is about to leave by itself; the loop ends one that does not.
      const isLeaving =
        row === undefined
          ? draft.byName.get(worker.node)?.state === "Succeeded" // items of a node that has ended have no rows
          : row.state === "Succeeded" && row.attempt === worker.attempt;
      if (!isCurrent && !hasExited && !isLeaving) draft.decisions.push({ kind: "StopWorker", worker });
    }
  }
}

function planEnded(draft: Draft): Plan {
  const { seen } = draft;
  stopStrays(draft);
  const status: ExecutionStatus = { ...seen.status, observedGeneration: seen.run.generation };
  const isSealed = seen.status.sealed === true && seen.status.observedGeneration === seen.run.generation;
  if (!isSealed) seal(draft, status);
  return planOf(draft, status, !isSealed);
}

/** The remaining time is computed from the end, so sealing twice leaves the same moment of expiry. */
function seal(draft: Draft, status: ExecutionStatus): void {
  const { seen, nowMs } = draft;
  const endedMs = parseTime(status.completedAt) ?? nowMs;
  const leftMs = endedMs + seen.run.journalRetentionSeconds * 1_000 - nowMs;
  draft.decisions.push({
    kind: "Seal",
    dropBodies: seen.policy.recording.content === "DigestOnly",
    keep: [seen.snapshot],
    // The rows of a Strict replay that ended are its parent's.
    items:
      seen.replay?.mode === "Strict"
        ? [{ node: strictNode }]
        : thawRows(draft.graph, status).flatMap((row) => keysOf(row)),
    expireSeconds: Math.max(0, Math.ceil(leftMs / 1_000)),
    ...(seen.replay === undefined ? {} : { lineage: seen.replay.lineage }),
  });
}

function planOf(draft: Draft, status: ExecutionStatus, isSealing: boolean): Plan {
  const wakeAfterMs = draft.wakeAtMs === undefined ? undefined : Math.max(0, draft.wakeAtMs - draft.nowMs);
  return {
    bodies: draft.bodies,
    losses: draft.losses,
    status,
    decisions: sorted(draft.decisions),
    ...(isSealing ? { statusAfter: { ...status, sealed: true } } : {}),
    ...(wakeAfterMs === undefined ? {} : { wakeAfterMs }),
  };
}

const ranks = {
  SetControl: 0,
  ReleaseAttempt: 1,
  StopWorker: 2,
  StartWorker: 3,
  RecordAnswer: 4,
  Seal: 5,
} as const;

function sorted(decisions: readonly Decision[]): readonly Decision[] {
  const unique = new Map(decisions.map((decision) => [decisionName(decision), decision]));
  return [...unique.values()].sort((a, b) => {
    const [left, right] = [keyOf(a), keyOf(b)];
    return (
      ranks[a.kind] - ranks[b.kind] ||
      byCodeUnit(left.node, right.node) ||
      (left.item ?? -1) - (right.item ?? -1) ||
      left.attempt - right.attempt
    );
  });
}

/** Names the effect: two decisions of one name are one (P2). */
export function decisionName(decision: Decision): string {
  const key = keyOf(decision);
  const how = decision.kind === "StopWorker" && decision.force === true ? "!" : "";
  return `${decision.kind}${how} ${itemName(key)}#${key.attempt}`;
}

function keyOf(decision: Decision): NodeKey & { attempt: number } {
  switch (decision.kind) {
    case "SetControl":
    case "Seal":
      return { node: "", attempt: 0 };
    case "StopWorker":
      return decision.worker;
    case "ReleaseAttempt":
    case "StartWorker":
    case "RecordAnswer":
      return { ...decision.key, attempt: decision.attempt };
  }
}

/** A run that cannot be planned at all: refused before it started, or its snapshot is gone. Nothing of it is at work. */
export function failedStatus(
  previous: ExecutionStatus,
  reason: string,
  message: string,
  generation: number,
  nowMs: number,
): ExecutionStatus {
  const told = { reason, message };
  return {
    ...previous,
    observedGeneration: generation,
    phase: reason === "Cancelled" ? "Cancelled" : "Failed",
    conditions: withTimes(
      previous,
      {
        Succeeded: { status: "False", ...told },
        Ready: { status: "False", ...told },
        Reconciling: { status: "False", reason: "Ended", message: "" },
        Stalled: { status: "True", ...told },
        ...(reason === "DurabilityLost" ? { CheckpointsDurable: { status: "False" as const, ...told } } : {}),
      },
      nowMs,
    ),
    nodes: previous.nodes.map((row) => (isEnded(row.state) ? row : { ...row, state: "Cancelled", reason })),
    ...(previous.snapshot === undefined ? { traceHash: emptyTraceHash } : {}),
    completedAt: isoTime(nowMs),
    sealed: true,
  };
}
