/**
 * Steps of runs. Journals only grow, so what was read of a run is kept and only what is new is read again;
 * of a few runs at a time. Every hash chain is checked: what was changed after it was recorded is never shown as a trace.
 */
import { itemName } from "../../core/protocol/names.ts";
import type { Snapshot, StepEntry } from "../../core/steps/format.ts";
import { type Finding, findingsOf, type ItemJournal, tracedCalls, type TracedCall } from "../../core/trace/journal.ts";
import { bodiesOf, type TraceRow, traceRows, traceRowsWithFindings } from "../../core/trace/rows.ts";
import { grownJournal, isContentDropped, readBodies, type RunRecord } from "../../host/journals.ts";
import type { RunKey, StepDetail, StepPage, StepSummary } from "../../ui/wire.ts";
import { CliError } from "../errors.ts";
import type { StepRange } from "./run-source.ts";
import { trimmed, trimmedBodies } from "./trim.ts";

/** Runs whose journals are kept in memory: two to compare, and the ones looked at before. */
export const runsKept = 4;

/** A run whose record can be read, wherever it is. */
export interface ReadableRun {
  readonly key: RunKey;
  readonly uid: string;
  /** Nothing more can be recorded. */
  readonly hasEnded: boolean;
  /** As it is now; `snapshot` where it is known already. */
  record(snapshot: Snapshot | undefined): Promise<RunRecord>;
}

/** What is known of a run's steps. */
export interface KnownSteps {
  readonly record: RunRecord;
  readonly steps: readonly Step[];
}

/** A row of the timeline and what it was made of. */
export interface Step<S = TracedCall | Finding> {
  readonly summary: StepSummary;
  readonly source: S;
}

type CanonicalCall = TracedCall<StepEntry>;

interface Known {
  readonly journals: Map<string, ItemJournal>;
  steps: KnownSteps | undefined;
  /** It had ended when it was read: nothing more can be recorded. */
  isComplete: boolean;
  /** Readings of one run follow each other. */
  last: Promise<unknown>;
}

export class StepReader {
  readonly #known = new Map<string, Known>();

  async page(run: ReadableRun, range: StepRange): Promise<StepPage> {
    const { steps } = await this.read(run);
    const shown = steps.filter(matcher(range)).map(({ summary }) => summary);
    const place = shown.findIndex(({ id }) => id === range.at);
    const from = range.at === undefined ? range.from : place < 0 ? shown.length : place;
    return {
      from,
      total: shown.length,
      steps: shown.slice(from, from + range.limit),
      ...spanOf(steps),
    };
  }

  async step(run: ReadableRun, id: string, whole: boolean): Promise<StepDetail> {
    const { record, steps } = await this.read(run);
    const found = steps.find(({ summary }) => summary.id === id);
    if (found === undefined)
      throw new CliError(`${run.key.namespace}/${run.key.name} has no step ${JSON.stringify(id)}`, [
        "it may have been recorded anew: go back to the list of steps",
      ]);
    const row = await rowOf(record, found, whole ? (digests) => digests : trimmedBodies);
    return {
      summary: found.summary,
      row: whole ? row : trimmed(row),
      dropped: isContentDropped(record),
    };
  }

