/** A replay reads the journals of other runs by reference: what it needs stays for as long as it does. */
import { specGraph } from "../core/dag/spec-graph.ts";
import type { NodeKey } from "../core/protocol/types.ts";
import { itemCount } from "../core/replay/fork.ts";
import { plannedSpec } from "../core/replay/strict.ts";
import type { JournalStore } from "../ports/store.ts";
import { StoreUnavailable } from "../ports/store-errors.ts";
import { SnapshotCache } from "./io.ts";
import { loadSnapshot } from "./snapshots.ts";

/** While it runs it is not known for how long: a week, and its own retention after that. */
export const runningSeconds = 7 * 86_400;
/** Items of a list that a run expanded itself are looked for this many at a time; they start in order, so none comes after a gap of this size. */
const itemsPage = 128;

/** For `seconds` from now. Repeat: never shortens. Throws StoreUnavailable. */
export async function keepLineage(store: JournalStore, lineage: readonly string[], seconds: number): Promise<void> {
  const held = new SnapshotCache();
  for (const uid of lineage) await store.keep(uid, await itemsOf(store, uid, held), seconds);
}

/** Everything that has a journal in a run, told from its own record alone: its object may be gone. */
async function itemsOf(store: JournalStore, uid: string, held: SnapshotCache): Promise<readonly NodeKey[]> {
  const digest = (await store.view(uid, [])).execution?.snapshot;
  // What a worker may have written there keeps nothing but that run from being kept.
  const snapshot = digest === undefined ? undefined : await loadSnapshot(store, [uid], digest, held).catch(unlessLost);
  if (snapshot === undefined) return [];
  const found: NodeKey[] = [];
  for (const { name: node, spec } of specGraph(plannedSpec(snapshot)).nodes) {
    if (spec.forEach === undefined) found.push({ node });
    else found.push(...(await startedItems(store, uid, node, itemCount(snapshot.replay, node))));
  }
  return found;
}

function unlessLost(error: unknown): undefined {
  if (error instanceof StoreUnavailable) throw error;
}

/** A fork has records of some of the first `known` ones alone: the others are taken over. */
async function startedItems(
  store: JournalStore,
  uid: string,
  node: string,
  known: number,
): Promise<readonly NodeKey[]> {
  const found: NodeKey[] = Array.from({ length: known }, (_, item) => ({ node, item }));
  for (let from = known; ; from += itemsPage) {
    const page = Array.from({ length: itemsPage }, (_, place) => ({ node, item: from + place }));
    const { items } = await store.view(uid, page);
    const last = items.findLastIndex((item) => item !== undefined);
    found.push(...page.slice(0, last + 1));
    if (last < 0) return found;
  }
}
