/** Bundles as files: read line by line, so that a run of any size is checked with bounded memory. */
import { createReadStream } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { cliExitCodes } from "../api/exit-codes.ts";
import { itemKey, itemName } from "../core/protocol/names.ts";
import type { NodeKey, StoredEntry } from "../core/protocol/types.ts";
import { BundleError, BundleReader } from "../core/trace/bundle.ts";
import { shownSpec } from "../core/replay/spec.ts";
import type { Snapshot } from "../core/steps/format.ts";
import { type ItemJournal, reuseOf } from "../core/trace/journal.ts";
import type { RecordProblem } from "../core/trace/told.ts";
import { ChainCheck } from "../core/trace/chain-check.ts";
import type { RecordPart } from "../core/trace/record-part.ts";
import { RecordCheck, type RecordReport } from "../core/trace/verify.ts";
import type { RunRecord } from "../host/journals.ts";
import { CliError } from "./errors.ts";
import { checkBundleFile } from "./file-names.ts";
import { oneLine } from "./render/style.ts";

/** As long as a body of the largest recorded size may get when it is written as JSON. */
const lineBytesMax = 128 * 1024 * 1024;
const entriesPage = 512;

interface Line {
  /** With its line feed; without one only at the end of the file. */
  readonly bytes: Buffer;
  readonly offset: number;
}

async function* linesOf(path: string, start: number): AsyncGenerator<Line, void> {
  let rest: Buffer[] = [];
  let held = 0;
  let offset = start;
  for await (const chunk of createReadStream(path, { start, highWaterMark: 256 * 1024 }) as AsyncIterable<Buffer>) {
    let from = 0;
    for (let end = chunk.indexOf(0x0a); end >= 0; end = chunk.indexOf(0x0a, from)) {
      const bytes = Buffer.concat([...rest, chunk.subarray(from, end + 1)]);
      yield { bytes, offset };
      offset += bytes.length;
      [rest, held, from] = [[], 0, end + 1];
    }
    if (from < chunk.length) rest.push(chunk.subarray(from));
    held += chunk.length - from;
    if (held > lineBytesMax)
      throw new CliError(`${path} is no bundle: a line of it is longer than ${lineBytesMax} bytes`);
  }
  if (held > 0) yield { bytes: Buffer.concat(rest), offset };
}

interface PlacedPart {
  readonly part: RecordPart;
  readonly offset: number;
  readonly length: number;
}

/** Every part, and after the last one the bundle's own digest is known to hold. Throws BundleError. */
export async function* bundleParts(path: string): AsyncGenerator<PlacedPart, void> {
  const reader = new BundleReader();
  for await (const { bytes, offset } of linesOf(path, 0)) {
    const part = reader.read(bytes);
    if (part !== undefined) yield { part, offset, length: bytes.length };
  }
  reader.digest();
}

export interface CheckedBundle {
  /** Absent where the file ends, or cannot be read any more, before the record does. */
  readonly report: RecordReport | undefined;
  readonly snapshot: Snapshot | undefined;
  /** Empty = every line of it is as it was written. */
  readonly problems: readonly RecordProblem[];
}

/** `look` sees each part with its place. Throws CliError where there is no file. */
export async function checkBundle(
  path: string,
  look: (placed: PlacedPart) => void = () => undefined,
): Promise<CheckedBundle> {
  checkBundleFile(path);
  const check = new RecordCheck();
  let broken: BundleError | undefined;
  try {
    for await (const placed of bundleParts(path)) {
      check.part(placed.part);
      look(placed);
    }
  } catch (error) {
    if (!(error instanceof BundleError)) throw error;
    broken = error;
  }
  const told = broken === undefined ? [] : [{ where: `line ${broken.line}`, why: broken.why }];
  if (broken !== undefined && !broken.isLast)
    return { report: undefined, snapshot: undefined, problems: [...check.soFar, ...told] };
  const report = check.end();
  return { report, snapshot: check.snapshot, problems: [...report.problems, ...told] };
}

