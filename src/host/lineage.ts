/** Reading what runs have recorded, a replay's by reference: the one place where journals of several runs are put together. */
import type { NodeKey, StoredEntry } from "../core/protocol/types.ts";
import { type ItemJournal, reuseOf } from "../core/trace/journal.ts";
import type { JournalStore } from "../ports/store.ts";
import { checkChain, journalChanged } from "./record-changed.ts";

const entriesPage = 512;

/** Where records are read from: a journal store, or what tells of one. */
export type RecordStore = Pick<JournalStore, "entries" | "bodies">;

/**
 * One node item's journal, with the journals it reuses steps of, to be replayed. Without entries when it was never claimed.
 * Throws StoreUnavailable, RecordChanged.
 */
export async function readItem(store: RecordStore, uid: string, key: NodeKey): Promise<ItemJournal> {
  const entries = await readEntries(store, uid, key);
  checkChain(uid, { ...key, entries });
  return linked(store, uid, key, entries, readItem);
}

/** As it is stored: whoever shows or exports it checks it as a whole. */
async function storedItem(store: RecordStore, uid: string, key: NodeKey): Promise<ItemJournal> {
  return linked(store, uid, key, await readEntries(store, uid, key));
}

/** The journal of `entries`, which were read before, with those it reuses steps of. */
export async function linked(
  store: RecordStore,
  uid: string,
  { node, item }: NodeKey,
  entries: readonly StoredEntry[],
  readOrigin = storedItem,
): Promise<ItemJournal> {
  const key = item === undefined ? { node } : { node, item };
  const reuse = reuseOf(entries);
  const origin = reuse === undefined ? undefined : await readOrigin(store, reuse.uid, key);
  return { ...key, uid, entries, origin };
}

async function readEntries(store: RecordStore, uid: string, key: NodeKey): Promise<StoredEntry[]> {
  const entries: StoredEntry[] = [];
  for await (const page of entryPages(store, uid, key)) entries.push(...page);
  return entries;
}

/** Entries from index `first` on, in order. Throws RecordChanged, StoreUnavailable. */
export async function* entryPages(
  store: RecordStore,
  uid: string,
  key: NodeKey,
  first = 0,
): AsyncGenerator<readonly StoredEntry[], void> {
  for (let from = first; ; from += entriesPage) {
    const page = await readEntriesFrom(store, uid, key, from, entriesPage);
    if (page.length > 0) yield page;
    if (page.length < entriesPage) return;
  }
}

/** Throws RecordChanged, StoreUnavailable. */
export function readEntriesFrom(
  store: RecordStore,
  uid: string,
  key: NodeKey,
  from: number,
  limit: number,
): Promise<readonly StoredEntry[]> {
  // A store reads the bytes of the very first entry itself, for the hash that it begins with.
  return store.entries(uid, key, from, limit).catch((error: unknown) => {
    throw error instanceof SyntaxError ? journalChanged(key, "entry 0: its bytes are not JSON") : error;
  });
}

/** Bodies of the first run that has each; a missing one is absent from the map. Throws StoreUnavailable. */
export async function bodiesOfRuns(
  store: Pick<RecordStore, "bodies">,
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
