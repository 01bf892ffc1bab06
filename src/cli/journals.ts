/** Reading the record of a run: journals of every item, bodies by digest. */
import type { LocalRun } from "../adapters/local/local-index.ts";
import { cliExitCodes } from "../api/exit-codes.ts";
import type { NodeStatus } from "../api/status.ts";
import { itemName } from "../core/protocol/names.ts";
import type { NodeKey, StoredEntry } from "../core/protocol/types.ts";
import { textsOf } from "../core/steps/bodies.ts";
import type { Snapshot } from "../core/steps/format.ts";
import type { ItemJournal } from "../core/trace/journal.ts";
import type { JournalStore } from "../ports/store.ts";
import { CliError } from "./errors.ts";
import { hasEnded } from "./outcome.ts";

const entriesPage = 512;
const bodiesPage = 256;

/** Every node item that may have a journal. */
export function journalKeys(run: LocalRun): NodeKey[] {
  return (run.status?.nodes ?? []).flatMap((row): NodeKey[] => {
    if (row.itemCount === undefined) return hasClaimed(row) ? [{ node: row.name }] : [];
    return Array.from({ length: row.itemCount }, (_, item) => ({ node: row.name, item }));
  });
}

/** In large runs a first attempt is not written down (RowStatus.attempt). */
function hasClaimed({ attempt, state }: NodeStatus): boolean {
  return (attempt ?? 0) > 0 || ["Starting", "Running", "Succeeded", "Failed"].includes(state);
}

/** Items without entries are left out. */
export async function readJournals(store: JournalStore, run: LocalRun): Promise<ItemJournal[]> {
  const journals: ItemJournal[] = [];
  for (const key of journalKeys(run)) {
    const entries = await readEntries(store, run.uid, key, 0);
    if (entries.length > 0) journals.push({ ...key, entries });
  }
  return journals;
}

/** All entries of one item from index `from`. */
export async function readEntries(
  store: JournalStore,
  uid: string,
  key: NodeKey,
  from: number,
): Promise<StoredEntry[]> {
  const entries: StoredEntry[] = [];
  for (;;) {
    const page = await store.entries(uid, key, from + entries.length, entriesPage).catch((error: unknown) => {
      throw error instanceof SyntaxError ? changed(itemName(key), "an entry is not JSON") : error;
    });
    entries.push(...page);
    if (page.length < entriesPage) return entries;
  }
}

/** A journal that is not what was recorded is never passed off as a trace. */
export function changed(item: string, why: string): CliError {
  return new CliError(
    `the journal of node ${item} was changed after it was recorded: ${why}`,
    [],
    cliExitCodes.tampered,
  );
}

/**
 * Whether the contents of a run that has ended are gone although its journal is there (a policy's recording.content: DigestOnly).
 * The snapshot is the one body that such a run keeps.
 */
export async function isContentDropped(store: JournalStore, run: LocalRun): Promise<boolean> {
  const digest = run.status?.snapshot?.replace(/^sha256:/, "");
  // Without a policy everything is kept.
  if (digest === undefined || (run.status?.policies ?? []).length === 0 || !hasEnded(run.status)) return false;
  const bytes = (await store.bodies(run.uid, [digest])).get(digest);
  return bytes !== undefined && (JSON.parse(bytes) as Snapshot).policy.recording.content === "DigestOnly";
}

export const contentDropped =
  "content was not kept (recording.content: DigestOnly): only digests are left, and such a run cannot be replayed";

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
