/** Reading what runs have recorded, a replay's by reference: the one place where journals of several runs are put together. */
import type { NodeKey, StoredEntry } from "../core/protocol/types.ts";
import { type ItemJournal, reuseOf } from "../core/trace/journal.ts";
import type { JournalStore } from "../ports/store.ts";

const entriesPage = 512;

/** One node item's journal, with the journals it reuses steps of. Without entries when it was never claimed. Throws StoreUnavailable. */
export async function readItem(store: JournalStore, uid: string, key: NodeKey): Promise<ItemJournal> {
  const own = await readEntries(store, uid, key);
  return linked(store, uid, key, own);
}

/** The journal of `entries`, which were read before, with those it reuses steps of. */
export async function linked(
  store: JournalStore,
  uid: string,
  { node, item }: NodeKey,
  entries: readonly StoredEntry[],
): Promise<ItemJournal> {
  const key = item === undefined ? { node } : { node, item };
  const reuse = reuseOf(entries);
  const origin = reuse === undefined ? undefined : await readItem(store, reuse.uid, key);
  return { ...key, uid, entries, origin };
}

async function readEntries(store: JournalStore, uid: string, key: NodeKey): Promise<StoredEntry[]> {
  const entries: StoredEntry[] = [];
  for (;;) {
    const page = await store.entries(uid, key, entries.length, entriesPage);
    entries.push(...page);
    if (page.length < entriesPage) return entries;
  }
}

/** Bodies of the first run that has each; a missing one is absent from the map. Throws StoreUnavailable. */
export async function bodiesOfRuns(
  store: JournalStore,
  uids: readonly string[],
  digests: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  let wanted = [...new Set(digests)];
  for (const uid of uids) {
    if (wanted.length === 0) break;
    for (const [digest, bytes] of await store.bodies(uid, wanted)) found.set(digest, bytes);
    wanted = wanted.filter((digest) => !found.has(digest));
  }
  return found;
}
