/** Reading the record of a run: journals of every item, bodies by digest. */
import type { LocalRun } from "../adapters/local/local-index.ts";
import type { NodeKey, StoredEntry } from "../core/protocol/types.ts";
import { textsOf } from "../core/steps/bodies.ts";
import type { ItemJournal } from "../core/trace/journal.ts";
import type { JournalStore } from "../ports/store.ts";

const entriesPage = 512;
const bodiesPage = 256;

/** Every node item that may have a journal. */
export function journalKeys(run: LocalRun): NodeKey[] {
  return (run.status?.nodes ?? []).flatMap((row): NodeKey[] => {
    if (row.itemCount === undefined) return (row.attempt ?? 0) > 0 ? [{ node: row.name }] : [];
    return Array.from({ length: row.itemCount }, (_, item) => ({ node: row.name, item }));
  });
}

/** Items without entries are left out. */
export async function readJournals(store: JournalStore, run: LocalRun): Promise<ItemJournal[]> {
  const journals: ItemJournal[] = [];
  for (const key of journalKeys(run)) {
    const entries: StoredEntry[] = [];
    for (;;) {
      const page = await store.entries(run.uid, key, entries.length, entriesPage);
      entries.push(...page);
      if (page.length < entriesPage) break;
    }
    if (entries.length > 0) journals.push({ ...key, entries });
  }
  return journals;
}

/** Bodies and the long texts they refer to; what the store no longer has is absent. */
export async function readBodies(
  store: JournalStore,
  uid: string,
  digests: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  await load(store, uid, digests, found);
  await load(store, uid, [...found.values()].flatMap(textsOf), found);
  return found;
}

async function load(
  store: JournalStore,
  uid: string,
  digests: readonly string[],
  found: Map<string, string>,
): Promise<void> {
  const wanted = [...new Set(digests)].filter((digest) => !found.has(digest));
  for (let from = 0; from < wanted.length; from += bodiesPage) {
    for (const [digest, bytes] of await store.bodies(uid, wanted.slice(from, from + bodiesPage)))
      found.set(digest, bytes);
  }
}
