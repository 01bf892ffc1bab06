/** oao export */
import type { PlaceFlags } from "../cluster/place.ts";
import { open, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { type CliExitCode, cliExitCodes } from "../../api/exit-codes.ts";
import { BundleWriter } from "../../core/trace/bundle.ts";
import type { RecordReport } from "../../core/trace/verify.ts";
import { CliError } from "../errors.ts";
import { contentDropped } from "../outcome.ts";
import { checkRecord, mustBeRecorded, type NamedRecord, withRecord } from "../records.ts";
import type { Terminal } from "../terminal.ts";

export interface ExportFlags extends PlaceFlags {
  readonly outputFile?: string | undefined;
}

/** A record that does not hold is not exported: its bundle gets no last line, and a file is not left behind. */
export async function exportRun(given: string, flags: ExportFlags, terminal: Terminal): Promise<CliExitCode> {
  return withRecord(given, flags, terminal, async (named) => {
    mustBeRecorded(named);
    const { outputFile } = flags;
    // What was written to a stream is not taken back, so all of it is looked at before.
    if (outputFile === undefined && named.bundle === undefined) await checkRecord(named);
    const report =
      outputFile === undefined ? await writeBundle(named, terminal.write) : await exportTo(named, outputFile);
    terminal.err(
      `${report.steps} steps, ${report.entries} entries, ${report.bodies} bodies; traceHash ${report.traceHash}\n`,
    );
    if (report.content === "DigestOnly") terminal.err(`${contentDropped}\n`);
    return cliExitCodes.succeeded;
  });
}

export function exportTo(named: NamedRecord, path: string): Promise<RecordReport> {
  return writeFile(path, (write) => writeBundle(named, write));
}

type Write = (text: string) => Promise<void>;

async function writeBundle(named: NamedRecord, write: Write): Promise<RecordReport> {
  const bundle = new BundleWriter();
  const report = await checkRecord(named, (part) => write(bundle.line(part)));
  await write(bundle.end());
  return report;
}

/** Lines are written together. UTF-16 units. */
const writtenAtOnce = 256 * 1024;

/** There is never half a bundle under its name. */
async function writeFile<T>(path: string, work: (write: Write) => Promise<T>): Promise<T> {
  await mustBeFile(path);
  const partial = join(dirname(path), `.${basename(path)}.${process.pid}.partial`);
  const file = await open(partial, "wx", 0o600).catch((error: unknown) => {
    throw notWritten(path, error);
  });
  const written = (writing: Promise<void>) =>
    writing.catch((error: unknown) => {
      throw notWritten(path, error);
    });
  let waiting = "";
  try {
    const done = await work(async (text) => {
      waiting += text;
      if (waiting.length < writtenAtOnce) return;
      await written(file.writeFile(waiting));
      waiting = "";
    });
    await written(file.writeFile(waiting));
    await written(file.sync());
    await file.close();
    await written(rename(partial, path));
    return done;
  } catch (error) {
    await file.close().catch(() => undefined);
    await rm(partial, { force: true });
    throw error;
  }
}

/** What stands at the path is replaced as a whole, and a pipe or device would be gone. */
async function mustBeFile(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined || found.isFile()) return;
  if (found.isDirectory()) throw notWritten(path, new Error("it is a folder"));
  throw new CliError(`${path} is no file`, ["to a pipe or device: oao export NAME > PATH"]);
}

function notWritten(path: string, error: unknown): CliError {
  return new CliError(`${path} cannot be written: ${(error as Error).message}`, [
    "give another file, with room for it: -O FILE",
  ]);
}
