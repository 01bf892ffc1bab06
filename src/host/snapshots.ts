/** What a run was opened with (G2): the one place that reads it, whoever asks. */
import { sha256Hex } from "../core/digest/digest.ts";
import { SnapshotReader } from "../core/replay/stored-snapshot.ts";
import type { Snapshot } from "../core/steps/format.ts";
import type { SnapshotCache } from "./io.ts";
import { RecordChanged } from "./record-changed.ts";
import { bodiesOfRuns, type RecordStore } from "./record-store.ts";

/**
 * By digest, with or without its algorithm. `uids`: the run, and others in whose bodies it, or what it is a change of, may be: one that was
 * brought back has its parents' too. Undefined = the store does not have it (any more), or not what it is a change of.
 * Throws RecordChanged, StoreUnavailable.
 */
export async function loadSnapshot(
  store: Pick<RecordStore, "bodies">,
  uids: readonly string[],
  digest: string,
  held?: Pick<SnapshotCache, "get" | "set">,
): Promise<Snapshot | undefined> {
  const hex = digest.replace(/^sha256:/, "");
  const found = held?.get(hex);
  if (found !== undefined) return found;
  const reader = new SnapshotReader(hex);
  const bytes = await bodyOf(store, uids, hex);
  if (bytes === undefined) return undefined;
  reader.read(bytes);
  const around = reader.home === undefined ? uids : [reader.home, ...uids];
  if (reader.base !== undefined) {
    const base = await loadSnapshot(store, around, reader.base, held);
    if (base === undefined) return undefined;
    reader.changes(base);
  }
  if (reader.wanted !== undefined) {
    const ends = await bodyOf(store, around, reader.wanted);
    if (ends === undefined) {
      reader.lacks();
      return reader.snapshot;
    }
    reader.read(ends);
  }
  if (reader.snapshot !== undefined) held?.set(hex, reader.snapshot);
  return reader.snapshot;
}

/**
 * Name of the run without whose journal a replay's snapshot cannot be read. Undefined = it is the run's own that is not there, or can be
 * read. Throws RecordChanged, StoreUnavailable.
 */
export async function missingParent(
  store: Pick<RecordStore, "bodies">,
  uid: string,
  digest: string,
): Promise<string | undefined> {
  const reader = new SnapshotReader(digest);
  for (let parent: string | undefined; reader.wanted !== undefined; parent = reader.parent) {
    const bytes = await bodyOf(store, reader.home === undefined ? [uid] : [reader.home, uid], reader.wanted);
    if (bytes === undefined) return parent;
    reader.read(bytes);
    if (reader.base === undefined) return undefined;
  }
  return undefined;
}

async function bodyOf(
  store: Pick<RecordStore, "bodies">,
  uids: readonly string[],
  digest: string,
): Promise<string | undefined> {
  const bytes = (await bodiesOfRuns(store, uids, [digest])).get(digest);
  if (bytes !== undefined && sha256Hex(bytes) !== digest)
    throw new RecordChanged("the snapshot of the run", "it does not have its digest");
  return bytes;
}
