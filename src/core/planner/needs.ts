/** What has to be read before the next plan: pure functions, so that host and planner agree on what was asked for. */
import type { ExecutionSpec } from "../../api/types.ts";
import type { ExecutionStatus, NodeStatus } from "../../api/status.ts";
import { type GraphNode, specGraph } from "../dag/spec-graph.ts";
import { itemName } from "../protocol/names.ts";
import type { ItemRecord, NodeKey } from "../protocol/types.ts";
import { isAtWork, isEnded } from "./node-machine.ts";
import { begunOf, finishedOf, marks, type NodeRow, type Row, thawRows } from "./rows.ts";

interface Rows {
  readonly spec: ExecutionSpec;
  readonly rows: readonly NodeRow[];
  readonly byName: ReadonlyMap<string, NodeRow>;
}

/**
 * Journal records to view: every attempt that has not ended; the sources of nodes that may run soon; the items whose list
 * is due; and, once all nodes have ended, everything that ever ran (for journalHead and for the check that it is there).
 */
export function itemsOfInterest(spec: ExecutionSpec, status: ExecutionStatus): readonly NodeKey[] {
  const { rows, byName } = rowsOf(spec, status);
  const found = new Map<string, NodeKey>();
  const add = (key: NodeKey) => found.set(itemName(key), key);
  const isClosing = rows.every((row) => isEnded(row.state));
  for (const row of rows) {
    if (isClosing) for (const key of keysOf(row)) add(key);
    if (isEnded(row.state)) continue;
    for (const each of [row, ...row.items]) if (each.attempt > 0 && !isEnded(each.state)) add(each.key);
    if (row.items.length === row.itemCount && row.items.every(({ attempt }) => attempt > 0))
      for (const item of row.items) add(item.key);
    if (!mayRunSoon(row, byName)) continue;
    for (const name of [...row.node.conditionNames, ...row.node.inputNames]) {
      if (byName.get(name)?.node.spec.forEach === undefined && (byName.get(name)?.attempt ?? 0) > 0)
        add({ node: name });
    }
  }
  return [...found.values()];
}

/** Rows at work whose worker fell silent: what it was doing decides what becomes of them. */
export function silentItems(spec: ExecutionSpec, status: ExecutionStatus): readonly NodeKey[] {
  const { rows } = rowsOf(spec, status);
  const silent = (row: Row) => isAtWork(row.state) && row.reason === marks.silent;
  return rows.flatMap((row) => [row, ...row.items].filter(silent).map((each) => each.key));
}

/** Hex digests of the output bodies to load: only what a `when`, an `items`, an approval's message, a forEach list or the result is made of. */
export function outputsNeeded(
  spec: ExecutionSpec,
  status: ExecutionStatus,
  recordOf: (key: NodeKey) => ItemRecord | undefined,
): readonly string[] {
  const { rows, byName } = rowsOf(spec, status);
  const found = new Set<string>();
  const add = (row: NodeRow | Row | undefined) => {
    const digest = row && digestOf(row, recordOf);
    if (typeof digest === "string") found.add(digest);
  };
  const hasEnded = (row: Row) => isEnded(row.state) || finishedOf(row, recordOf(row.key)) !== undefined;
  if (rows.every((row) => isEnded(row.state))) {
    const hasFailed = rows.some((row) => !row.node.isFinally && row.state !== "Succeeded" && row.state !== "Skipped");
    if (!hasFailed) for (const name of specGraph(spec).leaves) add(byName.get(name));
    return [...found];
  }
  for (const row of rows) {
    if (row.itemCount !== undefined && !isEnded(row.state)) {
      if (row.items.length === row.itemCount && row.items.every(hasEnded)) for (const item of row.items) add(item);
      continue;
    }
    if (row.state !== "Pending" || row.attempt > 0 || !sourcesEnded(row.node, byName, hasEnded)) continue;
    const { conditionNames, itemNames, approvalNames } = row.node;
    for (const name of [...conditionNames, ...itemNames, ...approvalNames]) add(byName.get(name));
  }
  return [...found];
}

/** All items a node can have a journal for. */
export function keysOf(row: Pick<NodeRow, "node" | "itemCount" | "attempt">): readonly NodeKey[] {
  const node = row.node.name;
  if (row.node.spec.forEach === undefined) return row.attempt > 0 ? [{ node }] : [];
  return Array.from({ length: row.itemCount ?? 0 }, (_, item) => ({ node, item }));
}

/** The same of rows as a status has them, of a run that has ended. */
export function keysOfRows(rows: readonly NodeStatus[]): readonly NodeKey[] {
  const hasBegun = begunOf(rows);
  return rows.flatMap((row): NodeKey[] => {
    const { name: node, itemCount } = row;
    if (itemCount === undefined) return hasBegun(row) ? [{ node }] : [];
    return Array.from({ length: itemCount }, (_, item) => ({ node, item }));
  });
}

const thawed = new WeakMap<ExecutionStatus, Rows>();

/** Kept with the status: host and planner ask about the same one. Nothing here changes a row. */
function rowsOf(spec: ExecutionSpec, status: ExecutionStatus): Rows {
  const held = thawed.get(status);
  if (held !== undefined && held.spec === spec) return held;
  const rows = thawRows(specGraph(spec), status);
  const made = { spec, rows, byName: new Map(rows.map((row) => [row.node.name, row])) };
  thawed.set(status, made);
  return made;
}

/** Its dependencies have ended or are at work, so they may end in the coming pass. */
function mayRunSoon(row: NodeRow, byName: ReadonlyMap<string, NodeRow>): boolean {
  return row.node.dependencies.every((name) => {
    const source = byName.get(name);
    return source !== undefined && (isEnded(source.state) || source.attempt > 0 || source.itemCount !== undefined);
  });
}

function sourcesEnded(node: GraphNode, byName: ReadonlyMap<string, NodeRow>, hasEnded: (row: Row) => boolean): boolean {
  return node.dependencies.every((name) => {
    const source = byName.get(name);
    return source !== undefined && hasEnded(source);
  });
}

function digestOf(row: NodeRow | Row, recordOf: (key: NodeKey) => ItemRecord | undefined): string | null | undefined {
  if ("output" in row && row.output !== undefined) return row.output;
  return finishedOf(row, recordOf(row.key))?.output;
}