export function tampered(what: string, [first, ...others]: readonly RecordProblem[]): CliError {
  // A bundle may come from anywhere, and names in it are not yet known to be names.
  const text = ({ where, why }: RecordProblem) => oneLine(`${where}: ${why}`);
  // Nothing of it could be read: rather the wrong file than an edited one, and as little to be trusted.
  const hint = first?.where === "line 1" ? ["is it the right file? oao export NAME -O FILE writes a bundle"] : [];
  return new CliError(
    `${what} is not what was recorded: ${first === undefined ? "" : text(first)}`,
    [...others.map(text), ...hint],
    cliExitCodes.tampered,
  );
}

export interface OpenBundle {
  readonly record: RunRecord;
  readonly report: RecordReport;
  close(): Promise<void>;
}

/** Checked as a whole first. Throws CliError: no file, or tampered with. */
export async function openBundle(path: string): Promise<OpenBundle> {
  const items: Places = new Map();
  const keys: NodeKey[] = [];
  const bodies = new Map<string, { readonly offset: number; readonly length: number }>();
  const { report, snapshot, problems } = await checkBundle(path, ({ part, offset, length }) => {
    if (part.kind === "item") {
      if (part.run === undefined) keys.push(part.key);
      items.set(placeName(part.run, part.key), offset);
    }
    if (part.kind !== "body") return;
    bodies.set(part.body.digest, { offset, length });
  });
  if (report === undefined || problems.length > 0) throw tampered(path, problems);
  const { execution } = report;
  const file = await open(path);
  const { status, ...object } = execution;
  const { uid } = object.metadata;
  const linked = async (key: NodeKey, entries: readonly StoredEntry[], run = uid): Promise<ItemJournal> => {
    const reuse = reuseOf(entries);
    if (reuse === undefined) return { ...key, uid: run, entries };
    const origin: StoredEntry[] = [];
    for await (const page of entriesOf(path, reuse.uid, key, items.get(placeName(reuse.uid, key))))
      origin.push(...page);
    return { ...key, uid: run, entries, origin: await linked(key, origin, reuse.uid) };
  };
  const record: RunRecord = {
    uid,
    object,
    status,
    spec: snapshot?.spec ?? shownSpec(object, status),
    snapshot,
    keys,
    recorder: uid,
    linked,
    entries: (key, from) => after(entriesOf(path, uid, key, items.get(placeName(undefined, key))), from),
    bodies: (digests) => readBodies(file, bodies, digests),
  };
  return { record, report, close: () => file.close() };
}

type Places = Map<string, number>;

/** Where an item of this run, or of one that it reuses steps of, begins. */
function placeName(run: string | undefined, key: NodeKey): string {
  return `${run ?? ""}/${itemKey(key)}`;
}

async function* entriesOf(
  path: string,
  uid: string,
  key: NodeKey,
  start: number | undefined,
): AsyncGenerator<readonly StoredEntry[], void> {
  if (start === undefined) return;
  const chain = new ChainCheck(uid, key);
  let page: StoredEntry[] = [];
  let isItem = true;
  for await (const { bytes } of linesOf(path, start)) {
    const line = JSON.parse(bytes.toString("utf8")) as { type: string; hash: string; bytes: string };
    if (isItem) {
      isItem = false;
      continue;
    }
    if (line.type !== "entry") break;
    const stored = { index: chain.length, prevHash: chain.head, hash: line.hash, bytes: line.bytes };
    if (chain.next(stored) === undefined) throw changedMeanwhile(path, key);
    page.push(stored);
    if (page.length < entriesPage) continue;
    yield page;
    page = [];
  }
  if (page.length > 0) yield page;
}

async function* after(
  pages: AsyncIterable<readonly StoredEntry[]>,
  from = 0,
): AsyncGenerator<readonly StoredEntry[], void> {
  for await (const page of pages)
    if ((page.at(-1)?.index ?? -1) >= from) yield page.filter(({ index }) => index >= from);
}

function changedMeanwhile(path: string, key: NodeKey): CliError {
  return new CliError(`${path} was changed while it was read, at node ${itemName(key)}`, [], cliExitCodes.tampered);
}

async function readBodies(
  file: FileHandle,
  places: ReadonlyMap<string, { readonly offset: number; readonly length: number }>,
  digests: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for (const digest of digests) {
    const place = places.get(digest);
    if (place === undefined) continue;
    const { buffer } = await file.read(Buffer.alloc(place.length), 0, place.length, place.offset);
    found.set(digest, (JSON.parse(buffer.toString("utf8")) as { bytes: string }).bytes);
  }
  return found;
}
