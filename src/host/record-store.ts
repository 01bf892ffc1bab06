/** Reading what a store holds of runs, as it is there: whoever shows or replays it puts it together (lineage.ts) and checks it. */
import type { NodeKey, StoredEntry } from "../core/protocol/types.ts";
import type { JournalStore } from "../ports/store.ts";
import { journalChanged } from "./record-changed.ts";

const entriesPage = 512;

/** Where records are read from: a journal store, or what tells of one as a whole and so has no `view`. */
export type RecordStore = Pick<JournalStore, "entries" | "bodies"> & Partial<Pick<JournalStore, "view">>;

/** Entries from index `first` on, in order. Throws RecordChanged, StoreUnavailable. */
export async function* entryPages(
  store: Pick<RecordStore, "entries">,
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

export async function allOf(pages: AsyncIterable<readonly StoredEntry[]>): Promise<StoredEntry[]> {
  const entries: StoredEntry[] = [];
  for await (const page of pages) entries.push(...page);
  return entries;
}

/** Throws RecordChanged, StoreUnavailable. */
export function readEntriesFrom(
  store: Pick<RecordStore, "entries">,
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
