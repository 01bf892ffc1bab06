/** oao import */
import type { LocalIndex } from "../../adapters/local/local-index.ts";
import type { LocalRun } from "../../adapters/local/local-run.ts";
import { RunLock } from "../../adapters/local/run-lock.ts";
import { systemClock } from "../../adapters/clock/system-clock.ts";
import { execution as executionSchema } from "../../api/execution.ts";
import { type CliExitCode, cliExitCodes } from "../../api/exit-codes.ts";
import { phases } from "../../api/status.ts";
import type { NodeKey, StoredBody, StoredEntry } from "../../core/protocol/types.ts";
import type { RestoredFigures } from "../../core/protocol/restore.ts";
import { readEntry } from "../../core/steps/chain.ts";
import type { Finished, JournalEntry } from "../../core/steps/format.ts";
import { isByHost } from "../../core/trace/journal.ts";
import type { RecordedExecution } from "../../core/trace/record-part.ts";
import type { RecordReport } from "../../core/trace/verify.ts";
import { readRecord } from "../../host/journals.ts";
import type { ObjectKey } from "../../ports/cluster.ts";
import type { JournalStore } from "../../ports/store.ts";
import { bundleParts, checkBundle, tampered } from "../bundles.ts";
import { CliError } from "../errors.ts";
import { openIndex } from "../home.ts";
import { contentDropped } from "../outcome.ts";
import { nameArguments } from "../render/run-tables.ts";
import { checkName } from "../run-manifest.ts";
import { missingRun } from "../records.ts";
import { fileStoreUrl, givenRedis, mayHaveJournal, openRunStore } from "../store.ts";
import type { Terminal } from "../terminal.ts";

export interface ImportFlags {
  readonly as?: string | undefined;
  readonly namespace?: string | undefined;
}

/**
 * Checked as a whole before anything is written; the run is there once all of its record is. A repeat is harmless. A run whose journal's
 * time here is over is brought back.
 */
export async function importRun(path: string, flags: ImportFlags, terminal: Terminal): Promise<CliExitCode> {
  const { report, problems } = await checkBundle(path);
  if (report === undefined || problems.length > 0) throw tampered(path, problems);
  const { execution } = report;
  checkExecution(execution, path);
  const key = keyOf(execution, flags);
  const index = await openIndex(terminal);
  try {
    const here = runHere(index, key, execution.metadata.uid);
    const held = here === undefined || (await isJournalGone(here, terminal)) ? undefined : here;
    if (held !== undefined) mustHaveName(held, key, flags);
    else if (here !== undefined) mustBeSameRecord(here, report, path);
    if (held === undefined) await restore(path, report, key, here, index, terminal);
    const what = held === undefined ? "imported as" : "is here already:";
    terminal.err(`${execution.metadata.name} ${what} ${key.namespace}/${key.name} (${execution.status.phase})\n`);
    terminal.err(`its steps: oao trace ${nameArguments({ key })}\n`);
    if (report.content === "DigestOnly") terminal.err(`${contentDropped}\n`);
  } finally {
    index.close();
  }
  return cliExitCodes.succeeded;
}

function keyOf({ metadata }: RecordedExecution, { as, namespace }: ImportFlags): ObjectKey {
  return { namespace: namespace ?? metadata.namespace, name: checkName("--as", as ?? metadata.name) };
}

/** A bundle may come from anywhere, and a list shows it beside other runs (S1): what readers rely on is checked. */
function checkExecution(execution: RecordedExecution, path: string): void {
  const { status } = execution;
  const isStatus =
    phases.includes(status.phase) &&
    typeof status.progress === "string" &&
    Array.isArray(status.conditions) &&
    status.conditions.every((each) => [each?.type, each?.status, each?.reason, each?.message].every(isText)) &&
    status.nodes.every((row) => isText(row?.name) && isText(row.state)) &&
    Object.values(status.usage ?? {}).every((figure) => typeof figure === "number");
  const parsed = executionSchema.safeParse(execution);
  if (parsed.success && isStatus && Number.isFinite(Date.parse(execution.metadata.creationTimestamp))) return;
  const [issue] = parsed.error?.issues ?? [];
  const where = issue === undefined ? "its status" : issue.path.join(".");
  throw new CliError(
    `${path} holds no Execution of this version: ${where}${issue === undefined ? "" : `: ${issue.message}`}`,
  );
}

function isText(value: unknown): boolean {
  return typeof value === "string";
}

/** Throws CliError where the name is another run's. */
function runHere(index: LocalIndex, key: ObjectKey, uid: string): LocalRun | undefined {
  const named = index.get(key);
  if (named !== undefined && named.uid !== uid) {
    throw new CliError(`there is another Execution ${key.namespace}/${key.name} here`, [
      `look at it: oao get ${nameArguments(named)}`,
      "or give the bundle's another name: --as NAME",
    ]);
  }
  return named ?? index.byUid(uid);
}

function mustHaveName({ key: { namespace, name } }: LocalRun, key: ObjectKey, { as }: ImportFlags): void {
  if (namespace === key.namespace && name === key.name) return;
  const hint = as === undefined ? [] : ["a run has one name in a folder"];
  throw new CliError(`this run is here as ${namespace}/${name} already`, hint);
}

/** A server that does not answer has not said that it is. Throws CliError. */
async function isJournalGone(run: LocalRun, terminal: Terminal): Promise<boolean> {
  if (!mayHaveJournal(run)) return true;
  const { namespace, name } = run.key;
  const store = await openRunStore(run, givenRedis(run, undefined, terminal.env)).catch((error: unknown) => {
    if (!(error instanceof CliError)) throw error;
    throw new CliError(
      `${namespace}/${name} is here, and whether its journal still is cannot be seen: ${error.message}`,
      [
        "name its server, with the password: OAO_REDIS_URL=redis://:PASSWORD@HOST:PORT oao import FILE",
        "or put it into another folder: OAO_HOME=FOLDER oao import FILE",
      ],
      error.exitCode,
    );
  });
  try {
    return (await missingRun(await readRecord(store, run), store)) !== undefined;
  } finally {
    await store.close();
  }
}

