/** oao trace */
import type { PlaceFlags } from "../cluster/place.ts";
import { type CliExitCode, cliExitCodes } from "../../api/exit-codes.ts";
import { Sha256 } from "../../core/digest/digest.ts";
import type { Json } from "../../core/digest/json.ts";
import { canonicalLines, traceHash } from "../../core/trace/canonical.ts";
import { canonicalSteps, findingsOf, type ItemJournal, tracedCalls } from "../../core/trace/journal.ts";
import { bodiesOf, type TraceRow, traceRowsWithFindings } from "../../core/trace/rows.ts";
import { isContentDropped, readBodies, readJournals, type RunRecord } from "../../host/journals.ts";
import { checkChains } from "../../host/record-changed.ts";
import { contentDropped, hasEnded } from "../outcome.ts";
import type { StoredExecution } from "../../ports/cluster.ts";
import { runApi } from "../cluster/api.ts";
import type { ClusterConnection } from "../cluster/connect.ts";
import { type NamedRecord, withRecord } from "../records.ts";
import { checkFormat } from "../render/output.ts";
import { fit, oneLine, saidOnce } from "../render/style.ts";
import { table } from "../render/table.ts";
import { elapsed } from "../../ui/figures.ts";
import type { Terminal } from "../terminal.ts";

export interface TraceFlags extends PlaceFlags {
  readonly canonical?: boolean | undefined;
  readonly all?: boolean | undefined;
  readonly output?: string | undefined;
}

const notNumbered = "the run has not ended: steps have no numbers yet, only node and path\n";
const notWhole =
  "the run has not ended: steps are numbered and hashed as they are so far, and both change with the next\n";

export async function trace(name: string, flags: TraceFlags, terminal: Terminal): Promise<CliExitCode> {
  const output = checkFormat(flags.output, ["table", "json", "jsonl"]) ?? "table";
  const there = (cluster: ClusterConnection, run: StoredExecution) => traceThere(cluster, run, output, flags, terminal);
  const here = async ({ record }: NamedRecord) => {
    const journals = await readJournals(record);
    for (const journal of journals) checkChains(record.recorder, journal);
    if (!hasEnded(record.status)) terminal.err(flags.canonical === true ? notWhole : notNumbered);
    if (flags.canonical === true) printCanonical(record, journals, terminal);
    else await printRows(record, journals, output, flags.all === true, terminal);
    if (isContentDropped(record)) terminal.err(`${contentDropped}\n`);
    return cliExitCodes.succeeded;
  };
  return withRecord(name, flags, terminal, here, there);
}

/** As the operator reads it out, also of a run that is at work. */
async function traceThere(
  cluster: ClusterConnection,
  run: StoredExecution,
  output: "table" | "json" | "jsonl",
  flags: TraceFlags,
  terminal: Terminal,
): Promise<CliExitCode> {
  const api = runApi(cluster, run.key, flags, terminal);
  if (!hasEnded(run.status)) terminal.err(flags.canonical === true ? notWhole : notNumbered);
  if (flags.canonical === true) {
    const hash = new Sha256();
    for await (const line of api.lines("trace?canonical=true")) {
      hash.add(`${line}\n`);
      terminal.out(`${line}\n`);
    }
    terminal.err(`traceHash sha256:${hash.hex()}\n`);
    return cliExitCodes.succeeded;
  }
  const rows: TraceRow[] = [];
  for await (const line of api.lines(flags.all === true ? "trace?all=true" : "trace")) {
    if (output === "jsonl") terminal.out(`${line}\n`);
    else rows.push(JSON.parse(line) as TraceRow);
  }
  if (output === "json") terminal.out(`${JSON.stringify(rows, undefined, 2)}\n`);
  else if (output === "table") terminal.out(rowTable(rows, terminal));
  return cliExitCodes.succeeded;
}

function printCanonical(run: RunRecord, journals: readonly ItemJournal[], terminal: Terminal): void {
  const lines = canonicalLines(canonicalSteps(run.spec, journals));
  terminal.out(lines.map((line) => `${line}\n`).join(""));
  terminal.err(`traceHash ${traceHash(lines)}\n`);
}

async function printRows(
  run: RunRecord,
  journals: readonly ItemJournal[],
  output: "table" | "json" | "jsonl",
  all: boolean,
  terminal: Terminal,
): Promise<void> {
  const calls = tracedCalls(run.spec, journals);
  const wanted = all ? calls : calls.filter((call) => call.canonical);
  const bodies = await readBodies(run, wanted.flatMap(bodiesOf));
  const findings = findingsOf(run.spec, journals);
  const rows = traceRowsWithFindings(journals, wanted, all ? findings : [], {
    uid: run.uid,
    body: (digest) => bodies.get(digest),
    numbered: hasEnded(run.status),
  });
  if (output === "json") terminal.out(`${JSON.stringify(rows, undefined, 2)}\n`);
  else if (output === "jsonl") terminal.out(rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  else terminal.out(rowTable(rows, terminal));
  const hidden = all ? [] : hiddenRows(calls.length - wanted.length, findings.length);
  if (hidden.length > 0) terminal.err(`${hidden.join("; ")}: --all shows them\n`);
}

function hiddenRows(calls: number, findings: number): string[] {
  return [
    ...(calls === 0
      ? []
      : [
          calls === 1
            ? "1 more call was repeated or belongs to an earlier try"
            : `${calls} more calls were repeated or belong to earlier tries`,
        ]),
    ...(findings === 0
      ? []
      : [findings === 1 ? "1 policy violation was recorded" : `${findings} policy violations were recorded`]),
  ];
}

const previewWidth = 60;
/** A finding is all message. */
const findingWidth = 200;

function rowTable(rows: readonly TraceRow[], { columnsOut }: Terminal): string {
  return table(
    ["STEP", "NODE", "KIND", "NAME", "STATE", "TOKENS", "TIME", "INPUT", "OUTPUT"],
    rows.map((row) => [
      row.step_number === null ? row.path : String(row.step_number),
      oneLine(row.node),
      row.kind,
      oneLine(row.name),
      row.state,
      row.token_usage === null ? "" : String(row.token_usage.counted.total),
      elapsed(Date.parse(row.timestamp) - Date.parse(row.started_at)),
      row.kind === "violation" ? "" : preview(row.kind === "model" ? lastMessage(row.input) : row.input, 30),
      row.error === null
        ? preview(row.output, previewWidth)
        : fit(
            oneLine(saidOnce(row.error.class, row.error.message)),
            row.kind === "violation" ? findingWidth : previewWidth,
          ),
    ]),
    { columns: columnsOut, free: [7, 8] },
  );
}

function lastMessage(input: Json): Json {
  const messages = (input as { readonly messages?: readonly Json[] } | null)?.messages;
  return contentOf(messages?.at(-1) ?? null);
}

/** A message's text, or the calls it makes; other values as they are. */
function contentOf(value: Json): Json {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  const { content, tool_calls: calls } = value as { readonly content?: Json; readonly tool_calls?: Json };
  if (Array.isArray(calls) && calls.length > 0) {
    return (calls as readonly { readonly name?: string; readonly args?: Json }[])
      .map((call) => `${call.name ?? ""}(${JSON.stringify(call.args ?? {})})`)
      .join(" ");
  }
  return content ?? value;
}

function preview(value: Json, width: number): string {
  const content = contentOf(value);
  return fit(oneLine(typeof content === "string" ? content : JSON.stringify(content)), width);
}
