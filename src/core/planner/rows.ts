/** Status rows as the planner works on them: times as numbers, absent figures as their defaults. */
import {
  type ExecutionStatus,
  type ItemStatus,
  type NodeState,
  type NodeStatus,
  statusLimits,
} from "../../api/status.ts";
import type { WorkerFailure } from "../../api/exit-codes.ts";
import type { GraphNode, SpecGraph } from "../dag/spec-graph.ts";
import type { ItemRecord, NodeKey } from "../protocol/types.ts";
import type { Finished } from "../steps/format.ts";
import { isAtWork, isEnded, move, type NodeEvent } from "./node-machine.ts";
import { parseTime } from "./time.ts";

/** Mutable, but it never leaves one call of plan(). */
export interface Row {
  readonly key: NodeKey;
  readonly node: GraphNode;
  state: NodeState;
  attempt: number;
  try: number;
  restarts: number;
  steps: number | undefined;
  /** Of a row at work: why it is being ended (a mark). Of any other: why it is where it is. */
  reason: string | undefined;
  message: string | undefined;
  journal: { readonly length: number; readonly head: string } | undefined;
  retryAtMs: number | undefined;
  startedAtMs: number | undefined;
  completedAtMs: number | undefined;
}

export interface NodeRow extends Row {
  itemCount: number | undefined;
  /** Of a forEach node that ended otherwise: items that succeeded. */
  itemsDone: number | undefined;
  /** Started items by index, without gaps: items start in order. */
  items: Row[];
  /** Hex. */
  output: string | undefined;
}

/** Marks on rows at work; they outlive a restart of the host because they are in the status. */
export const marks = {
  timeout: "Timeout",
  /** Lost once too often, by the fault of what it runs on, or by what itself did. */
  lost: "InfrastructureLost",
  poisoned: "Poisoned",
  suspending: "Suspending",
  /** Its lease is over though it is listed; `retryAtMs` says when it is given up. */
  silent: "Silent",
} as const;
const markNames: readonly string[] = Object.values(marks);
/** Of a row in Retrying after a loss that its host cannot name. */
export const restarting = "Restarting";
/** Of a row in Retrying after a loss; of a row in Starting that cannot start as yet. */
const failures: Readonly<Record<WorkerFailure, true>> = {
  OOMKilled: true,
  Evicted: true,
  ImagePullFailed: true,
  Unschedulable: true,
  BadConfig: true,
  PodRefused: true,
  StartDelayed: true,
  DeadlineExceeded: true,
  NodeLost: true,
  Crashed: true,
};

/** Whether a row at work is being ended. */
export function isMarked(row: Pick<Row, "reason">): boolean {
  return row.reason !== undefined && markNames.includes(row.reason);
}

/** Whether `reason` tells of a loss, so that `message` tells how. */
export function tellsLoss(reason: string | undefined): boolean {
  return reason === restarting || Object.hasOwn(failures, reason ?? "");
}
/** Of a Pending row whose condition holds and which waits for a free slot. */
export const queued = "Queued";

/** P4: beyond this many nodes and items rows leave out times, and an attempt that their state implies. */
export function isLarge(rows: readonly { readonly itemCount?: number | undefined }[]): boolean {
  return rows.reduce((sum, row) => sum + 1 + (row.itemCount ?? 0), 0) > statusLimits.timedRows;
}

/** What an absent `attempt` stands for in a large run. */
export function impliedAttempt(row: Pick<Row, "key" | "node" | "state">): number {
  return row.node.spec.forEach !== undefined && row.key.item === undefined ? 0 : impliedBy(row.state);
}

function impliedBy(state: NodeState): number {
  return isAtWork(state) || state === "Succeeded" || state === "Failed" ? 1 : 0;
}

/** Whether each of `rows`, as a status has them, was ever begun. */
export function begunOf(rows: readonly NodeStatus[]): (row: NodeStatus) => boolean {
  const large = isLarge(rows);
  return ({ attempt, state }) => (attempt ?? (large ? impliedBy(state) : 0)) > 0;
}