/** What is brought back is what is missing. Throws CliError for another record of the same run. */
function mustBeSameRecord({ key, status }: LocalRun, { execution }: RecordReport, path: string): void {
  const given = execution.status;
  const differing = (["journalHead", "traceHash", "executionHash"] as const).find(
    (each) => status?.[each] !== given[each],
  );
  if (differing === undefined) return;
  throw new CliError(
    `${path} is not the record that ${key.namespace}/${key.name} has lost: its ${differing} is ${given[differing] ?? "none"}, and here it is ${status?.[differing] ?? "none"}`,
    ["look at it in another folder: OAO_HOME=FOLDER oao import FILE"],
  );
}

async function restore(
  path: string,
  { execution }: RecordReport,
  key: ObjectKey,
  before: LocalRun | undefined,
  index: LocalIndex,
  terminal: Terminal,
): Promise<void> {
  const { uid, creationTimestamp, generation } = execution.metadata;
  const lock = RunLock.take(index.home, uid);
  if (lock === undefined) throw new CliError(`another process works on run ${uid} in ${index.home}: try again`);
  const { openStore } = await import("../../adapters/store/open-store.ts");
  const url = fileStoreUrl(index.home);
  const store = await openStore(url, systemClock);
  try {
    await restoreParts(path, uid, store);
    const { status, ...object } = execution;
    if (before !== undefined) index.remove(before);
    index.restore({
      key,
      uid,
      generation,
      createdAtMs: Date.parse(creationTimestamp),
      object: { ...object, metadata: { ...object.metadata, ...key } },
      status,
      place: { baseDir: terminal.cwd, store: url },
    });
  } finally {
    await store.close();
    lock.release();
  }
}

const entriesAtOnce = 512;
const bodiesAtOnce = 64;
const bodyUnitsAtOnce = 4_000_000;

/** The file is read again and checked again: it may be another one by now. */
async function restoreParts(path: string, uid: string, store: JournalStore): Promise<void> {
  let item: RestoringItem | undefined;
  let bodies: StoredBody[] = [];
  let units = 0;
  for await (const { part } of bundleParts(path)) {
    if (part.kind === "item") {
      await item?.flush();
      item = new RestoringItem(part.run ?? uid, part.key, store);
    }
    if (part.kind === "entry") await item?.add(part.hash, part.bytes);
    if (part.kind !== "body") continue;
    bodies.push(part.body);
    units += part.body.bytes.length;
    if (bodies.length < bodiesAtOnce && units < bodyUnitsAtOnce) continue;
    await store.putBodies(uid, bodies);
    [bodies, units] = [[], 0];
  }
  await item?.flush();
  await store.putBodies(uid, bodies);
}

class RestoringItem {
  readonly #uid: string;
  readonly #key: NodeKey;
  readonly #store: JournalStore;
  #figures: RestoredFigures = { attempt: 0, try: 0, steps: 0, finished: undefined };
  #length = 0;
  #waiting: StoredEntry[] = [];

  constructor(uid: string, key: NodeKey, store: JournalStore) {
    this.#uid = uid;
    this.#key = key;
    this.#store = store;
  }

  async add(hash: string, bytes: string): Promise<void> {
    const { prevHash } = JSON.parse(bytes) as { prevHash: string };
    const stored = { index: this.#length, prevHash, hash, bytes };
    this.#figures = figuresAfter(this.#figures, readEntry(stored));
    this.#length += 1;
    this.#waiting.push(stored);
    if (this.#waiting.length >= entriesAtOnce) await this.flush();
  }

  async flush(): Promise<void> {
    if (!(await this.#isHere())) await this.#store.restoreEntries(this.#uid, this.#key, this.#waiting, this.#figures);
    this.#waiting = [];
  }

  /** A run that this one reuses steps of may have been made here. */
  async #isHere(): Promise<boolean> {
    const [first] = this.#waiting;
    if (first === undefined) return true;
    const { execution, items } = await this.#store.view(this.#uid, [this.#key]);
    // It took them over, and makes them of the same record as the bundle has.
    if (execution !== undefined && items[0] === undefined && isByHost({ entries: this.#waiting })) return true;
    const held = await this.#store.entries(this.#uid, this.#key, first.index, this.#waiting.length);
    return held.length === this.#waiting.length && held.every(({ hash }, place) => hash === this.#waiting[place]?.hash);
  }
}

function figuresAfter(before: RestoredFigures, entry: JournalEntry): RestoredFigures {
  const isNewTry = entry.try > before.try;
  return {
    attempt: Math.max(before.attempt, entry.attempt),
    try: Math.max(before.try, entry.try),
    steps: stepsAfter(isNewTry ? 0 : before.steps, entry),
    finished: entry.type === "finish" ? JSON.stringify(finishedOf(entry)) : isNewTry ? undefined : before.finished,
  };
}

/** As the protocol counts them: what a try reuses of another run's record comes first, and each attempt at it says so again. */
function stepsAfter(before: number, entry: JournalEntry): number {
  if (entry.type === "start") return Math.max(before, entry.reuse?.steps ?? 0);
  return before + (entry.type === "step" ? 1 : 0);
}

function finishedOf({ outcome, output, error }: Extract<JournalEntry, { type: "finish" }>): Finished {
  return { outcome, output: output?.body ?? null, error };
}
