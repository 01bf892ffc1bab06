/** The record of a run as it is read out: one node item after the other, so that a long run never is in memory as a whole. */
import type { ExecutionStatus } from "../../api/status.ts";
import { itemName } from "../../core/protocol/names.ts";
import type { NodeKey, StoredEntry } from "../../core/protocol/types.ts";
import { textsOf } from "../../core/steps/bodies.ts";
import {
  canonicalSteps,
  findingsOf,
  inOrder,
  type ItemJournal,
  type RunShape,
  type TracedCall,
  tracedCalls,
  verifyChain,
} from "../../core/trace/journal.ts";
import { bodiesOf, type TraceRow, traceRowsWithFindings } from "../../core/trace/rows.ts";
import { loadSnapshot } from "../../host/observe.ts";
import type { StoredExecution } from "../../ports/cluster.ts";
import type { JournalStore } from "../../ports/store.ts";
import { Problem } from "./problems.ts";

const entriesPage = 512;
const bodiesPage = 256;
/** Steps whose texts are held at once. */
const rowsPage = 16;

export interface RunRecord {
  readonly run: StoredExecution;
  readonly store: JournalStore;
  readonly shape: RunShape;
  /** Of every item that may have a journal, in canonical order. */
  readonly keys: readonly NodeKey[];
}

/** The nodes are those of the snapshot: the object alone does not say what it inherits. */
export async function openRecord(run: StoredExecution, store: JournalStore): Promise<RunRecord> {
  const digest = run.status?.snapshot;
  const snapshot = digest === undefined ? undefined : await loadSnapshot(store, run.uid, digest);
  const spec = snapshot?.spec ?? run.object.spec;
  const shape: RunShape = { nodes: spec.nodes ?? [], finally: spec.finally };
  const keys = inOrder(
    shape,
    journalKeys(run.status).map((key) => ({ ...key, entries: [] })),
  ).map(({ node, item }) => (item === undefined ? { node } : { node, item }));
  return { run, store, shape, keys };
}

/** Every node item that may have a journal. */
export function journalKeys(status: ExecutionStatus | undefined): NodeKey[] {
  return (status?.nodes ?? []).flatMap((row): NodeKey[] => {
    // In large runs an attempt that the state implies is left out.
    if (row.itemCount === undefined) return row.attempt === 0 ? [] : [{ node: row.name }];
    return Array.from({ length: row.itemCount }, (_, item) => ({ node: row.name, item }));
  });
}

/** Entries as they are stored, in pages. */
export async function* entryPages(
  { run, store }: Pick<RunRecord, "run" | "store">,
  key: NodeKey,
  from = 0,
  pageSize = entriesPage,
): AsyncGenerator<readonly StoredEntry[]> {
  for (let next = from; ; ) {
    const page = await store.entries(run.uid, key, next, pageSize);
    if (page.length > 0) yield page;
    if (page.length < pageSize) return;
    next += page.length;
  }
}

/** Throws Problem where it is not what was recorded: a changed record is never passed off as a trace. */
export async function itemJournal(record: RunRecord, key: NodeKey): Promise<ItemJournal> {
  const entries: StoredEntry[] = [];
  for await (const page of entryPages(record, key)) entries.push(...page);
  const journal = { ...key, entries };
  const broken = verifyChain(record.run.uid, journal);
  if (broken !== undefined)
    throw new Problem("tampered", `the journal of node ${itemName(key)}, entry ${broken.index}: ${broken.reason}`);
  return journal;
}

/** Each item's journal was looked at and holds; how many numbered steps there are. Throws Problem. */
export async function verified(record: RunRecord): Promise<number> {
  let steps = 0;
  for (const key of record.keys) steps += canonicalSteps(record.shape, [await itemJournal(record, key)]).length;
  return steps;
}

export interface RowsWanted {
  /** Step numbers, from 1. */
  readonly from: number;
  readonly limit: number;
  /** Repeats, earlier tries and violations as well. */
  readonly all: boolean;
}

export async function* traceRowsOf(record: RunRecord, { from, limit, all }: RowsWanted): AsyncGenerator<TraceRow> {
  let number = 0;
  for (const key of record.keys) {
    const journal = await itemJournal(record, key);
    const calls = tracedCalls(record.shape, [journal]).filter(({ canonical }) => canonical || all);
    const wanted: TracedCall[] = [];
    const first = number;
    let before = 0;
    for (const call of calls) {
      if (call.canonical) number += 1;
      // A repeat belongs to the step that follows it.
      const place = call.canonical ? number : number + 1;
      if (place >= from && place < from + limit) wanted.push(call);
      else if (place < from && call.canonical) before += 1;
    }
    for (let at = 0; at < wanted.length; at += rowsPage) {
      const page = wanted.slice(at, at + rowsPage);
      yield* await rowsOf(record, journal, page, first + before);
      before += page.filter(({ canonical }) => canonical).length;
    }
    if (all) yield* traceRowsWithFindings([journal], [], findingsOf(record.shape, [journal]), rowOptions(record));
    if (number >= from + limit - 1) return;
  }
}

function rowOptions({ run }: RunRecord, bodies: ReadonlyMap<string, string> = new Map()) {
  const numbered = run.status?.completedAt !== undefined;
  return { uid: run.uid, numbered, body: (digest: string) => bodies.get(digest) };
}

/** `before`: numbered steps that stand before these. */
async function rowsOf(
  record: RunRecord,
  journal: ItemJournal,
  calls: readonly TracedCall[],
  before: number,
): Promise<TraceRow[]> {
  const bodies = await readBodies(record, calls.flatMap(bodiesOf));
  const rows = traceRowsWithFindings([journal], calls, [], rowOptions(record, bodies));
  return rows.map((row) => (row.step_number === null ? row : { ...row, step_number: row.step_number + before }));
}

/** Bodies and the long texts they refer to; what the store no longer has is absent. */
async function readBodies({ run, store }: RunRecord, digests: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  const load = async (names: readonly string[]) => {
    const wanted = [...new Set(names)].filter((digest) => !found.has(digest));
    for (let from = 0; from < wanted.length; from += bodiesPage)
      for (const [digest, bytes] of await store.bodies(run.uid, wanted.slice(from, from + bodiesPage)))
        found.set(digest, bytes);
  };
  await load(digests);
  await load([...found.values()].flatMap(textsOf));
  return found;
}
