/** What the record of the run that a Fork replays says of each node item: read once per run, since it has ended. */
import type { ExecutionStatus } from "../api/status.ts";
import type { Origin } from "../core/planner/types.ts";
import { itemName } from "../core/protocol/names.ts";
import type { NodeKey } from "../core/protocol/types.ts";
import { referenceTo, reusedEnd } from "../core/replay/fork.ts";
import type { Replay } from "../core/replay/types.ts";
import type { Snapshot } from "../core/steps/format.ts";
import type { JournalStore } from "../ports/store.ts";
import type { HostIo } from "./io.ts";

type Origins = ReadonlyMap<string, Origin>;

const runsMax = 64;
/** By host, and in it by snapshot: the least recently made go first. */
const held = new WeakMap<HostIo["snapshots"], Map<string, Origins>>();

/** Throws StoreUnavailable. */
export async function readOrigins(
  store: JournalStore,
  snapshot: Snapshot,
  replay: Replay,
  { startedAt = "" }: ExecutionStatus,
  io: Pick<HostIo, "snapshots">,
): Promise<Origins> {
  const runs = held.get(io.snapshots) ?? new Map<string, Origins>();
  held.set(io.snapshots, runs);
  const found = runs.get(snapshot.uid);
  if (found !== undefined) return found;
  const [uid] = replay.lineage;
  const keys = keysOf(snapshot, replay);
  const { items } = uid === undefined ? { items: [] } : await store.view(uid, keys);
  const origins = new Map<string, Origin>();
  for (const [place, key] of keys.entries()) {
    const record = items[place];
    if (record === undefined || uid === undefined) continue;
    const finished = reusedEnd(snapshot.spec, replay, key, record);
    const end =
      finished === undefined ? undefined : { finished, reuse: referenceTo(uid, record.steps, replay), at: startedAt };
    origins.set(itemName(key), { try: record.try, end });
  }
  runs.set(snapshot.uid, origins);
  const oldest = runs.keys().next().value;
  if (runs.size > runsMax && oldest !== undefined) runs.delete(oldest);
  return origins;
}

/** Every node item that the parent may have begun. */
function keysOf({ spec }: Snapshot, { itemCounts = {} }: Replay): NodeKey[] {
  return [...spec.nodes, ...(spec.finally ?? [])].flatMap(({ name: node, forEach }): NodeKey[] => {
    const count = itemCounts[node];
    if (forEach === undefined) return count === undefined ? [{ node }] : [];
    return Array.from({ length: count ?? 0 }, (_, item) => ({ node, item }));
  });
}
