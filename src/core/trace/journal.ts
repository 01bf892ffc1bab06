/** From stored journals to the steps that count: the last try's, in canonical order. */
import { canonicalNodeOrder, type GraphShape } from "../dag/spec-graph.ts";
import type { NodeKey, StoredEntry } from "../protocol/types.ts";
import { readEntry } from "../steps/chain.ts";
import type { JournalEntry, RepeatEntry, Reuse, StartEntry, StepEntry, ViolationEntry } from "../steps/format.ts";
import { compareItems, comparePaths } from "./order.ts";

/** One node item's journal, whole and in order. */
export interface ItemJournal extends NodeKey {
  readonly entries: readonly StoredEntry[];
  /** Run whose journal this is; absent = the one that is looked at. */
  readonly uid?: string | undefined;
  /** The same node item's journal of the run that this one replays, where it reuses steps of it. */
  readonly origin?: ItemJournal | undefined;
}

/** A step or a repeat with the place it was found at. */
export interface TracedCall<E extends StepEntry | RepeatEntry = StepEntry | RepeatEntry> {
  readonly journal: ItemJournal;
  readonly entry: E;
  readonly hash: string;
  /** False = a repeat, or a step of an earlier try: charged and visible, never numbered. */
  readonly canonical: boolean;
  /** It is reused by a patched replay, which asks for it otherwise than it was recorded. */
  readonly byPosition?: true;
}

/** What a policy had to say, with the place it was found at: never a step, never canonical. */
export interface Finding {
  readonly journal: ItemJournal;
  readonly entry: ViolationEntry;
  readonly hash: string;
}

const read = new WeakMap<readonly StoredEntry[], readonly JournalEntry[]>();
const called = new WeakMap<ItemJournal, readonly TracedCall[]>();

/** Parsing is what reading a record costs, so it is done once for each list; one that has grown since is another. */
export function entriesOf(stored: readonly StoredEntry[]): readonly JournalEntry[] {
  const held = read.get(stored);
  if (held?.length === stored.length) return held;
  return keepEntries(stored, stored.map(readEntry));
}

/** Of whoever has parsed them already. */
export function keepEntries(stored: readonly StoredEntry[], entries: readonly JournalEntry[]): readonly JournalEntry[] {
  read.set(stored, entries);
  return entries;
}

/** Every violation that was recorded, Audit findings too: in the order of the nodes, per item as they were recorded. */
export function findingsOf(shape: GraphShape, journals: readonly ItemJournal[]): Finding[] {
  return inOrder(shape, journals).flatMap((journal) =>
    entriesOf(journal.entries).flatMap((entry, index) =>
      entry.type === "violation" ? [{ journal, entry, hash: journal.entries[index]?.hash ?? "" }] : [],
    ),
  );
}

/** Every step and repeat of every try, canonical order; calls at the same path in the order they were recorded. */
export function tracedCalls(shape: GraphShape, journals: readonly ItemJournal[]): TracedCall[] {
  return inOrder(shape, journals).flatMap(callsOf);
}

/** In the order of the nodes, items by number. */
export function inOrder<K extends NodeKey>(shape: GraphShape, journals: readonly K[]): K[] {
  const place = new Map(canonicalNodeOrder(shape).map((name, index) => [name, index]));
  const last = place.size;
  return [...journals].sort((a, b) => (place.get(a.node) ?? last) - (place.get(b.node) ?? last) || compareItems(a, b));
}

/** The numbered steps: step number n is at index n - 1. */
export function canonicalSteps(shape: GraphShape, journals: readonly ItemJournal[]): TracedCall<StepEntry>[] {
  return tracedCalls(shape, journals).filter((call): call is TracedCall<StepEntry> => call.canonical);
}

function callsOf(journal: ItemJournal): readonly TracedCall[] {
  const held = called.get(journal);
  if (held !== undefined) return held;
  const entries = entriesOf(journal.entries);
  const lastTry = entries.reduce((highest, entry) => Math.max(highest, entry.try), 0);
  const own = entries.flatMap((entry, index) => {
    if (!isCall(entry)) return [];
    const hash = journal.entries[index]?.hash ?? "";
    return [{ journal, entry, hash, canonical: entry.type === "step" && entry.try === lastTry }];
  });
  const calls = [...reusedSteps(journal), ...own].sort(
    (a, b) => a.entry.try - b.entry.try || comparePaths(a.entry.path, b.entry.path) || a.entry.index - b.entry.index,
  );
  called.set(journal, calls);
  return calls;
}

/** Steps of one item's last try in canonical order, those that it reuses of another run's journal among them. */
export function stepsOf(journal: ItemJournal): TracedCall<StepEntry>[] {
  return callsOf(journal).filter((call): call is TracedCall<StepEntry> => call.canonical);
}

/** Of every attempt that left anything, those of journals that it reuses steps of among them. */
export function startsOf({ entries, origin }: ItemJournal): StartEntry[] {
  const own = entriesOf(entries).filter((entry) => entry.type === "start");
  return [...own, ...(origin === undefined ? [] : startsOf(origin))];
}

/** What the last try of a journal says, in the entry that it begins with, that it reuses; undefined = nothing. */
export function reuseOf(entries: readonly StoredEntry[]): Reuse | undefined {
  let found: { readonly reuse: Reuse | undefined; readonly try: number } | undefined;
  for (const entry of entriesOf(entries))
    if (found === undefined || entry.try > found.try)
      found = { reuse: entry.type === "start" ? entry.reuse : undefined, try: entry.try };
  return found?.reuse;
}

/**
 * Whether the item was not run, as its end is another run's (a host, which is no program that runs nodes, says so), although this run
 * would have it ask otherwise: then its code is held to nothing.
 */
export function isTakenOver(journal: ItemJournal): boolean {
  const { entries, origin } = journal;
  const reuse = reuseOf(entries);
  if (!isByHost(journal) || reuse === undefined || origin === undefined) return false;
  return reuse.byPosition === true || isTakenOver(origin);
}

/** Whether no program that runs nodes has written any of it: its end is another run's, which its own further try would take the place of. */
export function isByHost({ entries }: Pick<ItemJournal, "entries">): boolean {
  const own = entriesOf(entries);
  return own.every((entry) => entry.type === "finish" || (entry.type === "start" && entry.runtime.version === ""));
}

/** The steps of another run's journal that are this one's too. */
export function reusedSteps(journal: ItemJournal): TracedCall<StepEntry>[] {
  const reuse = reuseOf(journal.entries);
  if (reuse === undefined || journal.origin === undefined) return [];
  const steps = stepsOf(journal.origin).slice(0, reuse.steps);
  return reuse.byPosition === true ? steps.map((call) => ({ ...call, byPosition: true })) : steps;
}

function isCall(entry: JournalEntry): entry is StepEntry | RepeatEntry {
  return entry.type === "step" || entry.type === "repeat";
}
