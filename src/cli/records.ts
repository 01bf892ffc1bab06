/** The record of a run by its name, or out of a bundle. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LocalRun } from "../adapters/local/local-run.ts";
import { emptyTraceHash } from "../core/trace/canonical.ts";
import type { RecordPart } from "../core/trace/record-part.ts";
import { RecordCheck, type RecordReport } from "../core/trace/verify.ts";
import { readRecord, type RunRecord } from "../host/journals.ts";
import { RecordChanged } from "../host/record-changed.ts";
import { recordParts } from "../host/record-parts.ts";
import { missingParent } from "../host/snapshots.ts";
import type { StoredExecution } from "../ports/cluster.ts";
import type { JournalStore } from "../ports/store.ts";
import { type OpenBundle, openBundle, tampered } from "./bundles.ts";
import type { ClusterConnection } from "./cluster/connect.ts";
import type { PlaceFlags } from "./cluster/place.ts";
import { withRun } from "./cluster/locate.ts";
import { isBundlePath } from "./file-names.ts";
import { CliError } from "./errors.ts";
import { hasEnded } from "./outcome.ts";
import { givenRedis, openRunStore } from "./store.ts";
import type { Terminal } from "./terminal.ts";

export interface NamedRecord {
  readonly record: RunRecord;
  /** As a person would name it. */
  readonly name: string;
  /** Where the record is a file, which is only opened when it holds. */
  readonly bundle?: { readonly path: string; readonly report: RecordReport };
}

/**
 * `given`: a run's name, or the path of a bundle (which is checked first). A run of a cluster comes as the bundle that its operator
 * exports, unless `there` reads it otherwise. Throws CliError: none, gone, tampered with.
 */
export async function withRecord<T>(
  given: string,
  flags: PlaceFlags,
  terminal: Terminal,
  work: (named: NamedRecord) => Promise<T>,
  there = (cluster: ClusterConnection, run: StoredExecution): Promise<T> =>
    withExported(cluster, run, flags, terminal, work),
): Promise<T> {
  if (isBundlePath(given)) {
    const bundle = await openBundle(given);
    try {
      return await work({ record: bundle.record, name: given, bundle: { path: given, report: bundle.report } });
    } finally {
      await bundle.close();
    }
  }
  return withRun(given, flags, terminal, {
    local: (_index, run) => withLocalRecord(run, flags, terminal, work),
    cluster: there,
  });
}

export async function withLocalRecord<T>(
  run: LocalRun,
  flags: PlaceFlags,
  terminal: Terminal,
  work: (named: NamedRecord) => Promise<T>,
): Promise<T> {
  const store = await openRunStore(run, givenRedis(run, flags.redis, terminal.env));
  try {
    const record = await readRecord(store, run);
    const missing = await missingRun(record, store);
    if (missing !== undefined) throw journalGone(run, missing);
    return await work({ record, name: run.key.name });
  } finally {
    await store.close();
  }
}

/** Throws CliError for what has no record of its own that could be checked or exported. */
export function mustBeRecorded({ record, name }: NamedRecord): void {
  if (record.recorder !== record.uid) {
    const parent = record.snapshot?.replay?.parent.name ?? "the run that it replays";
    throw new CliError(`${name} is a Strict replay: it made nothing, and all that it read is the record of ${parent}`, [
      `check that one: oao verify ${parent}`,
    ]);
  }
  if (hasEnded(record.status)) return;
  throw new CliError(`${name} has not ended: what is recorded of it still grows`, [`watch it: oao tree ${name}`]);
}

/** `look` sees each part. Throws CliError with exit code 8, naming what is not as it was recorded. */
export async function checkRecord(
  { record, name }: NamedRecord,
  look: (part: RecordPart) => Promise<void> = async () => undefined,
): Promise<RecordReport> {
  const check = new RecordCheck();
  try {
    for await (const part of recordParts(record)) {
      check.part(part);
      await look(part);
    }
  } catch (error) {
    if (!(error instanceof RecordChanged)) throw error;
    throw tampered(name, [...check.soFar, { where: error.what, why: error.why }]);
  }
  const report = check.end();
  if (report.problems.length > 0) throw tampered(name, report.problems);
  return report;
}

/** `whose`: as `missingRun` names it. */
export function journalGone({ key: { namespace, name } }: LocalRun, whose: string): CliError {
  const what = whose === name ? `${namespace}/${name}` : `${namespace}/${whose}, which ${name} replays,`;
  return new CliError(
    `the journal of ${what} is gone: its retention (spec.journalRetentionSeconds) is over, or its file was removed`,
    ["a bundle of it brings it back: oao import FILE"],
  );
}

/**
 * The run of whose journal nothing at all is left: this one, which has ended, or the one that it replays and cannot be read without.
 * Undefined = it is there, or was tampered with: that leaves something.
 */
export async function missingRun(record: RunRecord, store: JournalStore): Promise<string | undefined> {
  const { uid, object, recorder, status, snapshot, keys } = record;
  const { name = "" } = object.metadata;
  if (status?.completedAt === undefined || status.snapshot === undefined) return undefined;
  if (snapshot === undefined) {
    const parent = await missingParent(store, uid, status.snapshot);
    if (parent !== undefined) return parent;
  } else if (recorder === uid || (status.traceHash ?? emptyTraceHash) === emptyTraceHash) {
    // A Strict replay's own journal has the snapshot; what it shows is its parent's, of which a run without a step leaves nothing to miss.
    return undefined;
  }
  for (const key of keys) if (!(await record.entries(key).next()).done) return undefined;
  return recorder === uid ? name : (snapshot?.replay?.parent.name ?? name);
}

/** Of a cluster's run: what its operator exports, checked as every bundle is. */
async function withExported<T>(
  cluster: ClusterConnection,
  run: StoredExecution,
  flags: PlaceFlags,
  terminal: Terminal,
  work: (named: NamedRecord) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "oao-"));
  try {
    const path = join(folder, `${run.key.name}.oao.jsonl`);
    const bundle = await openExport(cluster, run, path, flags, terminal);
    try {
      return await work({ record: bundle.record, name: run.key.name, bundle: { path, report: bundle.report } });
    } finally {
      await bundle.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Writes to `path` what the operator exports of the run, and opens it. Throws CliError: it cannot be had, or does not hold. */
export async function openExport(
  cluster: ClusterConnection,
  { key }: StoredExecution,
  path: string,
  flags: PlaceFlags,
  terminal: Terminal,
): Promise<OpenBundle> {
  const { runApi } = await import("./cluster/api.ts");
  await writeFile(path, runApi(cluster, key, flags, terminal).bytes("export"), { mode: 0o600 });
  return openBundle(path);
}
