/** What the record of the run that a Fork replays says of each node item: read once per run, since it has ended. */
import type { Origin } from "../core/planner/types.ts";
import { keysOfRows } from "../core/planner/needs.ts";
import { finishedOf } from "../core/planner/rows.ts";
import { itemName } from "../core/protocol/names.ts";
import type { ItemRecord, NodeKey } from "../core/protocol/types.ts";
import { itemCount } from "../core/replay/fork.ts";
import type { Replay } from "../core/replay/types.ts";
import type { Snapshot } from "../core/steps/format.ts";
import { stepsOf } from "../core/trace/journal.ts";
import type { HostIo } from "./io.ts";
import { type Lineage, readItem } from "./lineage.ts";

type Origins = ReadonlyMap<string, Origin>;

const runsMax = 64;
/** By host, and in it by run: the least recently made go first. */
const held = new WeakMap<HostIo["snapshots"], Map<string, Origins>>();

/** Throws StoreUnavailable. */
export async function readOrigins(
  lineage: Lineage,
  snapshot: Snapshot,
  replay: Replay,
  io: Pick<HostIo, "snapshots">,
): Promise<Origins> {
  const runs = held.get(io.snapshots) ?? new Map<string, Origins>();
  held.set(io.snapshots, runs);
  const found = runs.get(snapshot.uid);
  if (found !== undefined) return found;
  const [uid] = replay.lineage;
  const keys = keysOf(snapshot, replay);
  const { items } = uid === undefined ? { items: [] } : await lineage.view(uid, keys);
  // A fork of the first hosts stored what it took over: what it has not is run, on recorded answers.
  const taken = await lineage.takenOver(snapshot.uid, keys);
  const origins = new Map<string, Origin>();
  for (const [place, key] of keys.entries()) {
    const record = items[place];
    if (record === undefined || uid === undefined) continue;
    const last = await lastTry(lineage, uid, key, record);
    const own = taken.get(itemName(key))?.record;
    const finished = own && finishedOf(own, own);
    origins.set(itemName(key), { try: last.try, end: finished && { finished, steps: last.steps } });
  }
  runs.set(snapshot.uid, origins);
  const oldest = runs.keys().next().value;
  if (runs.size > runsMax && oldest !== undefined) runs.delete(oldest);
  return origins;
}

/** The last try of a node item that left anything, and how many numbered steps it has: a try that was only claimed is none. */
export async function lastTry(
  lineage: Lineage,
  uid: string,
  key: NodeKey,
  record: ItemRecord,
): Promise<Pick<ItemRecord, "try" | "steps">> {
  // Released before it was ever claimed.
  if (record.length === 0) return { try: 1, steps: 0 };
  if (record.finished !== undefined || record.steps > 0) return record;
  const steps = stepsOf(await readItem(lineage, uid, key));
  return { try: steps[0]?.entry.try ?? record.try, steps: steps.length };
}

/**
 * Every chain that a replay may read, once and before anything is made of it: what was edited answers nothing. Bodies are looked at
 * when they are read. One item is held at a time. Throws RecordChanged, StoreUnavailable.
 */
export async function checkParent(lineage: Lineage, snapshot: Pick<Snapshot, "spec">, replay: Replay): Promise<void> {
  const [uid] = replay.lineage;
  if (uid === undefined) return;
  const keys = replay.mode === "Strict" ? keysOfRows(replay.end?.nodes ?? []) : keysOf(snapshot, replay);
  for (const key of keys) await readItem(lineage, uid, key);
}

/** Every node item that the parent may have begun. */
function keysOf({ spec }: Pick<Snapshot, "spec">, replay: Replay): NodeKey[] {
  return [...spec.nodes, ...(spec.finally ?? [])].flatMap(({ name: node, forEach }): NodeKey[] => {
    if (forEach === undefined) return Object.hasOwn(replay.itemCounts ?? {}, node) ? [] : [{ node }];
    return Array.from({ length: itemCount(replay, node) }, (_, item) => ({ node, item }));
  });
}
