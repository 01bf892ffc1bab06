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
import { allOf, entryPages, type RecordStore } from "./record-store.ts";
import { loadSnapshot } from "./snapshots.ts";

/** A run with what it was opened with. */
export interface KnownRun {
  readonly uid: string;
  /** Hex, of the snapshot. */
  readonly digest: string;
  readonly snapshot: Snapshot;
}

/** Of what was made of parents' records. About a kilobyte each. */
const madeMax = 8_192;

export class Lineage {
  readonly #store: RecordStore;
  readonly #root: KnownRun;
  readonly #snapshots: SnapshotCache;
  /** The root and those that it replays, as far as they were looked for. */
  readonly #runs = new Map<string, KnownRun>();
  /** By run and item. No longer than this reader lives: a parent's record that was lost meanwhile must be missed. */
  readonly #made = new Map<string, TakenOver>();

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

  /**
   * What run `uid` takes over of its parent, by itemName, whether or not it has a record of its own by now: that comes first.
   * Throws RecordChanged, StoreUnavailable.
   */
  async takenOver(uid: string, keys: readonly NodeKey[]): Promise<ReadonlyMap<string, TakenOver>> {
    const run = await this.#run(uid);
    return run === undefined ? new Map() : this.#takenOver(run, keys);
  }

  async #takenOver(run: KnownRun, keys: readonly NodeKey[]): Promise<ReadonlyMap<string, TakenOver>> {
    const found = new Map<string, TakenOver>();
    const parent = takesOverFrom(run.snapshot);
    if (parent === undefined || this.#store.view === undefined) return found;
    const place = (key: NodeKey) => `${run.uid}/${itemName(key)}`;
    const unknown: NodeKey[] = [];
    for (const key of keys) {
      const held = this.#made.get(place(key));
      if (held === undefined) unknown.push(key);
      else found.set(itemName(key), held);
    }
    if (unknown.length === 0) return found;
    const { items } = await this.view(parent, unknown);
    if (this.#made.size > madeMax) this.#made.clear();
    for (const [index, key] of unknown.entries()) {
      const each = takenOver(run.snapshot, run.digest, key, items[index]);
      if (each === undefined) continue;
      found.set(itemName(key), each);
      this.#made.set(place(key), each);
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
  const entries = await allOf(entryPages(lineage, uid, key));
  checkChain(uid, { ...key, entries });
  return linked(lineage, uid, key, entries, readItem);
}

/** As it is stored: whoever shows or exports it checks it as a whole. */
async function storedItem(lineage: Lineage, uid: string, key: NodeKey): Promise<ItemJournal> {
  return linked(lineage, uid, key, await allOf(entryPages(lineage, uid, key)));
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
