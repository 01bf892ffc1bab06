/** Reading a record out: one node item after the other, so that a long run never is in memory as a whole. */
import { canonicalJson } from "../../core/digest/digest.ts";
import { canonicalStep } from "../../core/trace/canonical.ts";
import type { NodeKey, StoredEntry } from "../../core/protocol/types.ts";
import { stepsOf, findingsOf, type ItemJournal, type TracedCall, tracedCalls } from "../../core/trace/journal.ts";
import { bodiesOf, type TraceRow, traceRowsWithFindings } from "../../core/trace/rows.ts";
import { readBodies, type RunRecord } from "../../host/journals.ts";
import { checkChains } from "../../host/record-changed.ts";

/** Steps whose texts are held at once. */
const rowsPage = 16;

/** Throws RecordChanged where it is not what was recorded: a changed record is never passed off as a trace. */
async function itemJournal(record: RunRecord, key: NodeKey): Promise<ItemJournal> {
  const entries: StoredEntry[] = [];
  for await (const page of record.entries(key)) entries.push(...page);
  const journal = await record.linked(key, entries);
  checkChains(record.recorder, journal);
  return journal;
}

/** Each item's journal was looked at and holds; how many numbered steps there are. Throws RecordChanged. */
export async function verified(record: RunRecord): Promise<number> {
  let steps = 0;
  for (const key of record.keys) steps += stepsOf(await itemJournal(record, key)).length;
  return steps;
}

/** Lines of the canonical trace, each with its line feed. */
export async function* canonicalTrace(record: RunRecord): AsyncGenerator<string> {
  let number = 0;
  for (const key of record.keys)
    for (const { entry } of stepsOf(await itemJournal(record, key))) {
      number += 1;
      yield `${canonicalJson({ n: number, ...canonicalStep(key, entry) })}\n`;
    }
}

export interface RowsWanted {
  /** Step numbers, from 1. */
  readonly from: number;
  readonly limit: number;
  /** Repeats, earlier tries and violations as well. */
  readonly all: boolean;
  /** How many there are. */
  readonly steps: number;
}

export async function* traceRowsOf(record: RunRecord, rows: RowsWanted): AsyncGenerator<TraceRow> {
  const { from, limit, all, steps } = rows;
  const last = from + limit - 1;
  const isWanted = (place: number) => place >= from && place <= last;
  let number = 0;
  // What has no number belongs to the step that follows it, or to the last one: so it is on one page.
  const unnumbered = () => Math.max(1, Math.min(number + 1, steps));
  for (const key of record.keys) {
    if (number >= last && last < steps) return;
    const journal = await itemJournal(record, key);
    const wanted: TracedCall[] = [];
    let before = number;
    for (const call of tracedCalls(record.spec, [journal])) {
      if (call.canonical) number += 1;
      const place = call.canonical ? number : unnumbered();
      if (isWanted(place) && (call.canonical || all)) wanted.push(call);
      else if (place < from && call.canonical) before += 1;
    }
    for (let at = 0; at < wanted.length; at += rowsPage) {
      const page = wanted.slice(at, at + rowsPage);
      yield* await rowsOf(record, journal, page, before);
      before += page.filter(({ canonical }) => canonical).length;
    }
    if (all && isWanted(unnumbered()))
      yield* traceRowsWithFindings([journal], [], findingsOf(record.spec, [journal]), rowOptions(record));
  }
}

function rowOptions({ uid, status }: RunRecord, bodies: ReadonlyMap<string, string> = new Map()) {
  return { uid, numbered: status?.completedAt !== undefined, body: (digest: string) => bodies.get(digest) };
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
