/** The calls that a run recorded, over all its nodes, in the order in which they happened. */
import type { ExecutionSpec } from "../../api/types.ts";
import { itemName } from "../protocol/names.ts";
import { stepKey } from "../steps/identity.ts";
import type { IntentEntry, RepeatEntry, StartEntry, StepEntry } from "../steps/format.ts";
import { entriesOf, inOrder, type ItemJournal } from "../trace/journal.ts";

export interface RecordedEvent {
  readonly journal: ItemJournal;
  /** gather or rate[3] */
  readonly item: string;
  readonly entry: StartEntry | IntentEntry | StepEntry | RepeatEntry;
}

type Call = IntentEntry | StepEntry | RepeatEntry;

/** A call with its place. */
export interface Called {
  readonly journal: ItemJournal;
  readonly item: string;
  readonly entry: Call;
}

/**
 * Within a node item the index decides (J1). Across items there is only the time that each worker wrote down: a clock that was set
 * back does not count, and where two times are equal the node that comes first in canonical order does, as others may depend on it.
 */
export function inRecordedOrder(spec: ExecutionSpec, journals: readonly ItemJournal[]): RecordedEvent[] {
  const timed = inOrder(spec, journals).flatMap((journal, rank) => {
    const item = itemName(journal);
    let latest = "";
    return entriesOf(journal.entries).flatMap((entry) => {
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

/** What each call ended with, by the place of its intent; one that a worker's death cut off is absent. */
export function endsOf(journals: readonly ItemJournal[]): Map<string, StepEntry | RepeatEntry> {
  const ends = new Map<string, StepEntry | RepeatEntry>();
  for (const journal of journals) {
    const open = new Map<string, string>();
    for (const entry of entriesOf(journal.entries)) {
      if (entry.type === "intent") open.set(callKey(journal, entry), placeKey(journal, entry.index));
      if (entry.type !== "step" && entry.type !== "repeat") continue;
      const key = callKey(journal, entry);
      const place = open.get(key);
      if (place !== undefined) ends.set(place, entry);
      open.delete(key);
    }
  }
  return ends;
}

/** Of all that is told apart below an item. No node's name has a slash. */
export function itemPrefix({ node, item }: ItemJournal): string {
  return `${item ?? ""}/${node}/`;
}

export function placeKey(journal: ItemJournal, index: number): string {
  return `${itemPrefix(journal)}${index}`;
}

/** Of a call however often it was made. */
export function callKey(journal: ItemJournal, { path, kind, requestDigest, occurrence, try: tryNumber }: Call): string {
  return `${itemPrefix(journal)}${tryNumber}/${stepKey(path, kind, requestDigest, occurrence)}`;
}
