/** oao get and oao tree on a cluster: what its API server knows. Figures of steps at work are in the journal alone. */
import { systemClock } from "../../adapters/clock/system-clock.ts";
import { type CliExitCode, cliExitCodes } from "../../api/exit-codes.ts";
import type { StoredExecution } from "../../ports/cluster.ts";
import { openQuestions, questionLines } from "../approvals.ts";
import { structured } from "../render/output.ts";
import { nodeTable, objectWithStatus, runTable } from "../render/run-tables.ts";
import { readView } from "../render/run-view.ts";
import { oneLine, painter } from "../render/style.ts";
import { taskOf } from "../render/task.ts";
import { reasonOf, tokenText, treeLines } from "../render/tree.ts";
import type { Terminal } from "../terminal.ts";
import type { ClusterConnection } from "./connect.ts";

export async function list(
  cluster: ClusterConnection,
  options: { readonly allNamespaces: boolean; readonly limit: number; readonly output: "table" | "json" | "yaml" },
  terminal: Terminal,
): Promise<CliExitCode> {
  const { allNamespaces, limit, output } = options;
  const namespace = allNamespaces ? undefined : cluster.namespace;
  const runs = await cluster.executions.list(namespace);
  const shown = runs.slice(0, limit);
  if (output !== "table") {
    terminal.out(await structured({ apiVersion: "v1", kind: "List", items: shown.map(objectWithStatus) }, output));
  } else if (shown.length === 0) {
    const where = namespace === undefined ? "" : ` in namespace ${namespace}`;
    terminal.err(`no executions${where} of context ${cluster.context}; start one: oao submit FILE\n`);
  } else terminal.out(runTable(shown, namespace === undefined));
  if (runs.length > limit) terminal.err(`only the newest ${limit} are shown: --limit ${runs.length} shows all\n`);
  return cliExitCodes.succeeded;
}

export async function showOne(
  cluster: ClusterConnection,
  run: StoredExecution,
  output: "table" | "json" | "yaml",
  terminal: Terminal,
): Promise<CliExitCode> {
  if (output !== "table") {
    terminal.out(await structured(objectWithStatus(run), output));
    return cliExitCodes.succeeded;
  }
  const { tokens } = await readView(run, undefined, systemClock.nowMs());
  const reason = reasonOf({ run });
  const lines = [
    `task: ${oneLine(await taskOf(run))}`,
    ...(tokens === undefined ? [] : [tokenText(tokens)]),
    ...(run.status?.executionHash === undefined ? [] : [`hash: ${run.status.executionHash}`]),
    ...(reason === undefined ? [] : [oneLine(reason)]),
    ...openQuestions(run).flatMap((each) => questionLines(each, cluster.args(run.key))),
  ];
  terminal.out(`${runTable([run], false)}\n${nodeTable(run, terminal.columnsOut)}\n${lines.join("\n")}\n`);
  return cliExitCodes.succeeded;
}

export async function tree(cluster: ClusterConnection, run: StoredExecution, terminal: Terminal): Promise<CliExitCode> {
  const view = await readView(run, undefined, systemClock.nowMs());
  const width = process.stdout.isTTY === true ? process.stdout.columns : 200;
  const lines = [
    ...treeLines(view, { columns: width }, painter(terminal.colorOut)),
    ...openQuestions(run).flatMap((each) => questionLines(each, cluster.args(run.key))),
  ];
  terminal.out(`${lines.join("\n")}\n`);
  return cliExitCodes.succeeded;
}
