/** What a run was opened with (G2): the one place that reads it, whoever asks. */
import { sha256Hex } from "../core/digest/digest.ts";
import { SnapshotReader } from "../core/replay/stored-snapshot.ts";
import type { Snapshot } from "../core/steps/format.ts";
import type { JournalStore } from "../ports/store.ts";
import { bodiesOfRuns } from "./lineage.ts";
import { RecordChanged } from "./record-changed.ts";

/**
 * By digest, with or without its algorithm, from the run's bodies or those of runs that it replays. Undefined = the store does not have it (any more), or not what it is a change of.
 * Throws RecordChanged, StoreUnavailable.
 */
export async function loadSnapshot(
  store: Pick<JournalStore, "bodies">,
  uid: string,
  digest: string,
): Promise<Snapshot | undefined> {
  const reader = new SnapshotReader(digest);
  while (reader.wanted !== undefined) {
    const { wanted } = reader;
    const bytes = (await bodiesOfRuns(store, [uid, ...reader.lineage], [wanted])).get(wanted);
    if (bytes === undefined) {
      reader.lacks();
      break;
    }
    if (sha256Hex(bytes) !== wanted) throw new RecordChanged("the snapshot of the run", "it does not have its digest");
    reader.read(bytes);
  }
  return reader.snapshot;
}
