/** From stored journals to the steps that count: the last try's, in canonical order. */
import type { NodeKey, StoredEntry } from "../protocol/types.ts";
import { readEntry } from "../steps/chain.ts";
import type { JournalEntry, RepeatEntry, StepEntry, ViolationEntry } from "../steps/format.ts";
import { canonicalNodeOrder, compareItems, comparePaths, type OrderedNode } from "./order.ts";

/** One node item's journal, whole and in order. */
export interface ItemJournal extends NodeKey {
  readonly entries: readonly StoredEntry[];
}

export interface RunShape {
  readonly nodes: readonly OrderedNode[];
  readonly finally?: readonly OrderedNode[] | undefined;
}

/** A step or a repeat with the place it was found at. */
export interface TracedCall<E extends StepEntry | RepeatEntry = StepEntry | RepeatEntry> {
  readonly journal: ItemJournal;
  readonly entry: E;
  readonly hash: string;
  /** False = a repeat, or a step of an earlier try: charged and visible, never numbered. */
  readonly canonical: boolean;
}

/** What a policy had to say, with the place it was found at: never a step, never canonical. */
export interface Finding {
  readonly journal: ItemJournal;
  readonly entry: ViolationEntry;
  readonly hash: string;
}

/** Every violation that was recorded, Audit findings too: in the order of the nodes, per item as they were recorded. */
export function findingsOf(shape: RunShape, journals: readonly ItemJournal[]): Finding[] {
  return inOrder(shape, journals).flatMap((journal) =>
    journal.entries.flatMap((stored) => {
      const entry = readEntry(stored);
      return entry.type === "violation" ? [{ journal, entry, hash: stored.hash }] : [];
    }),
  );
}

/** Every step and repeat of every try, canonical order; calls at the same path in the order they were recorded. */
export function tracedCalls(shape: RunShape, journals: readonly ItemJournal[]): TracedCall[] {
  return inOrder(shape, journals).flatMap(callsOf);
}

/** In the order of the nodes, items by number. */
export function inOrder<K extends NodeKey>(shape: RunShape, journals: readonly K[]): K[] {
  const place = new Map(canonicalNodeOrder(shape.nodes, shape.finally).map((name, index) => [name, index]));
  const last = place.size;
  return [...journals].sort((a, b) => (place.get(a.node) ?? last) - (place.get(b.node) ?? last) || compareItems(a, b));
}

/** The numbered steps: step number n is at index n - 1. */
export function canonicalSteps(shape: RunShape, journals: readonly ItemJournal[]): TracedCall<StepEntry>[] {
  return tracedCalls(shape, journals).filter((call): call is TracedCall<StepEntry> => call.canonical);
}

function callsOf(journal: ItemJournal): TracedCall[] {
  const entries = journal.entries.map((stored) => ({ entry: readEntry(stored), hash: stored.hash }));
  const lastTry = entries.reduce((highest, { entry }) => Math.max(highest, entry.try), 0);
  return entries
    .flatMap(({ entry, hash }) => {
      if (!isCall(entry)) return [];
      return [{ journal, entry, hash, canonical: entry.type === "step" && entry.try === lastTry }];
    })
    .sort(
      (a, b) => a.entry.try - b.entry.try || comparePaths(a.entry.path, b.entry.path) || a.entry.index - b.entry.index,
    );
}

function isCall(entry: JournalEntry): entry is StepEntry | RepeatEntry {
  return entry.type === "step" || entry.type === "repeat";
}
