/** oao replay NAME… --strict --policy FILE: what policies would have stopped of runs that are recorded. Nothing is run, called or stored. */
import type { PlaceFlags } from "../cluster/place.ts";
import { type CliExitCode, cliExitCodes } from "../../api/exit-codes.ts";
import { combinePolicies } from "../../core/policy/combine.ts";
import type { EffectivePolicy } from "../../core/policy/types.ts";
import { type FoundCall, type WhatIf, whatIf } from "../../core/policy/what-if.ts";
import { readJournals } from "../../host/journals.ts";
import { checkChains } from "../../host/record-changed.ts";
import { CliError } from "../errors.ts";
import { mustBeRecorded, type NamedRecord, withRecord } from "../records.ts";
import type { OutputFormat } from "../render/output.ts";
import { structured } from "../render/output.ts";
import { oneLine, type Paint, painter } from "../render/style.ts";
import { table } from "../render/table.ts";
import { readPolicies } from "../run-manifest.ts";
import type { Terminal } from "../terminal.ts";

export interface WhatIfFlags extends PlaceFlags {
  readonly policy?: readonly string[] | undefined;
}

interface Judged {
  readonly name: string;
  readonly record: NamedRecord["record"];
  readonly result: WhatIf;
}

/** `names`: of runs, or paths of bundles. Exit code 3 where one of them would have been stopped. */
export async function whatIfReplay(
  names: readonly string[],
  flags: WhatIfFlags,
  output: OutputFormat | undefined,
  terminal: Terminal,
): Promise<CliExitCode> {
  const policies = readPolicies(flags.policy, terminal);
  // A secret's pairing may be another policy's, so its absence in these says nothing.
  const policy = combinePolicies(
    policies.map((each) => ({ policy: each, role: "Ref" as const })),
    { requirePairing: false },
  );
  const judged: Judged[] = [];
  for (const name of new Set(names))
    judged.push(await withRecord(name, flags, terminal, (named) => judge(named, policy)));
  const sum = sumOf(judged.map(({ result }) => result));
  const shown = policies.map(({ metadata }) => metadata.name);
  if (output === "json" || output === "yaml")
    terminal.out(await structured({ policies: shown, runs: judged.map(runObject), sum }, output));
  else terminal.out(text(judged, sum, painter(terminal.colorOut)));
  return sum.stopped > 0 ? cliExitCodes.policyViolation : cliExitCodes.succeeded;
}

async function judge(named: NamedRecord, policy: EffectivePolicy): Promise<Judged> {
  mustBeRecorded(named);
  const { record, name } = named;
  if (record.snapshot === undefined)
    throw new CliError(`${name} was never started, so nothing of it is recorded`, ["see all runs: oao get"]);
  const journals = await readJournals(record);
  for (const journal of journals) checkChains(record.recorder, journal);
  return { name, record, result: whatIf(record.spec, journals, policy) };
}

function sumOf(results: readonly WhatIf[]) {
  const total = (of: (result: WhatIf) => number) => results.reduce((sum, result) => sum + of(result), 0);
  return {
    runs: results.length,
    stopped: results.filter(({ isStopped }) => isStopped).length,
    tokens_used: total(({ tokensUsed }) => tokensUsed),
    tokens_saved: total(({ tokensSaved }) => tokensSaved),
    calls_saved: total(({ callsSaved }) => callsSaved),
  };
}

function runObject({ record, result }: Judged): object {
  const { name, namespace } = record.object.metadata;
  return {
    namespace,
    name,
    execution_id: record.uid,
    phase: record.status?.phase,
    would_be_stopped: result.isStopped,
    found: result.calls.map(({ step, ...found }) => ({ step_number: step, ...found })),
    tokens_used: result.tokensUsed,
    tokens_saved: result.tokensSaved,
    calls_saved: result.callsSaved,
    unknown: result.unknown,
  };
}

function text(judged: readonly Judged[], sum: ReturnType<typeof sumOf>, paint: Paint): string {
  const parts = judged.map(({ name, result }) => runText(name, result, paint));
  const rows = judged.map(({ name, record, result }) => [
    oneLine(name),
    record.status?.phase ?? "",
    result.isStopped ? stopPlace(result) : "-",
    String(result.tokensUsed),
    String(result.tokensSaved),
    String(result.callsSaved),
  ]);
  if (judged.length > 1)
    rows.push([
      "SUM",
      "",
      `${sum.stopped} of ${sum.runs}`,
      String(sum.tokens_used),
      String(sum.tokens_saved),
      String(sum.calls_saved),
    ]);
  return [...parts, table(["RUN", "PHASE", "STOPPED", "TOKENS", "SAVED", "CALLS-SAVED"], rows)].join("\n");
}

/** Where the run would have ended: its first stop. */
function stopPlace({ calls }: WhatIf): string {
  const first = calls.find(({ effect }) => effect === "Stops");
  if (first === undefined) return "-";
  return first.step === null ? `node ${first.node}` : `step ${first.step} (${first.node})`;
}

function runText(name: string, { calls, unknown }: WhatIf, paint: Paint): string {
  const notes = unknown.map((why) => `  not known: ${oneLine(why)}\n`).join("");
  if (calls.length === 0) return `${oneLine(name)}: nothing would have been stopped\n${notes}`;
  return `${oneLine(name)}:\n${calls.map((call) => foundText(call, paint)).join("")}${notes}`;
}

const colours = { Stops: "red", After: "dim", Audit: "yellow" } as const;

/** The message stands on a line of its own, whole, as it is what alerts match. */
function foundText({ step, node, kind, name, effect, message, tokens }: FoundCall, paint: Paint): string {
  const place = step === null ? "not numbered" : `step ${step}`;
  const used = tokens === 0 ? "" : `, ${tokens} tokens`;
  return `  ${paint(colours[effect], effect.padEnd(5))}  ${place}, node ${oneLine(node)}, ${kind} ${oneLine(name)}${used}\n         ${oneLine(message)}\n`;
}
