/** Which attempts are ordered: in canonical order, items by index, never more at work than parallelism and maxParallel allow. */
import { executionDefaults } from "../../api/defaults.ts";
import { itemName } from "../protocol/names.ts";
import type { KnownPosition } from "../protocol/types.ts";
import { takeOver } from "./advance.ts";
import { answerOf } from "./approvals.ts";
import { type Draft, liveWorkers, outputDigest, recordOf, stopOf, wakeAt, wakeNow } from "./draft.ts";
import { blockedStart } from "./judge.ts";
import { isAtWork, isEnded } from "./node-machine.ts";
import { beginTry, isTakenOver, originEnd } from "./origin.ts";
import type { Answer, Approved, SeenWorker } from "./types.ts";
import {
  apply,
  isBehind,
  isMarked,
  newItem,
  type NodeRow,
  queued,
  restarting,
  type Row,
  shorten,
  tellsLoss,
  workRows,
} from "./rows.ts";

/** A journal tells its host of what was written; this is for when it does not. */
const answerLookMs = 1_000;

export function startReady(draft: Draft): void {
  const { spec, policy } = draft.seen;
  let free = Math.min(
    spec.parallelism ?? executionDefaults.parallelism,
    policy.maxParallel ?? Number.POSITIVE_INFINITY,
  );
  for (const row of draft.rows) free -= workRows(row).filter((each) => isAtWork(each.state)).length;
  for (const node of draft.graph.order) {
    const row = draft.byName.get(node.name);
    if (row === undefined || stopOf(draft, row) !== undefined) continue;
    reorder(draft, row);
    if (draft.suspended) continue;
    free -= row.node.spec.forEach === undefined ? startRow(draft, row, free) : startItems(draft, row, free);
  }
}

/**
 * An attempt in Starting that nobody lists yet is ordered again: it may never have been heard (P2). So is one that cannot start:
 * what it lacks may be its host's to give.
 */
function reorder(draft: Draft, row: NodeRow): void {
  for (const each of workRows(row)) {
    if (each.state !== "Starting" || isMarked(each)) continue;
    const [worker] = liveWorkers(draft, each);
    if (worker === undefined || blockedStart(worker, draft.nowMs) !== undefined) order(draft, each);
  }
}

function startItems(draft: Draft, row: NodeRow, free: number): number {
  if (row.itemCount === undefined || isEnded(row.state)) return 0;
  if (row.items.some((item) => item.state === "Failed")) return 0;
  const atWork = row.items.filter((item) => isAtWork(item.state)).length;
  const room = Math.min(free, (row.node.spec.forEach?.maxParallel ?? Number.POSITIVE_INFINITY) - atWork);
  let started = 0;
  let waits = false;
  for (const item of row.items) {
    // A failure that is taken over ends the node: it comes after what waits before it, and none is started behind it.
    const isFailure = originEnd(draft.seen, item)?.finished.outcome === "Failed";
    if (isFailure && waits) return started;
    started += startRow(draft, item, room - started);
    if (isFailure) {
      wakeNow(draft);
      return started;
    }
    waits ||= item.state === "Pending";
  }
  while (started < room && row.items.length < row.itemCount) {
    const item = newItem(row, row.items.length);
    if (startRow(draft, item, room - started) === 0) break;
    row.items.push(item);
    started += 1;
  }
  return started;
}

/** 1 when an attempt was ordered. */
function startRow(draft: Draft, row: Row, free: number): 0 | 1 {
  if (row.state === "Retrying" && row.retryAtMs !== undefined && row.retryAtMs > draft.nowMs) {
    wakeAt(draft, row.retryAtMs);
    return 0;
  }
  const isReady =
    row.state === "Retrying" ||
    (row.state === "Pending" && (row.attempt > 0 || row.reason === queued || row.key.item !== undefined));
  if (!isReady) return 0;
  const end = originEnd(draft.seen, row);
  if (end !== undefined) takeOver(draft, row, end);
  if (end !== undefined || free <= 0) return 0;
  const record = recordOf(draft, row.key);
  if (isBehind(row, record)) {
    const detail = `the store holds ${record?.length ?? 0} entries, ${row.journal?.length ?? 0} were seen`;
    draft.stop ??= { reason: "DurabilityLost", message: `${row.node.name}: ${detail}` };
    apply(row, "lose", draft.nowMs, "DurabilityLost", detail);
    return 0;
  }
  if (outputsOf(draft, row) === undefined) {
    wakeNow(draft);
    return 0;
  }
  beginTry(draft.seen, row);
  // Above every number ever seen, also one that a status which was lost had given out.
  const views = draft.workers.get(itemName(row.key)) ?? [];
  row.attempt = Math.max(row.attempt, record?.attempt ?? 0, ...views.map((view) => view.attempt)) + 1;
  // How the attempt before was lost may be what explains the end of this one.
  apply(row, "start", draft.nowMs, undefined, lossOf(row));
  order(draft, row);
  return 1;
}

