/** oao logs on a cluster: what the pods of a run wrote, through the API server. Pods that are gone took their logs with them. */
import { KubeError } from "../../adapters/kube/kube-error.ts";
import type { LoggedPod } from "../../adapters/kube/executions.ts";
import { type CliExitCode, cliExitCodes } from "../../api/exit-codes.ts";
import type { StoredExecution } from "../../ports/cluster.ts";
import { hasEnded } from "../outcome.ts";
import { isOfNode, type LogLine, printLine, timeOf } from "../render/log-lines.ts";
import { oneLine } from "../render/style.ts";
import type { Terminal } from "../terminal.ts";
import type { ClusterConnection } from "./connect.ts";

export interface LogsOptions {
  readonly node: string | undefined;
  readonly follow: boolean;
  readonly raw: boolean;
}

const pollMs = 1_000;
/** Requests at once. */
const parallel = 8;

export async function logs(
  cluster: ClusterConnection,
  run: StoredExecution,
  { node, follow, raw }: LogsOptions,
  terminal: Terminal,
): Promise<CliExitCode> {
  let count = 0;
  const print = (line: LogLine) => {
    count += 1;
    printLine(line, raw, terminal);
  };
  const problem = (pod: LoggedPod, error: unknown) => sayUnreadable(pod, error, terminal);
  const wanted = async () => (await cluster.executions.pods(run)).filter(({ item }) => isOfNode(item, node));
  if (follow) await followAll(cluster, run, wanted, print, problem);
  else for (const line of await readAll(cluster, run, await wanted(), problem)) print(line);
  if (count === 0) {
    const why = hasEnded(run.status) ? ": its pods may be gone, and their logs with them" : " yet";
    terminal.err(`no worker has said anything${why}\n`);
  }
  return cliExitCodes.succeeded;
}

async function readAll(
  cluster: ClusterConnection,
  run: StoredExecution,
  pods: readonly LoggedPod[],
  problem: (pod: LoggedPod, error: unknown) => void,
): Promise<LogLine[]> {
  const lines: LogLine[] = [];
  const left = pods.filter(({ hasBegun }) => hasBegun);
  const worker = async () => {
    for (let pod = left.shift(); pod !== undefined; pod = left.shift()) {
      const read = pod;
      const take = lineMaker(read, (line) => lines.push(line));
      await cluster.executions.log(run, read, { follow: false }, take).catch((error: unknown) => problem(read, error));
    }
  };
  await Promise.all(Array.from({ length: parallel }, worker));
  return lines.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0));
}

/** Each pod's log as it grows; new pods as they begin; until the run has ended and every log has. */
async function followAll(
  cluster: ClusterConnection,
  run: StoredExecution,
  wanted: () => Promise<readonly LoggedPod[]>,
  print: (line: LogLine) => void,
  problem: (pod: LoggedPod, error: unknown) => void,
): Promise<void> {
  const open = new Map<string, Promise<void>>();
  const failures: unknown[] = [];
  const readable = (pod: LoggedPod) => (error: unknown) => {
    try {
      problem(pod, error);
    } catch (failure) {
      failures.push(failure);
    }
  };
  while (failures.length === 0) {
    // Read before the pods: one that began in between is found in the next round.
    const now = await cluster.executions.get(run.key);
    const isOver = now?.uid !== run.uid || hasEnded(now.status);
    for (const pod of (await wanted()).filter(({ hasBegun, name }) => hasBegun && !open.has(name))) {
      const stream = cluster.executions.log(run, pod, { follow: true }, lineMaker(pod, print));
      open.set(pod.name, stream.catch(readable(pod)));
    }
    if (isOver) break;
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
  if (failures.length === 0) await Promise.all(open.values());
  if (failures.length > 0) throw failures[0];
}

/** A line without a time of its own stays behind the one before. */
function lineMaker({ source }: LoggedPod, give: (line: LogLine) => void): (text: string) => void {
  let last = "";
  return (text) => {
    const time = timeOf(text);
    last = time === "" ? last : time;
    give({ time: last, source, text });
  };
}

/** One log that cannot be read does not hide the others; a right that is missing would hide them all. */
function sayUnreadable(pod: LoggedPod, error: unknown, terminal: Terminal): void {
  if (!(error instanceof KubeError)) throw error;
  terminal.err(`the log of ${pod.source} cannot be read: ${oneLine(error.refusal?.said ?? error.message)}\n`);
}
