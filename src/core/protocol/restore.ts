/** Putting a journal back as it was, without the protocol: nobody made these entries here, so nothing is claimed or charged. */
import { OaoError } from "../errors/errors.ts";
import { emptyLedger } from "./amounts.ts";
import { genesis, itemName } from "./names.ts";
import type { ItemRecord, NodeKey, Records, StoredEntry } from "./types.ts";

/** What the item's record says of its last try, as of the entries so far. */
export type RestoredFigures = Pick<ItemRecord, "attempt" | "try" | "steps" | "finished">;

export interface Restored {
  readonly item: ItemRecord;
  /** Those that are not there yet. */
  readonly entries: readonly StoredEntry[];
}

/**
 * The rules of JournalStore.restoreEntries. `held(index)` is the hash of the entry that is there. The item is left released, so that
 * no attempt may append to it. Throws OAO_PROTOCOL.
 */
export function restoreEntries(
  uid: string,
  key: NodeKey,
  entries: readonly StoredEntry[],
  figures: RestoredFigures,
  { execution, item }: Pick<Records, "execution" | "item">,
  held: (index: number) => string | undefined,
): Restored {
  if (execution !== undefined)
    throw refusedRestore(key, "the run was opened here, so its journal is the protocol's alone");
  let length = item?.length ?? 0;
  let head = item === undefined || item.length === 0 ? genesis(uid, key) : item.head;
  const added: StoredEntry[] = [];
  for (const entry of entries) {
    if (entry.index < length) {
      if (held(entry.index) !== entry.hash) throw refusedRestore(key, `another entry ${entry.index} is there`);
      continue;
    }
    if (entry.index !== length || entry.prevHash !== head)
      throw refusedRestore(key, `entry ${entry.index} does not follow the ${length} that are there`);
    added.push(entry);
    length += 1;
    head = entry.hash;
  }
  const released = {
    claimId: "",
    seq: 0,
    commandDigest: "",
    reply: undefined,
    ledger: emptyLedger,
    leaseUntilMs: 0,
    live: "",
  };
  return { item: { ...released, ...figures, length, head }, entries: added };
}

export function refusedRestore(key: NodeKey, why: string): OaoError {
  return new OaoError("OAO_PROTOCOL", `the journal of node ${itemName(key)} cannot be restored: ${why}`);
}
