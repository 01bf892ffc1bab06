/** What the journal store holds for an attempt: its snapshot, and what earlier attempts recorded. Each is checked as it is read. */
import { OaoError } from "../core/errors/errors.ts";
import { itemName } from "../core/protocol/names.ts";
import type { StoredEntry } from "../core/protocol/types.ts";
import type { Snapshot } from "../core/steps/format.ts";
import { foldHistory } from "../core/steps/history.ts";
import { entriesOf } from "../core/trace/journal.ts";
import { entryPages } from "../host/record-store.ts";
import { checkChain } from "../host/record-changed.ts";
import { loadSnapshot } from "../host/snapshots.ts";
import type { WorkerOrder } from "../ports/cluster.ts";
import type { JournalStore } from "../ports/store.ts";

/** G2: the snapshot is named by digest; any other is refused. Throws RecordChanged, OAO_DURABILITY_LOST, StoreUnavailable. */
export async function readSnapshot(order: WorkerOrder, store: JournalStore): Promise<Snapshot> {
  const snapshot = await loadSnapshot(store, [order.uid], order.snapshot);
  if (snapshot !== undefined) return snapshot;
  throw new OaoError("OAO_DURABILITY_LOST", `the journal store does not have snapshot ${order.snapshot}`);
}

export async function readHistory(order: WorkerOrder, store: JournalStore, length: number) {
  const stored: StoredEntry[] = [];
  if (length > 0) for await (const page of entryPages(store, order.uid, order)) stored.push(...page);
  // What came after the claim is nothing to go on from.
  stored.length = Math.min(stored.length, length);
  // The status has seen this entry: a store that holds another in its place was rolled back and has gone another way.
  if (
    order.known !== undefined &&
    order.known.length > 0 &&
    stored[order.known.length - 1]?.hash.startsWith(order.known.head) !== true
  )
    throw new OaoError(
      "OAO_DURABILITY_LOST",
      `entry ${order.known.length - 1} of ${itemName(order)} is not the one that the status has seen`,
    );
  if (stored.length < length)
    throw new OaoError(
      "OAO_DURABILITY_LOST",
      `the journal of ${itemName(order)} ends at entry ${stored.length} of ${length}`,
    );
  checkChain(order.uid, { ...order, entries: stored });
  const entries = entriesOf(stored);
  const outputs = entries.flatMap((entry) =>
    entry.type === "step" && entry.try === order.try && entry.output !== null ? [entry.output.body] : [],
  );
  return { history: foldHistory(entries, order.try), outputs };
}
