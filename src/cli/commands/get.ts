/** oao get, oao tree */
import type { LocalIndex } from "../../adapters/local/local-index.ts";
import type { LocalRun } from "../../adapters/local/local-run.ts";
import { type CliExitCode, cliExitCodes } from "../../api/exit-codes.ts";
import { systemClock } from "../../adapters/clock/system-clock.ts";
import type { JournalStore } from "../../ports/store.ts";
import { type Finding, findingsOf } from "../../core/trace/journal.ts";
import { readJournals, readRecord } from "../../host/journals.ts";
import { withRun } from "../cluster/locate.ts";
import { askedPlace, hasKubeconfig, type PlaceFlags } from "../cluster/place.ts";
import { defaultNamespace, isHosted, openExistingIndex } from "../home.ts";
import { hasEnded } from "../outcome.ts";
import { checkFormat, structured } from "../render/output.ts";
import { nameArguments, nodeTable, objectWithStatus, runTable } from "../render/run-tables.ts";
import { readView } from "../render/run-view.ts";
import { oneLine, painter } from "../render/style.ts";
import { taskOf } from "../render/task.ts";
import { reasonOf, tokenText, treeLines } from "../render/tree.ts";
import { givenRedis, openJournalToLook, openRunStore } from "../store.ts";
import type { Terminal } from "../terminal.ts";

export interface GetFlags extends PlaceFlags {
  readonly allNamespaces?: boolean | undefined;
  readonly limit?: number | undefined;
  readonly output?: string | undefined;
}

const listLimit = 200;

export async function get(name: string | undefined, flags: GetFlags, terminal: Terminal): Promise<CliExitCode> {
  const output = checkFormat(flags.output, ["table", "json", "yaml"]) ?? "table";
  if (name === undefined) return list(output, flags, terminal);
  return withRun(name, flags, terminal, {
    local: async (index, run) => {
      if (output === "table") await showOne(index, run, terminal);
      else terminal.out(await structured(objectWithStatus(run), output));
      return cliExitCodes.succeeded;
    },
    cluster: async (cluster, run) => (await import("../cluster/read.ts")).showOne(cluster, run, output, terminal),
  });
}

async function showOne(index: LocalIndex, run: LocalRun, terminal: Terminal): Promise<void> {
  const store = await openJournalToLook(run, givenRedis(run, undefined, terminal.env));
  const { tokens } = await readView(run, store, systemClock.nowMs());
  const findings = store === undefined ? [] : await readFindings(store, run);
  await store?.close();
  const reason = reasonOf({ run });
  const lines = [
    `task: ${oneLine(await taskOf(run))}`,
    ...(tokens === undefined ? [] : [tokenText(tokens)]),
    ...(run.status?.executionHash === undefined ? [] : [`hash: ${run.status.executionHash}`]),
    ...(findings === undefined ? [`its journal cannot be read: oao trace ${nameArguments(run)} says why`] : []),
    ...(findings === undefined || findings.length === 0
      ? []
      : [`${findingCounts(findings)}: oao trace ${nameArguments(run)} --all`]),
    ...(reason === undefined ? [] : [oneLine(reason)]),
  ];
  terminal.out(`${runTable([run], false, (each) => phaseOf(index, each))}\n${nodeTable(run, terminal.columnsOut)}`);
  terminal.out(`\n${lines.join("\n")}\n`);
  hintUnhosted(index, run, terminal);
}

/** Undefined = the journal cannot be read. */
async function readFindings(store: JournalStore, run: LocalRun): Promise<Finding[] | undefined> {
  try {
    const record = await readRecord(store, run);
    return findingsOf(record.spec, await readJournals(record));
  } catch {
    return undefined;
  }
}

/** `1 policy violation and 2 audit findings` */
function findingCounts(findings: readonly Finding[]): string {
  const audited = findings.filter(({ entry }) => entry.enforcement === "Audit").length;
  return [counted(findings.length - audited, "policy violation"), counted(audited, "audit finding")]
    .filter((text) => text !== "")
    .join(" and ");
}

function counted(count: number, noun: string): string {
  return count === 0 ? "" : `${count} ${noun}${count === 1 ? "" : "s"}`;
}

function hintUnhosted(index: LocalIndex, run: LocalRun, terminal: Terminal): void {
  if (phaseOf(index, run).endsWith("(no process)"))
    terminal.err(`no process runs it: oao resume ${nameArguments(run)}\n`);
}

/** Of one place: of this machine unless the cluster is asked for, so that it never waits for a server. */
async function list(output: "table" | "json" | "yaml", flags: GetFlags, terminal: Terminal): Promise<CliExitCode> {
  if (askedPlace(flags) === "cluster") {
    const { onCluster } = await import("../cluster/connect.ts");
    const options = { allNamespaces: flags.allNamespaces === true, limit: flags.limit ?? listLimit, output };
    return onCluster(flags, terminal, async (cluster) =>
      (await import("../cluster/read.ts")).list(cluster, options, terminal),
    );
  }
  const index = await openExistingIndex(terminal);
  const namespace = flags.allNamespaces === true ? undefined : (flags.namespace ?? defaultNamespace);
  const limit = flags.limit ?? listLimit;
  const runs = index?.list({ namespace, limit: limit + 1 }) ?? [];
  const shown = runs.slice(0, limit);
  if (output !== "table") {
    terminal.out(await structured({ apiVersion: "v1", kind: "List", items: shown.map(objectWithStatus) }, output));
  } else if (shown.length === 0) {
    terminal.err(
      `no executions${namespace === undefined ? "" : ` in namespace ${namespace}`}; start one: oao run FILE\n`,
    );
    if (hasKubeconfig(terminal)) terminal.err("those of the cluster: oao get --on cluster\n");
  } else terminal.out(runTable(shown, namespace === undefined, (each) => phaseOf(index as LocalIndex, each)));
  if (runs.length > limit) terminal.err(`only the newest ${limit} are shown: --limit ${limit * 10} shows more\n`);
  return cliExitCodes.succeeded;
}

/** A run that no process hosts stands still, whatever its status said last. */
function phaseOf(index: LocalIndex, run: LocalRun): string {
  const phase = run.status?.phase ?? "Pending";
  if (hasEnded(run.status) || phase === "Suspended") return phase;
  return isHosted(index, run) ? phase : `${phase} (no process)`;
}

export interface TreeFlags extends PlaceFlags {}

export function tree(name: string, flags: TreeFlags, terminal: Terminal): Promise<CliExitCode> {
  return withRun(name, flags, terminal, {
    local: (index, run) => treeHere(index, run, flags, terminal),
    cluster: async (cluster, run) => (await import("../cluster/read.ts")).tree(cluster, run, terminal),
  });
}

async function treeHere(index: LocalIndex, run: LocalRun, flags: TreeFlags, terminal: Terminal): Promise<CliExitCode> {
  const open = hasEnded(run.status) ? openJournalToLook : openRunStore;
  const store = await open(run, givenRedis(run, flags.redis, terminal.env));
  const view = await readView(run, store, systemClock.nowMs());
  await store?.close();
  const width = process.stdout.isTTY === true ? process.stdout.columns : 200;
  terminal.out(`${treeLines(view, { columns: width }, painter(terminal.colorOut)).join("\n")}\n`);
  hintUnhosted(index, run, terminal);
  return cliExitCodes.succeeded;
}