function lossOf({ reason, message }: Row): string | undefined {
  if (!tellsLoss(reason)) return undefined;
  return reason === restarting ? message : shorten(`${reason}: ${message ?? ""}`);
}

function order(draft: Draft, row: Row): void {
  if (row.node.spec.approval !== undefined) return orderAnswer(draft, row);
  const outputs = outputsOf(draft, row);
  if (outputs === undefined) return wakeNow(draft);
  draft.decisions.push({
    kind: "StartWorker",
    key: row.key,
    attempt: row.attempt,
    try: row.try,
    phase: row.node.isFinally ? "Finally" : "Main",
    snapshot: draft.seen.snapshot,
    outputs,
    known: knownPosition(draft, row),
    ...(mayLive(draft, row) ? { predecessorMayLive: true } : {}),
    ...answersOf(draft, row),
  });
}

/** Its finish record is what the next pass looks for. */
function orderAnswer(draft: Draft, row: Row): void {
  const { decision, by, proven, decidedAt, ...asked } = answerOf(draft, row) ?? {};
  if (decision === undefined || by === undefined || proven === undefined || decidedAt === undefined) return;
  const approval = { ...asked, decision, by, proven, decidedAt } as Approved;
  draft.decisions.push({ kind: "RecordAnswer", key: row.key, attempt: row.attempt, try: row.try, approval });
  wakeAt(draft, draft.nowMs + answerLookMs);
}

function answersOf(draft: Draft, row: Row): { readonly answers?: Readonly<Record<string, Answer>> } {
  const name = itemName(row.key);
  const found = draft.approvals.flatMap(({ request, node, decision, by, proven, decidedAt }) =>
    node !== name || decision === undefined || by === undefined || proven === undefined || decidedAt === undefined
      ? []
      : [[request, { decision, by, proven, decidedAt }] as const],
  );
  return found.length === 0 ? {} : { answers: Object.fromEntries(found) };
}

/** Whether an earlier attempt has not been seen to end; a host that lists all has. */
function mayLive(draft: Draft, row: Row): boolean {
  if (draft.seen.listsAll || row.attempt === 1) return false;
  const views = (draft.workers.get(itemName(row.key)) ?? []).filter((view) => view.attempt < row.attempt);
  const latest = views.filter((view) => view.attempt === row.attempt - 1);
  return !latest.some((view) => view.state === "Exited") || views.some((view) => isAlive(view, views));
}

function isAlive(view: SeenWorker, views: readonly SeenWorker[]): boolean {
  if (view.state === "Exited") return false;
  return !views.some((other) => other.attempt === view.attempt && other.state === "Exited");
}

/** Undefined = a digest has still to be read. */
function outputsOf(draft: Draft, row: Row): Readonly<Record<string, string>> | undefined {
  const outputs: Record<string, string> = {};
  for (const name of row.node.inputNames) {
    const digest = outputDigest(draft, name);
    if (digest === undefined) return undefined;
    if (digest !== null) outputs[name] = digest;
  }
  return outputs;
}

/** The status holds 16 digits of the head, the record just read has all of them. */
function knownPosition(draft: Draft, row: Row): KnownPosition | undefined {
  const record = recordOf(draft, row.key);
  if (record === undefined || record.length === 0 || isTakenOver(draft.seen, row.key, record)) return undefined;
  return { length: record.length, head: record.head };
}
