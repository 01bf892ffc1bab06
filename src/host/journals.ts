/**
 * The record of a run: journals of every item, bodies by digest. The one place that reads it, for host, operator and CLI.
 *
 * Whoever needs more than a few bodies or more than one item at a time asks for them in turn: a run may have 10,000 steps.
 */
import type { ExecutionStatus } from "../api/status.ts";
import type { Execution, ExecutionSpec } from "../api/types.ts";
import { specGraph } from "../core/dag/spec-graph.ts";
import type { Digest } from "../core/digest/digest.ts";
import { keysOf } from "../core/planner/needs.ts";
import { thawRows } from "../core/planner/rows.ts";
import type { NodeKey, StoredEntry } from "../core/protocol/types.ts";
import { textsOf } from "../core/steps/bodies.ts";
import { readEntry } from "../core/steps/chain.ts";
import type { Snapshot } from "../core/steps/format.ts";
import { TraceHasher } from "../core/trace/canonical.ts";
import { entriesOf, inOrder, isByHost, type ItemJournal, reusedSteps } from "../core/trace/journal.ts";
import { shownSpec } from "../core/replay/spec.ts";
import type { StoredExecution } from "../ports/cluster.ts";
import { SnapshotCache } from "./io.ts";
import { Lineage, linked } from "./lineage.ts";
import { checkBodies, checkChain, checkChains } from "./record-changed.ts";
import { allOf, bodiesOfRuns, entryPages, type RecordStore } from "./record-store.ts";
import { loadSnapshot } from "./snapshots.ts";

const bodiesPage = 512;

/** What is read of a run, wherever its record is: in a store, or in a bundle. */
export interface RunRecord {
  readonly uid: string;
  readonly object: Execution;
  readonly status: ExecutionStatus | undefined;
  /** As the run was opened with; of a run that was never opened as it was asked for. */
  readonly spec: ExecutionSpec;
  /** Undefined = never opened, or the record is gone. */
  readonly snapshot: Snapshot | undefined;
  /** Every item that may have entries, in canonical order. */
  readonly keys: readonly NodeKey[];
  /** Run whose journals `entries` gives: this one, but for a Strict replay, which has none of its own. */
  readonly recorder: string;
  /** Of one item from index `from` (0) on, in order, in pages. Throws RecordChanged. */
  entries(key: NodeKey, from?: number): AsyncGenerator<readonly StoredEntry[]>;
  /** The journal of `entries`, with those of other runs that it reuses steps of. */
  linked(key: NodeKey, entries: readonly StoredEntry[]): Promise<ItemJournal>;
  /** What is not there is absent. */
  bodies(digests: readonly string[]): Promise<ReadonlyMap<string, string>>;
}

type Run = Pick<StoredExecution, "uid" | "object" | "status">;

/** `snapshot`: where it is known already. */
export async function readRecord(store: RecordStore, run: Run, snapshot?: Snapshot): Promise<RunRecord> {
  const { uid, object, status } = run;
  const held = new SnapshotCache();
  const opened = snapshot ?? (await readSnapshot(store, run, held));
  const spec = opened?.spec ?? shownSpec(object, status);
  const { lineage: before = [], mode } = opened?.replay ?? {};
  const recorder = mode === "Strict" ? (before[0] ?? uid) : uid;
  const lineage = lineageOf(store, run, opened, held);
  return {
    uid,
    object,
    status,
    spec,
    snapshot: opened,
    keys: journalKeys(spec, status),
    recorder,
    entries: (key, from) => entryPages(lineage ?? store, recorder, key, from),
    // Without its snapshot nothing says what it may reuse.
    linked: async (key, entries) =>
      lineage === undefined ? { ...key, uid: recorder, entries } : linked(lineage, recorder, key, entries),
    bodies: (digests) => bodiesOfRuns(store, [uid, ...before], digests),
  };
}

/** What the run was opened with, to be shown or replayed; undefined = never opened, or gone. Throws RecordChanged, StoreUnavailable. */
export async function readSnapshot(
  store: RecordStore,
  { uid, status }: Run,
  held?: SnapshotCache,
): Promise<Snapshot | undefined> {
  return status?.snapshot === undefined ? undefined : loadSnapshot(store, [uid], status.snapshot, held);
}

/** Undefined = there is nothing to begin at. */
export function lineageOf(
  store: RecordStore,
  { uid, status }: Pick<Run, "uid" | "status">,
  snapshot: Snapshot | undefined,
  held?: SnapshotCache,
): Lineage | undefined {
  const digest = status?.snapshot?.replace(/^sha256:/, "");
  return digest === undefined || snapshot === undefined
    ? undefined
    : new Lineage(store, { uid, digest, snapshot }, held);
}

function journalKeys(spec: ExecutionSpec, status: ExecutionStatus | undefined): readonly NodeKey[] {
  if (status?.snapshot === undefined) return [];
  const keys = thawRows(specGraph(spec), status).flatMap((row) => keysOf(row));
  return inOrder(spec, keys);
}

