/**
 * What one run's record is put together from: its own journals, those of runs that it replays, and what it takes over of them. The one
 * place that does so.
 *
 * Whose journals these are is said by a snapshot that is known by digest, from the status or from a snapshot that was known before: a
 * worker can write into its own run's record what it likes, and must not have anybody read another run's for it (S1).
 */
import { itemName } from "../core/protocol/names.ts";
import type { NodeKey, StoredEntry } from "../core/protocol/types.ts";
import { type TakenOver, takenOver, takenOverLength, takesOverFrom } from "../core/replay/taken-over.ts";
import type { Snapshot } from "../core/steps/format.ts";
import { type ItemJournal, reuseOf } from "../core/trace/journal.ts";
import type { JournalView } from "../ports/store.ts";
import { SnapshotCache } from "./io.ts";
import { checkChain, journalChanged, RecordChanged } from "./record-changed.ts";
import { entryPages, type RecordStore } from "./record-store.ts";
import { loadSnapshot } from "./snapshots.ts";

/** A run with what it was opened with. */
export interface KnownRun {
  readonly uid: string;
  /** Hex, of the snapshot. */
  readonly digest: string;
  readonly snapshot: Snapshot;
}

/**
 * What was made of a parent's record of late, by snapshot and item: parents have ended, so it is made once for all passes and readers.
 * About a kilobyte each.
 */
const made = new Map<string, TakenOver>();
const madeMax = 8_192;

export class Lineage {
  readonly #store: RecordStore;
  readonly #root: KnownRun;
  readonly #snapshots: SnapshotCache;
  /** The root and those that it replays, as far as they were looked for. */
  readonly #runs = new Map<string, KnownRun>();

  constructor(store: RecordStore, root: KnownRun, snapshots = new SnapshotCache()) {
    this.#store = store;
    this.#root = { ...root, digest: root.digest.replace(/^sha256:/, "") };
    this.#snapshots = snapshots;
    this.#runs.set(root.uid, this.#root);
  }

