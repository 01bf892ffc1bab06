/** The work sheet of one call of plan(): what was seen, indexed, and what has been decided so far. */
import type { ApprovalStatus } from "../../api/status.ts";
import { byCodeUnit, type SpecGraph, specGraph } from "../dag/spec-graph.ts";
import { itemName } from "../protocol/names.ts";
import type { ItemRecord, NodeKey, StoredBody } from "../protocol/types.ts";
import { isEnded } from "./node-machine.ts";
import { isTakenOver } from "./origin.ts";
import { apply, finishedOf, type NodeRow, type Row, thawRows } from "./rows.ts";
import { lossSeenAtMs } from "./store-life.ts";
import type { Decision, Loss, Seen, SeenItem, SeenWorker } from "./types.ts";

export const stopReasons = [
  "PolicyViolation",
  "DeadlineExceeded",
  "Cancelled",
  "DurabilityLost",
  "RecordChanged",
] as const;

/** Why a run is ended before its nodes are. The first one stands. */
export interface Stop {
  readonly reason: (typeof stopReasons)[number];
  readonly message: string;
}

export interface Draft {
  readonly seen: Seen;
  readonly nowMs: number;
  readonly graph: SpecGraph;
  /** In the spec's order. */
  readonly rows: readonly NodeRow[];
  readonly byName: ReadonlyMap<string, NodeRow>;
  /** By itemName. */
  readonly items: ReadonlyMap<string, SeenItem>;
  readonly workers: ReadonlyMap<string, readonly SeenWorker[]>;
  /** Hex digests of the bodies that were asked for. */
  readonly asked: ReadonlySet<string>;
  readonly decisions: Decision[];
  readonly bodies: StoredBody[];
  readonly losses: Loss[];
  /** What Audit policies would have stopped: each message once, the first few. */
  readonly audited: Set<string>;
  /** Questions, oldest first. */
  readonly approvals: ApprovalStatus[];
  readonly cancelRequested: boolean;
  readonly suspended: boolean;
  /** When a restart of the store was seen that may have forgotten acknowledged steps. */
  readonly lossAtMs: number | undefined;
  /** Ends the main nodes. */
  stop: Stop | undefined;
  /** Ends the finally nodes too. */
  finallyStop: Stop | undefined;
  wakeAtMs: number | undefined;
  /** Nodes and items so far; an expanded forEach node counts as its items. */
  size: number;
}

export function draftOf(
  seen: Seen,
  nowMs: number,
  asked: ReadonlySet<string>,
  items: ReadonlyMap<string, SeenItem>,
): Draft {
  const graph = specGraph(seen.spec);
  const rows = thawRows(graph, seen.status);
  const workers = new Map<string, SeenWorker[]>();
  for (const worker of seen.workers) {
    const name = itemName(worker);
    const views = workers.get(name);
    if (views === undefined) workers.set(name, [worker]);
    else views.push(worker);
  }
  for (const views of workers.values()) if (views.length > 1) views.sort(byView);
  const cancelRequested = seen.status.cancelRequested === true || seen.run.desiredState === "Cancelled";
  return {
    seen,
    nowMs,
    graph,
    rows,
    byName: new Map(rows.map((row) => [row.node.name, row])),
    items,
    workers,
    asked,
    decisions: [],
    bodies: [],
    losses: [],
    audited: new Set(seen.status.auditFindings),
    approvals: [...(seen.status.approvals ?? [])],
    cancelRequested,
    suspended: seen.run.desiredState === "Suspended" && !cancelRequested,
    lossAtMs: lossSeenAtMs(seen, nowMs),
    stop: undefined,
    finallyStop: undefined,
    wakeAtMs: undefined,
    size: rows.reduce((sum, row) => sum + (row.itemCount ?? 1), 0),
  };
}

/** Doubled views count in one order, whatever order they arrived in (P1). */
function byView(a: SeenWorker, b: SeenWorker): number {
  const text = (view: SeenWorker) => [view.state, view.exit ?? "", view.failure ?? "", view.detail ?? ""].join(" ");
  return a.attempt - b.attempt || byCodeUnit(text(a), text(b));
}

export function recordOf(draft: Draft, key: NodeKey): ItemRecord | undefined {
  return draft.items.get(itemName(key))?.record;
}

/** What was read of a row's item; undefined = it was of no interest. */
export function seenItem(draft: Draft, row: Row): SeenItem | undefined {
  return draft.items.get(itemName(row.key));
}

