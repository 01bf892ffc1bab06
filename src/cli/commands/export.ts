/** oao export */
import { open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { type CliExitCode, cliExitCodes } from "../../api/exit-codes.ts";
import { BundleWriter } from "../../core/trace/bundle.ts";
import { CliError } from "../errors.ts";
import { contentDropped } from "../outcome.ts";
import { checkRecord, mustBeRecorded, type NamedRecord, type RecordFlags, withRecord } from "../records.ts";
import type { Terminal } from "../terminal.ts";

export interface ExportFlags extends RecordFlags {
  readonly outputFile?: string | undefined;
}

/** A record that does not hold is not exported: its bundle gets no last line, and a file is not left behind. */
export async function exportRun(given: string, flags: ExportFlags, terminal: Terminal): Promise<CliExitCode> {
  return withRecord(given, flags, terminal, async (named) => {
    mustBeRecorded(named);
    const { outputFile } = flags;
    if (outputFile === undefined) await writeBundle(named, terminal.write, terminal);
    else await writeFile(outputFile, (write) => writeBundle(named, write, terminal));
    return cliExitCodes.succeeded;
  });
}

type Write = (text: string) => Promise<void>;

async function writeBundle(named: NamedRecord, write: Write, terminal: Terminal): Promise<void> {
  const bundle = new BundleWriter();
  const report = await checkRecord(named, (part) => write(bundle.line(part)));
  await write(bundle.end());
  terminal.err(
    `${report.steps} steps, ${report.entries} entries, ${report.bodies} bodies; traceHash ${report.traceHash}\n`,
  );
  if (report.content === "DigestOnly") terminal.err(`${contentDropped}\n`);
}

/** Lines are written together. UTF-16 units. */
const writtenAtOnce = 256 * 1024;

/** There is never half a bundle under its name. */
async function writeFile(path: string, work: (write: Write) => Promise<void>): Promise<void> {
  const partial = join(dirname(path), `.${basename(path)}.${process.pid}.partial`);
  const file = await open(partial, "wx", 0o600).catch((error: unknown) => {
    throw new CliError(`${path} cannot be written: ${(error as Error).message}`);
  });
  let waiting = "";
  try {
    await work(async (text) => {
      waiting += text;
      if (waiting.length < writtenAtOnce) return;
      await file.writeFile(waiting);
      waiting = "";
    });
    await file.writeFile(waiting);
    await file.sync();
    await file.close();
    await rename(partial, path);
  } catch (error) {
    await file.close().catch(() => undefined);
    await rm(partial, { force: true });
    throw error;
  }
}