/** Item by item, in canonical order; those without entries are left out. */
export async function* itemJournals(record: RunRecord): AsyncGenerator<ItemJournal, void> {
  for (const key of record.keys) {
    const entries = await allOf(record.entries(key));
    if (entries.length > 0) yield await record.linked(key, entries);
  }
}

/**
 * An item's journal as it is now, checked, with what is new read behind what is `known` of it: that one itself where nothing is.
 * Throws RecordChanged.
 */
export async function grownJournal(record: RunRecord, key: NodeKey, known?: ItemJournal): Promise<ItemJournal> {
  // What was taken over gives way to a further try's own journal, which begins anew.
  const held = known === undefined || isByHost(known) ? undefined : known;
  const before = held?.entries ?? [];
  let added = await allOf(record.entries(key, before.length));
  if (known !== undefined && isSame(added, known.entries.slice(before.length))) return known;
  // A store that was rolled back, and healed: what was read before may not be there any more.
  const follows = before.length === 0 || added[0]?.prevHash === before.at(-1)?.hash;
  if (!follows) added = await allOf(record.entries(key));
  const entries = follows ? [...before, ...added] : added;
  if (held !== undefined && follows) {
    const grown = { ...held, entries };
    checkChain(held.uid ?? record.recorder, grown, before);
    // What an item reuses of another run, a try says at its start.
    if (!entriesOf(entries).some(({ type }, index) => index >= before.length && type === "start")) return grown;
  }
  const journal = await record.linked(key, entries);
  checkChains(record.recorder, journal);
  return journal;
}

function isSame(a: readonly StoredEntry[], b: readonly StoredEntry[]): boolean {
  return a.length === b.length && a.at(-1)?.hash === b.at(-1)?.hash;
}

export async function readJournals(record: RunRecord): Promise<ItemJournal[]> {
  const journals: ItemJournal[] = [];
  for await (const journal of itemJournals(record)) journals.push(journal);
  return journals;
}

export interface RunEnd {
  readonly traceHash: Digest;
  /** Steps by where their answers come from: other runs' records, or this run itself. */
  readonly reusedSteps: number;
  readonly liveSteps: number;
  /** Reused ones that were asked otherwise than they were recorded. */
  readonly patchedSteps: number;
}

/** Holds no more of a journal than one page of it and what the trace says of one item. Throws where an entry is none. */
export async function readEnd(record: RunRecord): Promise<RunEnd> {
  const hasher = new TraceHasher();
  let [reusedSteps, patchedSteps] = [0, 0];
  for (const key of record.keys) {
    hasher.item(key);
    let [reused, answered] = [0, 0];
    let lastTry = 0;
    for await (const page of record.entries(key))
      for (const stored of page) {
        const entry = readEntry(stored);
        if (entry.try > lastTry) {
          lastTry = entry.try;
          [reused, answered] = [await addReused(record, key, stored, hasher), 0];
        }
        hasher.entry(entry);
        if (entry.type === "step" && entry.from !== undefined) answered += 1;
        if (entry.type === "finish") patchedSteps += entry.patched ?? 0;
      }
    reusedSteps += reused + answered;
  }
  const { traceHash, steps } = hasher.end();
  return { traceHash, reusedSteps, liveSteps: steps - reusedSteps, patchedSteps };
}

/** Each try begins with its start entry, which says what it reuses. */
async function addReused(record: RunRecord, key: NodeKey, start: StoredEntry, hasher: TraceHasher): Promise<number> {
  const steps = reusedSteps(await record.linked(key, [start]));
  for (const { entry } of steps) hasher.entry(entry);
  return steps.length;
}

/**
 * Whether the contents of a run that has ended are gone although its journal is there (a policy's recording.content: DigestOnly).
 * The snapshot is the one body that such a run keeps.
 */
export function isContentDropped({ status, snapshot }: RunRecord): boolean {
  // Without a policy everything is kept.
  if ((status?.policies ?? []).length === 0 || status?.completedAt === undefined) return false;
  return snapshot?.policy.recording.content === "DigestOnly";
}

/**
 * Bodies and the long texts they refer to; what the store no longer has is absent. Of those in `held` none is read again.
 * Throws RecordChanged.
 */
export async function readBodies(
  record: Pick<RunRecord, "bodies">,
  digests: readonly string[],
  held: ReadonlyMap<string, string> = new Map(),
): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  await load(record, digests, found, held);
  await load(record, [...found.values()].flatMap(textsOf), found, held);
  return found;
}

async function load(
  record: Pick<RunRecord, "bodies">,
  digests: readonly string[],
  found: Map<string, string>,
  held: ReadonlyMap<string, string>,
): Promise<void> {
  const wanted: string[] = [];
  for (const digest of new Set(digests)) {
    const bytes = held.get(digest);
    if (bytes !== undefined) found.set(digest, bytes);
    else if (!found.has(digest)) wanted.push(digest);
  }
  for (let from = 0; from < wanted.length; from += bodiesPage) {
    const page = checkBodies(await record.bodies(wanted.slice(from, from + bodiesPage)));
    for (const [digest, bytes] of page) found.set(digest, bytes);
  }
}