export function wakeAt(draft: Draft, atMs: number): void {
  draft.wakeAtMs = Math.min(draft.wakeAtMs ?? atMs, atMs);
}

/** More has to be read, or an effect of this pass has to be seen, before the run can go on. */
export function wakeNow(draft: Draft): void {
  wakeAt(draft, draft.nowMs);
}

export function isAllEnded(draft: Draft): boolean {
  return draft.rows.every((row) => isEnded(row.state));
}

export function isMainEnded(draft: Draft): boolean {
  return draft.rows.every((row) => row.node.isFinally || isEnded(row.state));
}

/** After Cancelled only tool nodes that ask for it run; everything else a run has to tidy up is done by them. */
export function runsOnCancel(row: Row): boolean {
  return row.node.spec.tool !== undefined && row.node.spec.runOnCancel === true;
}

/** Why this row must end now, if it must. */
export function stopOf(draft: Draft, row: Row): Stop | undefined {
  if (!row.node.isFinally) return draft.stop;
  if (draft.finallyStop !== undefined) return draft.finallyStop;
  if (!draft.cancelRequested || runsOnCancel(row)) return undefined;
  return { reason: "Cancelled", message: "the run was cancelled" };
}

/** Asks every live worker of a row to end. A repeat is harmless (P2). */
export function stopWorkers(draft: Draft, row: Row): void {
  for (const worker of liveWorkers(draft, row)) draft.decisions.push({ kind: "StopWorker", worker });
}

/** Ends every live worker of a row without asking it. A repeat is harmless (P2). */
export function killWorkers(draft: Draft, row: Row): void {
  for (const worker of liveWorkers(draft, row)) draft.decisions.push({ kind: "StopWorker", worker, force: true });
}

/** Views of the current attempt that have not ended; an Exited view is final, whatever an older view says. */
export function liveWorkers(draft: Draft, row: Row): readonly SeenWorker[] {
  const views = (draft.workers.get(itemName(row.key)) ?? []).filter((view) => view.attempt === row.attempt);
  return views.some((view) => view.state === "Exited") ? [] : views.slice(0, 1);
}

/**
 * Whether the last attempt of a row is fenced and charged, so that the row may end without a finish record.
 * Asks for the release if it is not: the row stays until the journal shows it, so a crash in between forgets nothing.
 */
export function isReleased(draft: Draft, row: Row): boolean {
  if (row.attempt === 0 || draft.seen.execution === undefined) return true;
  if (isTakenOver(draft.seen, row.key, row)) return true;
  const record = recordOf(draft, row.key);
  if (record !== undefined && record.attempt >= row.attempt && record.claimId === "") return true;
  const attempt = Math.max(row.attempt, record?.attempt ?? 0);
  draft.decisions.push({ kind: "ReleaseAttempt", key: row.key, attempt });
  wakeNow(draft);
  return false;
}

/** Why an output that was asked for is not there, as the end of "the output of … ": gone, or not what was recorded. */
export function absence(
  { seen }: Draft,
  digest: string,
): { readonly reason: "DurabilityLost" | "RecordChanged"; readonly is: string } {
  if (seen.changedOutputs?.has(digest) !== true) return { reason: "DurabilityLost", is: "is gone" };
  return {
    reason: "RecordChanged",
    is: `was changed after it was recorded: body sha256:${digest}, or a text of it, does not have its digest`,
  };
}

/** Ends a row that cannot go on without an output, `whose` it is: with its run where it is gone, alone where it was changed, as its own worker would. */
export function endWithout(draft: Draft, row: NodeRow, digest: string, whose: string): void {
  const { reason, is } = absence(draft, digest);
  const message = `the output of ${whose} ${is}`;
  if (reason === "RecordChanged") return apply(row, "fail", draft.nowMs, reason, message);
  draft.stop ??= { reason, message };
  apply(row, "lose", draft.nowMs, reason);
}

/** Hex digest of a node's output: null = it has none (not succeeded, or nothing given), undefined = not read yet. */
export function outputDigest(draft: Pick<Draft, "byName" | "items">, name: string): string | null | undefined {
  const row = draft.byName.get(name);
  if (row === undefined || row.state !== "Succeeded") return null;
  if (row.node.spec.forEach !== undefined) return row.output ?? null;
  const finished = finishedOf(row, draft.items.get(name)?.record);
  return finished?.outcome === "Succeeded" ? finished.output : undefined;
}
