/**
 * Steps of local runs. Journals only grow, so what was read of a run is kept and only what is new is read again;
 * of a few runs at a time. Every hash chain is checked: what was changed after it was recorded is never shown as a trace.
 */
import type { LocalRun } from "../../adapters/local/local-index.ts";
import { itemName } from "../../core/protocol/names.ts";
import type { StoredEntry } from "../../core/protocol/types.ts";
import {
  type Finding,
  findingsOf,
  inOrder,
  type ItemJournal,
  tracedCalls,
  type TracedCall,
  verifyChain,
} from "../../core/trace/journal.ts";
import { bodiesOf, type TraceRow, traceRowsWithFindings } from "../../core/trace/rows.ts";
import type { JournalStore } from "../../ports/store.ts";
import type { StepDetail, StepPage, StepSummary } from "../../ui/wire.ts";
import { CliError } from "../errors.ts";
import { changed, isContentDropped, journalKeys, readBodies, readEntries } from "../journals.ts";
import { hasEnded } from "../outcome.ts";
import type { StepRange } from "./run-source.ts";
import { trimmed } from "./trim.ts";

/** Runs whose journals are kept in memory: two to compare, and the ones looked at before. */
const runsKept = 4;

interface Known {
  readonly journals: Map<string, ItemJournal & { readonly entries: StoredEntry[] }>;
  /** Nothing more can be recorded. */
  complete: boolean;
  steps: readonly Step[] | undefined;
  numbered: boolean;
  /** Readings of one run follow each other. */
  last: Promise<unknown>;
}

/** A row of the timeline and what it was made of. */
interface Step {
  readonly summary: StepSummary;
  readonly source: TracedCall | Finding;
}

export class StepReader {
  readonly #known = new Map<string, Known>();

  async page(store: JournalStore, run: LocalRun, range: StepRange): Promise<StepPage> {
    const steps = await this.#read(store, run);
    const shown = steps.filter(matcher(range)).map(({ summary }) => summary);
    return {
      from: range.from,
      total: shown.length,
      steps: shown.slice(range.from, range.from + range.limit),
      ...spanOf(steps),
    };
  }

  async all(store: JournalStore, run: LocalRun): Promise<readonly StepSummary[]> {
    return (await this.#read(store, run)).map(({ summary }) => summary);
  }

  async step(store: JournalStore, run: LocalRun, id: string, whole: boolean): Promise<StepDetail> {
    const steps = await this.#read(store, run);
    const found = steps.find(({ summary }) => summary.id === id);
    if (found === undefined)
      throw new CliError(`${run.key.namespace}/${run.key.name} has no step ${JSON.stringify(id)}`, [
        "it may have been recorded anew: go back to the list of steps",
      ]);
    const row = await rowOf(store, run, found);
    return {
      summary: found.summary,
      row: whole ? row : trimmed(row),
      dropped: await isContentDropped(store, run),
    };
  }

  async #read(store: JournalStore, run: LocalRun): Promise<readonly Step[]> {
    const known = this.#take(run.uid);
    const reading = known.last.then(() => refresh(known, store, run));
    known.last = reading.catch(() => this.#known.delete(run.uid));
    return reading;
  }

  /** Of the latest runs. */
  #take(uid: string): Known {
    const known = this.#known.get(uid) ?? {
      journals: new Map(),
      complete: false,
      steps: undefined,
      numbered: false,
      last: Promise.resolve(),
    };
    this.#known.delete(uid);
    this.#known.set(uid, known);
    for (const old of [...this.#known.keys()].slice(0, -runsKept)) this.#known.delete(old);
    return known;
  }
}

async function refresh(known: Known, store: JournalStore, run: LocalRun): Promise<readonly Step[]> {
  if (!known.complete) {
    const ended = hasEnded(run.status);
    const grown = await grow(known, store, run);
    if (grown || known.steps === undefined || known.numbered !== ended) {
      known.steps = stepsOf(run, [...known.journals.values()], ended);
      known.numbered = ended;
    }
    known.complete = ended;
  }
  return known.steps ?? [];
}

/** Reads what is new. True = something was. */
async function grow(known: Known, store: JournalStore, run: LocalRun): Promise<boolean> {
  let grown = false;
  for (const key of journalKeys(run)) {
    const item = itemName(key);
    const before = known.journals.get(item)?.entries ?? [];
    let added = await readEntries(store, run.uid, key, before.length);
    if (added.length === 0) continue;
    // A store that was rolled back, and healed: what was read before may not be there any more.
    const follows = before.length === 0 || added[0]?.prevHash === before.at(-1)?.hash;
    if (!follows) added = await readEntries(store, run.uid, key, 0);
    const journal = { ...key, entries: [...(follows ? before : []), ...added] };
    const broken = verifyChain(run.uid, journal);
    if (broken !== undefined) throw changed(item, `entry ${broken.index}: ${broken.reason}`);
    known.journals.set(item, journal);
    grown = true;
  }
  return grown;
}

function stepsOf(run: LocalRun, journals: readonly ItemJournal[], numbered: boolean): Step[] {
  const { spec } = run.object;
  const calls = tracedCalls(spec, journals);
  const findings = findingsOf(spec, journals);
  const sources = new Map<ItemJournal, (TracedCall | Finding)[]>(inOrder(spec, journals).map((each) => [each, []]));
  for (const source of [...calls, ...findings]) sources.get(source.journal)?.push(source);
  let number = 0;
  let tokensSoFar = 0;
  return [...sources.values()].flat().map((source) => {
    if ("canonical" in source && source.canonical) number += 1;
    const summary = summaryOf(source, numbered && "canonical" in source && source.canonical ? number : null);
    tokensSoFar += summary.tokens ?? 0;
    return { source, summary: { ...summary, tokensSoFar } };
  });
}

function summaryOf(source: TracedCall | Finding, number: number | null): StepSummary {
  const [row] = rowsOf([source], "", () => undefined, true);
  if (row === undefined) throw new Error("a step gives one row");
  const { entry } = source;
  return {
    id: `${row.node}:${entry.index}`,
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
  };
}

/** Of an error in the list: the step itself has all of it. */
const errorChars = 300;

async function rowOf(store: JournalStore, run: LocalRun, { source, summary }: Step): Promise<TraceRow> {
  const bodies = "canonical" in source ? await readBodies(store, run.uid, bodiesOf(source)) : new Map<string, string>();
  const [row] = rowsOf([source], run.uid, (digest) => bodies.get(digest), false);
  if (row === undefined) throw new Error("a step gives one row");
  return { ...row, step_number: summary.number };
}

/** `light`: without the bodies, whose digests would have to be put together from earlier entries. */
function rowsOf(
  [source]: readonly [TracedCall | Finding],
  uid: string,
  body: (digest: string) => string | undefined,
  light: boolean,
): TraceRow[] {
  const options = { uid, body, numbered: false };
  if (!("canonical" in source)) return traceRowsWithFindings([source.journal], [], [source], options);
  const call = light ? { ...source, entry: { ...source.entry, input: { body: "" }, output: null } } : source;
  return traceRowsWithFindings([call.journal], [call], [], options);
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

function spanOf(steps: readonly Step[]): Pick<StepPage, "startedAt" | "completedAt"> {
  let [startedAt, completedAt] = [steps[0]?.summary.startedAt, steps[0]?.summary.completedAt];
  for (const { summary } of steps) {
    if (startedAt === undefined || summary.startedAt < startedAt) startedAt = summary.startedAt;
    if (completedAt === undefined || summary.completedAt > completedAt) completedAt = summary.completedAt;
  }
  return { startedAt, completedAt };
}
