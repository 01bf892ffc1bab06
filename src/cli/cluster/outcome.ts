/** What is said and printed when a run of a cluster is let go of, and the exit code. */
import { type CliExitCode, cliExitCodes } from "../../api/exit-codes.ts";
import type { StoredExecution } from "../../ports/cluster.ts";
import { openQuestions, questionLines } from "../approvals.ts";
import { exitCodeOf } from "../outcome.ts";
import { structured } from "../render/output.ts";
import { nodeTable, objectWithStatus } from "../render/run-tables.ts";
import { painter } from "../render/style.ts";
import { reasonOf } from "../render/tree.ts";
import type { Terminal } from "../terminal.ts";
import type { ClusterConnection } from "./connect.ts";
import { follow, type Followed } from "./follow.ts";

export type Output = "json" | "yaml" | "table" | undefined;

/** Follows, prints what was asked for, returns the exit code: how the run ended, or that it has not. */
export async function followToExit(
  cluster: ClusterConnection,
  run: StoredExecution,
  output: Output,
  terminal: Terminal,
): Promise<CliExitCode> {
  const followed = await follow(cluster, run, terminal);
  terminal.err(`${summary(followed, cluster.args(run.key), terminal)}\n`);
  const last = followed.run;
  if (output === "json" || output === "yaml") terminal.out(await structured(objectWithStatus(last), output));
  else if (output === "table") terminal.out(nodeTable(last, terminal.columnsOut));
  else if (last.status?.phase === "Succeeded") printResult(last, terminal);
  return followed.detached ? cliExitCodes.waiting : exitCodeOf(last.status);
}

function summary({ run, detached }: Followed, args: string, terminal: Terminal): string {
  const paint = painter(terminal.colorErr);
  const look = `oao tree ${args}`;
  if (detached)
    return [
      `${paint("yellow", "Detached")}: ${run.key.namespace}/${run.key.name} goes on in the cluster`,
      `  look:   ${look}`,
      `  follow: oao resume ${args}`,
      `  end it: oao cancel ${args}`,
    ].join("\n");
  const phase = run.status?.phase;
  if (phase === "AwaitingApproval") {
    const asks = openQuestions(run).flatMap((each) => questionLines(each, args));
    return [`${paint("yellow", "Awaiting approval")}`, ...asks, `then follow it: oao resume ${args}`].join("\n  ");
  }
  if (phase === "Succeeded") return `${paint("green", phase)}. Its nodes: ${look}`;
  if (phase === "Cancelled") return `${paint("yellow", phase)}. What was done: ${look}`;
  if (phase === "Failed")
    return [
      `${paint("red", phase)}: ${reasonOf({ run }) ?? "no reason is recorded"}`,
      `  its nodes:         ${look}`,
      `  what workers said: oao logs ${args}`,
    ].join("\n");
  return `${paint("yellow", "Suspended")}. Nothing that is recorded will be done or paid for again. Go on: oao resume ${args}`;
}

/** The status holds the beginning of it; the whole is in the journal. */
function printResult({ status }: StoredExecution, terminal: Terminal): void {
  const preview = status?.result?.preview ?? "";
  if (preview === "") return;
  const whole = parse(preview);
  if (whole === undefined) {
    terminal.body(`${preview}\n`);
    terminal.err("this is the beginning of the result: the status holds no more than 4 KiB of it\n");
  } else terminal.body(typeof whole === "string" ? `${whole}\n` : `${JSON.stringify(whole, undefined, 2)}\n`);
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}