  /** Whether run `uid` may reuse steps of run `of`: one that it replays, so that nothing goes round in circles. */
  mayReuse(uid: string, of: string): boolean {
    const order = [this.#root.uid, ...(this.#root.snapshot.replay?.lineage ?? [])];
    const place = order.indexOf(uid);
    return place >= 0 && order.indexOf(of) > place;
  }

  /** Whether the item is taken over, as long as the run has no record of it itself. Throws RecordChanged, StoreUnavailable. */
  async takesOver(uid: string, key: NodeKey): Promise<boolean> {
    const run = await this.#run(uid);
    return run !== undefined && (await this.#takenOver(run, [key])).size > 0;
  }

  /** As `JournalStore.view`, with what is taken over. Throws RecordChanged, StoreUnavailable. */
  async view(uid: string, items: readonly NodeKey[]): Promise<JournalView> {
    const run = await this.#run(uid);
    const seen = await this.#stored(uid, items, run);
    if (run === undefined || seen.execution === undefined) return seen;
    const missing = items.filter((_, place) => seen.items[place] === undefined);
    const found = await this.#takenOver(run, missing);
    if (found.size === 0) return seen;
    return { ...seen, items: items.map((key, place) => seen.items[place] ?? found.get(itemName(key))?.record) };
  }

  /** As `JournalStore.entries`, with what is taken over. Throws RecordChanged, StoreUnavailable. */
  async entries(uid: string, key: NodeKey, from: number, limit: number): Promise<readonly StoredEntry[]> {
    const stored = await this.#store.entries(uid, key, from, limit);
    if (stored.length > 0 || from >= takenOverLength || this.#store.view === undefined) return stored;
    const run = await this.#run(uid);
    if (run === undefined || takesOverFrom(run.snapshot) === undefined) return stored;
    const { execution, items } = await this.#stored(uid, [key], run);
    if (execution === undefined || items[0] !== undefined) return stored;
    const found = (await this.#takenOver(run, [key])).get(itemName(key));
    return found?.entries.slice(from, from + limit) ?? stored;
  }

  /** A run that was brought back was not opened here, and says nothing of its snapshot. */
  async #stored(uid: string, items: readonly NodeKey[], run: KnownRun | undefined): Promise<JournalView> {
    const seen = await this.#store.view?.(uid, items);
    if (seen === undefined) throw new Error("a record without a store is read by its entries alone");
    if (run !== undefined && seen.execution !== undefined && seen.execution.snapshot !== run.digest)
      throw new RecordChanged(`the record of run ${uid}`, "it was opened with another snapshot");
    return seen;
  }

  /** Of items of `run` that have no record of their own. */
  async #takenOver(run: KnownRun, keys: readonly NodeKey[]): Promise<ReadonlyMap<string, TakenOver>> {
    const found = new Map<string, TakenOver>();
    const parent = takesOverFrom(run.snapshot);
    if (parent === undefined || this.#store.view === undefined) return found;
    const place = (key: NodeKey) => `${run.digest}/${itemName(key)}`;
    const unknown = keys.filter((key) => !made.has(place(key)));
    const { items } = unknown.length === 0 ? { items: [] } : await this.view(parent, unknown);
    for (const [index, key] of unknown.entries()) {
      const each = takenOver(run.snapshot, run.digest, key, items[index]);
      if (each === undefined) continue;
      found.set(itemName(key), each);
      made.set(place(key), each);
    }
    for (const key of keys) {
      const each = made.get(place(key));
      if (each !== undefined) found.set(itemName(key), each);
    }
    for (const oldest of made.keys()) {
      if (made.size <= madeMax) break;
      made.delete(oldest);
    }
    return found;
  }

  /** Undefined = it is none of the lineage, or nothing says what it was opened with. */
  async #run(uid: string): Promise<KnownRun | undefined> {
    const held = this.#runs.get(uid);
    if (held !== undefined || !this.mayReuse(this.#root.uid, uid)) return held;
    let run: KnownRun | undefined = this.#root;
    while (run !== undefined && run.uid !== uid) run = await this.#parentOf(run);
    return run;
  }

  async #parentOf({ snapshot: { replay } }: KnownRun): Promise<KnownRun | undefined> {
    const [uid] = replay?.lineage ?? [];
    if (uid === undefined || replay?.base === undefined) return undefined;
    const held = this.#runs.get(uid);
    if (held !== undefined) return held;
    const snapshot = await loadSnapshot(this.#store, [uid, this.#root.uid], replay.base, this.#snapshots);
    if (snapshot === undefined) return undefined;
    const run = { uid, digest: replay.base, snapshot };
    this.#runs.set(uid, run);
    return run;
  }
}

/**
 * One node item's journal, with the journals it reuses steps of, to be replayed. Without entries when it was never claimed.
 * Throws StoreUnavailable, RecordChanged.
 */
export async function readItem(lineage: Lineage, uid: string, key: NodeKey): Promise<ItemJournal> {
  const entries = await readEntries(lineage, uid, key);
  checkChain(uid, { ...key, entries });
  return linked(lineage, uid, key, entries, readItem);
}

/** As it is stored: whoever shows or exports it checks it as a whole. */
async function storedItem(lineage: Lineage, uid: string, key: NodeKey): Promise<ItemJournal> {
  return linked(lineage, uid, key, await readEntries(lineage, uid, key));
}

/**
 * The journal of `entries`, which were read before, with those it reuses steps of. Throws RecordChanged where it names a run that is none
 * of its own.
 */
export async function linked(
  lineage: Lineage,
  uid: string,
  { node, item }: NodeKey,
  entries: readonly StoredEntry[],
  readOrigin = storedItem,
): Promise<ItemJournal> {
  const key = item === undefined ? { node } : { node, item };
  const reuse = reuseOf(entries);
  if (reuse === undefined) return { ...key, uid, entries, origin: undefined };
  if (!lineage.mayReuse(uid, reuse.uid))
    throw journalChanged(key, `it reuses steps of run ${reuse.uid}, which is none that its run replays`);
  return { ...key, uid, entries, origin: await readOrigin(lineage, reuse.uid, key) };
}

async function readEntries(lineage: Lineage, uid: string, key: NodeKey): Promise<StoredEntry[]> {
  const entries: StoredEntry[] = [];
  for await (const page of entryPages(lineage, uid, key)) entries.push(...page);
  return entries;
}
