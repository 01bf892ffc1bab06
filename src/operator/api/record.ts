/** Reading a record out: one node item after the other, so that a long run never is in memory as a whole. */
import { canonicalJson } from "../../core/digest/digest.ts";
import { canonicalStep } from "../../core/trace/canonical.ts";
import { stepsOf, findingsOf, type ItemJournal, type TracedCall, tracedCalls } from "../../core/trace/journal.ts";
import { bodiesOf, type TraceRow, traceRowsWithFindings } from "../../core/trace/rows.ts";
import { readBodies, type RunRecord } from "../../host/journals.ts";
import type { Journals } from "./held-journals.ts";

/** Steps whose texts are held at once. */
const rowsPage = 16;

/** Each item's journal was looked at and holds; how many numbered steps there are. Throws RecordChanged. */
export async function verified({ keys }: RunRecord, journals: Journals): Promise<number> {
  let steps = 0;
  for (const key of keys) steps += await journals.steps(key);
  return steps;
}

/** Lines of the canonical trace, each with its line feed. */
export async function* canonicalTrace({ keys }: RunRecord, journals: Journals): AsyncGenerator<string> {
  let number = 0;
  for (const key of keys)
    for (const { entry } of stepsOf(await journals.journal(key))) {
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

export async function* traceRowsOf(record: RunRecord, journals: Journals, rows: RowsWanted): AsyncGenerator<TraceRow> {
  const { from, limit, all, steps } = rows;
  const last = from + limit - 1;
  const isWanted = (place: number) => place >= from && place <= last;
  let number = 0;
  // What has no number belongs to the step that follows it, or to the last one: so it is on one page.
  const unnumbered = () => Math.max(1, Math.min(number + 1, steps));
  for (const key of record.keys) {
    if (number >= last && last < steps) return;
    const count = await journals.steps(key);
    // What has no number and stands at the item's end belongs to the next step.
    if (number + count + (all ? 1 : 0) < from) {
      number += count;
      continue;
    }
    const journal = await journals.journal(key);
    const wanted: TracedCall[] = [];
    let before = number;
    for (const call of tracedCalls(record.spec, [journal])) {
      if (call.canonical) number += 1;
      const place = call.canonical ? number : unnumbered();
      if (isWanted(place) && (call.canonical || all)) wanted.push(call);
      else if (place < from && call.canonical) before += 1;
    }
    let bodies: ReadonlyMap<string, string> = new Map();
    for (let at = 0; at < wanted.length; at += rowsPage) {
      const page = wanted.slice(at, at + rowsPage);
      // A conversation's requests are made of what was in the earlier ones.
      bodies = await readBodies(record, page.flatMap(bodiesOf), bodies);
      yield* rowsOf(record, journal, page, before, bodies);
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
function rowsOf(
  record: RunRecord,
  journal: ItemJournal,
  calls: readonly TracedCall[],
  before: number,
  bodies: ReadonlyMap<string, string>,
): TraceRow[] {
  const rows = traceRowsWithFindings([journal], calls, [], rowOptions(record, bodies));
  return rows.map((row) => (row.step_number === null ? row : { ...row, step_number: row.step_number + before }));
}