export function thawRows(graph: SpecGraph, status: ExecutionStatus): NodeRow[] {
  const byName = new Map(status.nodes.map((row) => [row.name, row]));
  const large = isLarge(status.nodes);
  return graph.nodes.map((node) => {
    const stored: NodeStatus = byName.get(node.name) ?? { name: node.name, state: "Pending" };
    const items = [...(stored.items ?? [])].sort((a, b) => a.index - b.index);
    return {
      ...thaw({ node: node.name }, node, stored, large),
      itemCount: stored.itemCount,
      itemsDone: stored.itemsDone,
      items: items.map((item) => thaw({ node: node.name, item: item.index }, node, item, large)),
      output: stored.output?.replace(/^sha256:/, ""),
    };
  });
}

export function newItem(parent: NodeRow, index: number): Row {
  return thaw({ node: parent.node.name, item: index }, parent.node, { index, state: "Pending" }, false);
}

/** The rows that stand for workers: the node itself, or the items of a forEach node. */
export function workRows(row: NodeRow): readonly Row[] {
  return row.node.spec.forEach === undefined ? [row] : row.items;
}

/** Ends or moves a row; `reason` and `message` replace what was there. */
export function apply(row: Row, event: NodeEvent, nowMs: number, reason?: string, message?: string): void {
  row.state = move(row.state, event);
  row.reason = reason;
  row.message = message;
  if (event !== "wait") row.retryAtMs = undefined;
  if (event === "start") row.startedAtMs = nowMs;
  if (isEnded(row.state)) {
    row.completedAtMs = nowMs;
    row.journal = undefined;
  }
}

/** Written by a worker, which runs tenants' code: looked at before it is believed, and bounded. */
function auditedOf({ audited }: Partial<Finished>): Pick<Finished, "audited"> {
  if (!Array.isArray(audited)) return {};
  const messages = audited.filter((each): each is string => typeof each === "string");
  return { audited: messages.slice(0, statusLimits.auditFindings).map(textOf) };
}

/** As canonical JSON can carry it. */
function textOf(value: unknown): string {
  return String(value).toWellFormed();
}

/** What finish wrote for this row's try. It comes from a worker: anything unreadable is a failure, never an exception. */
export function finishedOf(row: Pick<Row, "try">, record: ItemRecord | undefined): Finished | undefined {
  if (record?.finished === undefined || record.try !== row.try) return undefined;
  try {
    const value = JSON.parse(record.finished) as Partial<Finished> | null;
    if (value?.outcome === "Succeeded" && (value.output === null || typeof value.output === "string")) {
      return {
        outcome: "Succeeded",
        output: value.output?.toWellFormed() ?? null,
        error: null,
        ...auditedOf(value),
      };
    }
    if (value?.outcome === "Failed") {
      const error = { class: textOf(value.error?.class ?? "Unknown"), message: textOf(value.error?.message ?? "") };
      return {
        outcome: "Failed",
        output: null,
        error,
        ...(value.final === true ? { final: true } : {}),
        ...auditedOf(value),
      };
    }
  } catch {
    // Told below: the text is not JSON.
  }
  const message = "the worker's finish record cannot be read";
  return { outcome: "Failed", output: null, error: { class: "ProtocolError", message }, final: true };
}

/** Whether the store knows less than the status has seen. */
export function isBehind(row: Row, record: ItemRecord | undefined): boolean {
  if (row.journal === undefined) return false;
  const { length, head } = row.journal;
  if (record === undefined || record.length < length) return true;
  return record.length === length && !record.head.startsWith(head);
}

function thaw(key: NodeKey, node: GraphNode, stored: NodeStatus | ItemStatus, large: boolean): Row {
  const position = /^(\d+):([0-9a-f]*)$/.exec(stored.journal ?? "");
  return {
    key,
    node,
    state: stored.state,
    attempt: stored.attempt ?? (large ? impliedAttempt({ key, node, state: stored.state }) : 0),
    try: stored.try ?? 1,
    restarts: stored.restarts ?? 0,
    steps: stored.steps,
    reason: stored.reason,
    message: stored.message,
    journal: position === null ? undefined : { length: Number(position[1]), head: position[2] ?? "" },
    retryAtMs: parseTime(stored.retryAt),
    startedAtMs: parseTime(stored.startedAt),
    completedAtMs: parseTime(stored.completedAt),
  };
}

/** As a status holds it at most before it is cut for display. */
export function shorten(text: string): string {
  return text.length <= 512 ? text : `${text.slice(0, 511)}…`.toWellFormed();
}
