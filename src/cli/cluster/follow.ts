/** Showing a run of a cluster until nothing more happens to it by itself. Leaving it does not change it. */
import { systemClock } from "../../adapters/clock/system-clock.ts";
import { approvalPrefix } from "../../api/common.ts";
import { cliExitCodes } from "../../api/exit-codes.ts";
import type { StoredExecution } from "../../ports/cluster.ts";
import { CliError } from "../errors.ts";
import { openQuestions } from "../approvals.ts";
import { hasEnded, stalledReason } from "../outcome.ts";
import { LiveTree } from "../render/live-tree.ts";
import { PlainProgress } from "../render/plain-progress.ts";
import { readView } from "../render/run-view.ts";
import { oneLine } from "../render/style.ts";
import type { Terminal } from "../terminal.ts";
import type { ClusterConnection } from "./connect.ts";

export interface Followed {
  readonly run: StoredExecution;
  /** A signal ended it, not the run. */
  readonly detached: boolean;
}

/** The tree counts seconds. */
const viewIntervalMs = 500;
/** A passing failure is worth a line only when it stays. */
const failuresShown = 3;

/** Throws CliError when the run is deleted meanwhile. */
export async function follow(cluster: ClusterConnection, from: StoredExecution, terminal: Terminal): Promise<Followed> {
  const progress = terminal.interactive
    ? new LiveTree(terminal, () => systemClock.monotonicMs())
    : new PlainProgress(terminal, from);
  const view = (run: StoredExecution) => readView(run, undefined, systemClock.nowMs());
  const stop = new AbortController();
  let current = from;
  let isGone = false;
  let detached = false;
  let failures = 0;
  let told: string | undefined;
  const detach = () => {
    detached = true;
    stop.abort();
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) process.on(signal, detach);
  const show = async () => {
    if (!stop.signal.aborted) progress.show(await view(current));
  };
  const ticker = terminal.interactive ? setInterval(() => void show(), viewIntervalMs) : undefined;
  try {
    await cluster.executions.follow(
      from,
      (run) => {
        failures = 0;
        isGone = run === undefined;
        current = run ?? current;
        const stalled = stalledReason(current.status);
        if (stalled !== undefined && stalled !== told) progress.note(`waits until it is mended: ${oneLine(stalled)}`);
        told = stalled;
        void show();
        if (isGone || isSettled(current)) stop.abort();
      },
      (error) => {
        if (++failures === failuresShown) progress.note(`waiting for the API server: ${error.message}`);
      },
      stop.signal,
    );
  } finally {
    clearInterval(ticker);
    for (const signal of signals) process.off(signal, detach);
    progress.end(await view(current));
  }
  if (isGone)
    throw new CliError(
      `${current.key.namespace}/${current.key.name} was deleted while it was followed`,
      [`what is there: oao get ${cluster.flags}`],
      cliExitCodes.cancelled,
    );
  return { run: current, detached };
}

/** It has ended, or waits for a person. */
function isSettled({ object, status, generation }: StoredExecution): boolean {
  if (hasEnded(status)) return true;
  if (status?.observedGeneration !== generation) return false;
  return status.phase === "Suspended" || (status.phase === "AwaitingApproval" && hasUnanswered({ object, status }));
}

/** An answer that the operator has not taken up yet is no reason to wait for a person. */
function hasUnanswered({ object, status }: Pick<StoredExecution, "object" | "status">): boolean {
  const annotations: Readonly<Record<string, unknown>> = object.metadata.annotations ?? {};
  return openQuestions({ status }).some(({ request }) => annotations[`${approvalPrefix}${request}`] === undefined);
}
