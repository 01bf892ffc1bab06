/** oao verify */
import { type CliExitCode, cliExitCodes } from "../../api/exit-codes.ts";
import type { RecordReport } from "../../core/trace/verify.ts";
import { CliError } from "../errors.ts";
import { contentDropped, hasEnded } from "../outcome.ts";
import { checkRecord, type NamedRecord, type RecordFlags, withRecord } from "../records.ts";
import { checkFormat, structured } from "../render/output.ts";
import type { Terminal } from "../terminal.ts";

export interface VerifyFlags extends RecordFlags {
  readonly output?: string | undefined;
}

/** Whatever else is to be shown of a record that holds (a strict replay of it here) comes after the check, with the record open. */
export async function verify(given: string, flags: VerifyFlags, terminal: Terminal): Promise<CliExitCode> {
  const output = checkFormat(flags.output, ["table", "json", "yaml"]) ?? "table";
  return withRecord(given, flags, terminal, async (named) => {
    mustBeRecorded(named);
    const report = named.report ?? (await checkRecord(named));
    if (output === "table") terminal.out(reportText(named, report));
    else terminal.out(await structured(reportObject(report), output));
    if (report.content === "DigestOnly") terminal.err(`${contentDropped}\n`);
    return cliExitCodes.succeeded;
  });
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

function reportText({ name }: NamedRecord, report: RecordReport): string {
  const { metadata, status } = report.execution;
  return [
    `${name} is as it was recorded`,
    `  run          ${metadata.namespace}/${metadata.name}, uid ${metadata.uid}, ${status.phase} ${status.completedAt ?? ""}`,
    `  chained      ${report.entries} entries of ${report.items} nodes and items, ${report.steps} steps`,
    `  bodies       ${report.bodies}, each with its digest`,
    `  journalHead  ${report.journalHead}${status.journalHead === undefined ? " (not in its status)" : ""}`,
    `  traceHash    ${report.traceHash}${status.traceHash === undefined ? " (not in its status)" : ""}`,
    "",
  ].join("\n");
}

function reportObject({ execution, ...report }: RecordReport): object {
  const { name, namespace, uid } = execution.metadata;
  return { namespace, name, uid, phase: execution.status.phase, ...report };
}