  /** Throws RecordChanged. */
  read(run: ReadableRun): Promise<KnownSteps> {
    const known = this.#take(run.uid);
    const reading = known.last.then(() => refresh(known, run));
    known.last = reading.catch(() => this.#known.delete(run.uid));
    return reading;
  }

  /** Of the latest runs. */
  #take(uid: string): Known {
    const fresh = { journals: new Map(), steps: undefined, isComplete: false, last: Promise.resolve() };
    const known = this.#known.get(uid) ?? fresh;
    this.#known.delete(uid);
    this.#known.set(uid, known);
    for (const old of [...this.#known.keys()].slice(0, -runsKept)) this.#known.delete(old);
    return known;
  }
}

/** The same object where nothing is new: what was made of it is still good. */
async function refresh(known: Known, run: ReadableRun): Promise<KnownSteps> {
  if (known.steps !== undefined && known.isComplete) return known.steps;
  const record = await run.record(known.steps?.record.snapshot);
  const hasGrown = await grow(known, record);
  const isComplete = run.hasEnded;
  if (known.steps !== undefined && !hasGrown && !isComplete) return known.steps;
  known.isComplete = isComplete;
  known.steps = { record, steps: stepsOf(record, [...known.journals.values()], isComplete) };
  return known.steps;
}

/** Reads what is new. True = something was. */
async function grow(known: Known, record: RunRecord): Promise<boolean> {
  let hasGrown = false;
  for (const key of record.keys) {
    const item = itemName(key);
    const before = known.journals.get(item);
    const journal = await grownJournal(record, key, before);
    if (journal === before || journal.entries.length === 0) continue;
    known.journals.set(item, journal);
    hasGrown = true;
  }
  return hasGrown;
}

/** In canonical order, an item's findings after its calls. */
function stepsOf(record: RunRecord, journals: readonly ItemJournal[], numbered: boolean): Step[] {
  const items = new Map<string, (TracedCall | Finding)[]>();
  const calls = tracedCalls(record.spec, journals);
  for (const source of [...calls, ...findingsOf(record.spec, journals)]) {
    const item = itemName(source.journal);
    const found = items.get(item);
    if (found === undefined) items.set(item, [source]);
    else found.push(source);
  }
  let number = 0;
  let tokensSoFar = 0;
  return [...items.values()].flat().map((source) => {
    if (isCanonical(source)) number += 1;
    const summary = summaryOf(source, record, numbered && isCanonical(source) ? number : null);
    // What was recorded before is not charged again.
    if (!summary.reused) tokensSoFar += summary.tokens ?? 0;
    return { source, summary: { ...summary, tokensSoFar } };
  });
}

export function isNumbered(step: Step): step is Step<CanonicalCall> {
  return isCanonical(step.source);
}

function isCanonical(source: TracedCall | Finding): source is CanonicalCall {
  return "canonical" in source && source.canonical;
}

/** Of an error in the list: the step itself has all of it. */
const errorChars = 300;

function summaryOf(source: TracedCall | Finding, record: RunRecord, number: number | null): StepSummary {
  const row = lightRow(source);
  const { entry, journal } = source;
  const recorder = journal.uid ?? record.recorder;
  const isOwn = recorder === record.uid;
  return {
    id: `${row.node}:${entry.index}${isOwn ? "" : `@${recorder}`}`,
    number,
    node: row.node,
    kind: row.kind,
    name: row.name,
    state: row.state,
    path: row.path,
    attempt: row.attempt,
    startedAt: row.started_at,
    completedAt: row.timestamp,
    tokens: row.token_usage?.counted.total ?? null,
    tokensSoFar: 0,
    error: row.error === null ? null : `${row.error.class}: ${row.error.message}`.slice(0, errorChars),
    reused: !isOwn || (entry.type === "step" && entry.from !== undefined),
  };
}

/** Without the bodies: the digests of a request would have to be put together from all earlier ones. */
function lightRow(source: TracedCall | Finding): TraceRow {
  const options = { uid: "", body: () => undefined, numbered: false };
  if (!("canonical" in source)) return single(traceRowsWithFindings([source.journal], [], [source], options));
  return single(traceRows([{ ...source, entry: { ...source.entry, input: { body: "" }, output: null } }], options));
}

async function rowOf(
  record: RunRecord,
  { source, summary }: Step,
  shown: (digests: readonly string[]) => readonly string[],
): Promise<TraceRow> {
  if (!("canonical" in source)) return { ...lightRow(source), execution_id: record.uid };
  const bodies = await readBodies(record, shown(bodiesOf(source)));
  const options = { uid: record.uid, body: (digest: string) => bodies.get(digest), numbered: false };
  return { ...single(traceRows([source], options)), step_number: summary.number };
}

function single([row]: readonly TraceRow[]): TraceRow {
  if (row === undefined) throw new Error("a step gives one row");
  return row;
}

function matcher({ node, text }: StepRange): (step: Step) => boolean {
  const wanted = text?.toLowerCase();
  return ({ summary, source }) => {
    if (node !== undefined && source.journal.node !== node) return false;
    if (wanted === undefined || wanted === "") return true;
    return [summary.node, summary.name, summary.state, summary.kind, summary.error ?? ""].some((each) =>
      each.toLowerCase().includes(wanted),
    );
  };
}

/** From the first start to the last end of what this run did itself. */
function spanOf(all: readonly Step[]): Pick<StepPage, "startedAt" | "completedAt"> {
  const own = all.filter(({ summary }) => !summary.reused);
  const steps = own.length > 0 ? own : all;
  let [startedAt, completedAt] = [steps[0]?.summary.startedAt, steps[0]?.summary.completedAt];
  for (const { summary } of steps) {
    if (startedAt === undefined || summary.startedAt < startedAt) startedAt = summary.startedAt;
    if (completedAt === undefined || summary.completedAt > completedAt) completedAt = summary.completedAt;
  }
  return { startedAt, completedAt };
}
