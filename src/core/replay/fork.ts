/** Which part of a parent's record a Fork reuses: pure, and the same on every host and in every worker. */
import type { ExecutionSpec } from "../../api/types.ts";
import { descendants } from "../dag/dag.ts";
import { specGraph } from "../dag/spec-graph.ts";
import { finishedOf } from "../planner/rows.ts";
import type { ItemRecord, NodeKey } from "../protocol/types.ts";
import type { Finished, Reuse } from "../steps/format.ts";
import type { RecordedCall } from "./reused-steps.ts";
import type { Replay } from "./types.ts";

/** Whether all of a node item's work is done anew, because it depends on the cursor's. Without a cursor everything is. */
export function isDependent(spec: ExecutionSpec, { cursor }: Replay, { node }: NodeKey): boolean {
  if (cursor === undefined) return true;
  return node !== cursor.node && dependentsOf(spec, cursor.node).has(node);
}

/** Whether a node item is the one that the cursor stands in. */
export function isAtCursor({ cursor }: Replay, { node, item }: NodeKey): boolean {
  return cursor !== undefined && cursor.node === node && cursor.item === item;
}

/** The parent's end of a node item that is not run again; undefined = it is run. */
export function reusedEnd(
  spec: ExecutionSpec,
  replay: Replay,
  key: NodeKey,
  record: ItemRecord | undefined,
): Finished | undefined {
  if (record === undefined || isDependent(spec, replay, key) || isAtCursor(replay, key)) return undefined;
  const finished = finishedOf(record, record);
  // What a policy ended is for the policies of now to judge.
  return finished?.error?.class === "PolicyViolation" ? undefined : finished;
}

/**
 * How many of a node item's recorded steps, in canonical order, are answered from the record when it is run: those before the
 * cursor, or all there are where the parent did not come to its end. A call that was cut or refused was never answered.
 */
export function prefixLength(
  spec: ExecutionSpec,
  replay: Replay,
  key: NodeKey,
  steps: readonly RecordedCall[],
): number {
  if (isDependent(spec, replay, key)) return 0;
  const unanswered = steps.findIndex(({ entry }) => entry.outcome === "Cut" || entry.outcome === "Refused");
  const answered = unanswered === -1 ? steps.length : unanswered;
  return isAtCursor(replay, key) ? Math.min(answered, replay.cursor?.before ?? 0) : answered;
}

/** What an entry says of the first `steps` steps that it reuses of run `uid`. */
export function referenceTo(uid: string, steps: number, { isPatched }: Replay): Reuse {
  return { uid, steps, ...(isPatched ? { byPosition: true } : {}) };
}

/** How many items a forEach node of the parent had; 0 = it was never expanded, or is none. */
export function itemCount(replay: Pick<Replay, "itemCounts"> | undefined, node: string): number {
  const { itemCounts = {} } = replay ?? {};
  return Object.hasOwn(itemCounts, node) ? (itemCounts[node] ?? 0) : 0;
}

const known = new WeakMap<ExecutionSpec, Map<string, ReadonlySet<string>>>();

/** Nodes of finally come after all others. */
function dependentsOf(spec: ExecutionSpec, node: string): ReadonlySet<string> {
  const held = known.get(spec) ?? new Map<string, ReadonlySet<string>>();
  known.set(spec, held);
  const found = held.get(node);
  if (found !== undefined) return found;
  const { nodes, byName } = specGraph(spec);
  const main = nodes.filter(({ isFinally }) => !isFinally).map(({ name }) => name);
  const edges = new Map(
    nodes.map(({ name, dependencies, isFinally }) => [name, isFinally ? [...main, ...dependencies] : dependencies]),
  );
  const after = byName.has(node) ? descendants(edges, node) : new Set<string>();
  held.set(node, after);
  return after;
}
