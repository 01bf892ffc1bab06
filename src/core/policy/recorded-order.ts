/** What a run recorded, over all its nodes, in the order in which it happened. */
import { itemName } from "../protocol/names.ts";
import { readEntry } from "../steps/chain.ts";
import type { IntentEntry, RepeatEntry, StartEntry, StepEntry } from "../steps/format.ts";
import { inOrder, type ItemJournal, type RunShape } from "../trace/journal.ts";

export interface RecordedEvent {
  readonly journal: ItemJournal;
  /** gather or rate[3] */
  readonly item: string;
  readonly entry: StartEntry | IntentEntry | StepEntry | RepeatEntry;
}

/**
 * Within a node item the index decides (J1). Across items there is only the time that each worker wrote down: a clock that was set
 * back does not count, and where two times are equal the node that comes first in canonical order does, as others may depend on it.
 */
export function inRecordedOrder(shape: RunShape, journals: readonly ItemJournal[]): RecordedEvent[] {
  const timed = inOrder(shape, journals).flatMap((journal, rank) => {
    const item = itemName(journal);
    let latest = "";
    return journal.entries.flatMap((stored) => {
      const entry = readEntry(stored);
      if (entry.type === "violation" || entry.type === "finish") return [];
      // All are written in one form of ISO 8601, whose order is that of its texts.
      const at = "completedAt" in entry ? entry.completedAt : entry.at;
      if (at > latest) latest = at;
      return [{ event: { journal, item, entry }, latest, rank }];
    });
  });
  // Sorting is stable, so entries of one item stay in order.
  return timed
    .toSorted((a, b) => (a.latest === b.latest ? a.rank - b.rank : a.latest < b.latest ? -1 : 1))
    .map(({ event }) => event);
}
