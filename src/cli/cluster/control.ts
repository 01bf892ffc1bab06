/** oao cancel, suspend and resume of a run on a cluster: say what is wanted in its spec; the operator does it. */
import { type CliExitCode, cliExitCodes } from "../../api/exit-codes.ts";
import type { DesiredState } from "../../api/execution.ts";
import type { StoredExecution } from "../../ports/cluster.ts";
import { CliError } from "../errors.ts";
import { endedError, hasEnded } from "../outcome.ts";
import type { Terminal } from "../terminal.ts";
import type { ClusterConnection } from "./connect.ts";
import { followToExit, type Output } from "./outcome.ts";

const pollMs = 250;

/** Waits until the run is there, or has ended before. */
export async function control(
  cluster: ClusterConnection,
  found: StoredExecution,
  wanted: DesiredState,
  waitSeconds: number,
  terminal: Terminal,
): Promise<CliExitCode> {
  const args = cluster.args(found.key);
  const name = `${found.key.namespace}/${found.key.name}`;
  if (hasEnded(found.status))
    throw endedError(found, [
      `nothing to ${wanted === "Cancelled" ? "cancel" : "suspend"}; look at it: oao get ${args}`,
    ]);
  if (wanted === "Suspended" && isBeingCancelled(found)) throw beingCancelled(found, args);
  let seen = await cluster.executions.setDesiredState(found, wanted);
  const deadlineMs = performance.now() + waitSeconds * 1_000;
  while (!isThere(seen, wanted)) {
    if (performance.now() > deadlineMs)
      throw new CliError(
        `${name} is told to be ${wanted} but the operator has not done so yet`,
        [
          `watch it: oao tree ${args}`,
          `why it may wait: kubectl describe execution -n ${seen.key.namespace} ${seen.key.name}`,
        ],
        cliExitCodes.waiting,
      );
    await new Promise((resolve) => setTimeout(resolve, pollMs));
    const now = await cluster.executions.get(seen.key);
    if (now?.uid !== seen.uid) {
      terminal.err(`${name} was deleted before that\n`);
      return cliExitCodes.succeeded;
    }
    seen = now;
  }
  const phase = seen.status?.phase ?? "Pending";
  if (phase === "Suspended") terminal.err(`${name} is suspended. Go on: oao resume ${args}\n`);
  else if (phase === wanted) terminal.err(`${name} is cancelled. What was done: oao tree ${args}\n`);
  else terminal.err(`${name} ended before that: ${phase}\n`);
  return cliExitCodes.succeeded;
}

/**
 * Takes the wish to stand still away and follows the run. One that runs already is only followed, and of one that has ended it says
 * how: the operator goes on while nobody looks, so that it may have done so a moment ago.
 */
export async function resume(
  cluster: ClusterConnection,
  found: StoredExecution,
  output: Output,
  terminal: Terminal,
): Promise<CliExitCode> {
  const name = `${found.key.namespace}/${found.key.name}`;
  if (hasEnded(found.status)) {
    terminal.err(`${name} has ended already\n`);
    return followToExit(cluster, found, output, terminal);
  }
  if (isBeingCancelled(found)) throw beingCancelled(found, cluster.args(found.key));
  if (found.object.spec.desiredState === "Suspended")
    return followToExit(cluster, await cluster.executions.setDesiredState(found, undefined), output, terminal);
  terminal.err(`${name} is not suspended: following it\n`);
  return followToExit(cluster, found, output, terminal);
}

/** Cancelled has ended; Suspended has no worker any more. Either may also end by itself first. */
function isThere({ status, generation }: StoredExecution, wanted: DesiredState): boolean {
  if (hasEnded(status)) return true;
  return wanted === "Suspended" && status?.phase === "Suspended" && status.observedGeneration === generation;
}

function isBeingCancelled({ object, status }: StoredExecution): boolean {
  return object.spec.desiredState === "Cancelled" || status?.cancelRequested === true;
}

function beingCancelled({ key }: StoredExecution, args: string): CliError {
  return new CliError(`${key.namespace}/${key.name} is being cancelled, which cannot be taken back`, [
    `watch it end: oao tree ${args}`,
  ]);
}
