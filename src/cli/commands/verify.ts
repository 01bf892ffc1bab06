/** oao verify */
import type { PlaceFlags } from "../cluster/place.ts";
import { type CliExitCode, cliExitCodes } from "../../api/exit-codes.ts";
import type { RecordReport } from "../../core/trace/verify.ts";
import { CliError } from "../errors.ts";
import { contentDropped } from "../outcome.ts";
import { checkRecord, mustBeRecorded, type NamedRecord, withRecord } from "../records.ts";
import { rerun, type Rerun } from "../rerun.ts";
import { checkFormat, structured } from "../render/output.ts";
import { oneLine } from "../render/style.ts";
import type { Terminal } from "../terminal.ts";

export interface VerifyFlags extends PlaceFlags {
  readonly output?: string | undefined;
  /** --no-replay */
  readonly replay?: boolean | undefined;
  readonly file?: string | undefined;
  readonly times?: number | undefined;
}

/** First that nothing was changed since it was recorded, then that it goes the same way here and now. */
export async function verify(given: string, flags: VerifyFlags, terminal: Terminal): Promise<CliExitCode> {
  const output = checkFormat(flags.output, ["table", "json", "yaml"]) ?? "table";
  if (flags.replay === false) mustNotAskForReplay(flags, "--no-replay leaves out the replay", "leave --no-replay out");
  return withRecord(given, flags, terminal, async (named) => {
    mustBeRecorded(named);
    const report = named.bundle?.report ?? (await checkRecord(named));
    if (report.content === "DigestOnly")
      mustNotAskForReplay(
        flags,
        `${named.name} has no answers to replay: its policy let it record digests only (recording.content: DigestOnly)`,
        `check the record alone: oao verify ${given}`,
      );
    const isReplayed = flags.replay !== false && report.content !== "DigestOnly";
    const { file, times } = flags;
    const again = isReplayed ? await rerun({ named, file, times }, terminal) : undefined;
    if (output === "table") terminal.out(`${reportText(named, report)}${rerunText(again, flags)}`);
    else terminal.out(await structured({ ...reportObject(report), replay: again ?? null }, output));
    if (report.content === "DigestOnly") terminal.err(`${contentDropped}\n`);
    return again === undefined || again.isVerified ? cliExitCodes.succeeded : cliExitCodes.divergence;
  });
}

/** What a replay was to show is never passed without one: `oao verify --file` may be all that stands before a merge. */
function mustNotAskForReplay({ file, times }: VerifyFlags, why: string, next: string): void {
  const asked = file === undefined ? times && `--times ${times}` : `--file ${file}`;
  if (asked !== undefined) throw new CliError(`${asked} asks for a replay, and there is none: ${why}`, [next]);
}

function reportText({ name }: NamedRecord, report: RecordReport): string {
  const { metadata, status } = report.execution;
  return [
    `${name} is as it was recorded`,
    oneLine(
      `  run          ${metadata.namespace}/${metadata.name}, uid ${metadata.uid}, ${status.phase} ${status.completedAt ?? ""}`,
    ),
    `  chained      ${report.entries} entries of ${report.items} nodes and items, ${report.steps} steps`,
    `  bodies       ${report.bodies}, each with its digest`,
    `  journalHead  ${report.journalHead}${status.journalHead === undefined ? " (not in its status)" : ""}`,
    `  traceHash    ${report.traceHash}${status.traceHash === undefined ? " (not in its status)" : ""}`,
    "",
  ].join("\n");
}

function rerunText(again: Rerun | undefined, { file }: VerifyFlags): string {
  if (again === undefined) return "  replay       not made\n";
  const what = file === undefined ? "replayed here without a call" : `replayed here with ${file}, without a call`;
  return again.isVerified
    ? `  replay       ${what}: ${again.message}\n`
    : `  replay       ${what}: it goes another way. ${again.message}\n`;
}

function reportObject({ execution, ...report }: RecordReport): object {
  const { name, namespace, uid } = execution.metadata;
  return { namespace, name, uid, phase: execution.status.phase, ...report };
}
