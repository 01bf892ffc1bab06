/** Being the host of one run: reconcile until it ends or is suspended, show it, and stop it cleanly when asked to. */
import type { LocalCluster } from "../adapters/local/local-cluster.ts";
import type { LocalIndex } from "../adapters/local/local-index.ts";
import type { LocalRun } from "../adapters/local/local-run.ts";
import { systemClock } from "../adapters/clock/system-clock.ts";
import { executionDefaults } from "../api/defaults.ts";
import type { ExecutionStatus } from "../api/status.ts";
import { OaoError } from "../core/errors/errors.ts";
import { SnapshotCache } from "../host/io.ts";
import { runLoop } from "../host/run-loop.ts";
import { Slots } from "../host/slots.ts";
import { StatusPace } from "../host/status-pace.ts";
import type { JournalStore } from "../ports/store.ts";
import { hasEnded, stalledReason } from "./outcome.ts";
import { LiveTree } from "./render/live-tree.ts";
import { PlainProgress } from "./render/plain-progress.ts";
import { readView } from "./render/run-view.ts";
import type { Terminal } from "./terminal.ts";

export interface DriveOptions {
  readonly terminal: Terminal;
  readonly index: LocalIndex;
  readonly cluster: LocalCluster;
  readonly store: JournalStore;
  readonly run: LocalRun;
  /** See HostIo. */
  readonly replaysAsWritten?: boolean | undefined;
  /** Nothing of it is kept: a signal cancels it, which cuts at once, since nobody could resume it. */
  readonly isThrowaway?: boolean | undefined;
}

const viewIntervalMs = 200;
const stopGraceMs = 5_000;
/** The live tree shows figures of the journal; those of the status are for what is read later. */
const pace = { progressMs: 200, figuresMs: 5_000 };
const backoff = { firstMs: 50, maxMs: 5_000 };
/** A passing failure is worth a line only when it stays. */
const failuresShown = 3;

/**
 * Returns the run as it is when this process lets go of it: ended, suspended, or stopped at once by a second signal.
 * The caller holds the run (LocalCluster.hold). No worker is left when this returns or throws.
 */
export async function drive(options: DriveOptions): Promise<LocalRun> {
  const { terminal, index, cluster, store, run } = options;
  const progress = terminal.interactive
    ? new LiveTree(terminal, () => systemClock.monotonicMs())
    : new PlainProgress(terminal, run);
  const current = () => index.get(run.key) ?? run;
  const show = async () => progress.show(await readView(current(), store, systemClock.nowMs()));
  const over = Promise.withResolvers<void>();
  const note = (text: string) => progress.note(text);
  const askToStop = () => {
    index.setDesiredState(run.key, options.isThrowaway === true ? "Cancelled" : "Suspended");
    if (options.isThrowaway === true) return;
    note("suspending: calls in flight may still end. Ctrl-C again stops at once; the run can be resumed either way");
  };
  const endSignals = onStopRequests(cluster, askToStop, () => over.resolve());
  // What was answered while nobody was here is only known after a look.
  let hasLooked = false;
  const isOver = () => isSettled(current()) || (hasLooked && current().status?.phase === "AwaitingApproval");
  let failures = 0;
  let warned = "";
  const loop = runLoop(
    {
      cluster,
      clock: systemClock,
      journal: () => store,
      floorPolicies: [],
      requireSecretPairing: false,
      requireFitStore: false,
      replaysAsWritten: options.replaysAsWritten === true,
      stopGraceMs,
      slots: new Slots(),
      snapshots: new SnapshotCache(),
      pace: new StatusPace(pace),
      report: (event) => {
        if (event.kind === "Status") {
          failures = 0;
          const lossWindow = lossWindowOf(event.status);
          if (lossWindow !== undefined && lossWindow !== warned) note(lossWindow);
          warned = lossWindow ?? warned;
          if (isSettled(current())) over.resolve();
          else void show();
        } else if (event.kind === "Passed") {
          hasLooked = true;
          if (isOver()) over.resolve();
        } else if (event.kind !== "Failed") return;
        else if (!isPassing(event.error)) over.reject(event.error);
        else if (++failures === failuresShown)
          note(`waiting: ${event.error instanceof Error ? event.error.message : String(event.error)}`);
      },
    },
    { backoff, concerns: (key) => key.namespace === run.key.namespace && key.name === run.key.name },
  );
  loop.add(run.key);
  const ticker = setInterval(() => {
    if (isOver()) over.resolve();
    else void show();
  }, viewIntervalMs);
  try {
    await over.promise;
  } finally {
    clearInterval(ticker);
    endSignals();
    await loop.stop();
    await cluster.stopAll(isOver() ? stopGraceMs : 0);
    progress.end(await readView(current(), store, systemClock.nowMs()));
  }
  const last = current();
  if (hasEnded(last.status)) index.setExpiry(run.uid, expiryOf(last));
  return last;
}

/** Nothing is left to do for a host. A run that never opened has no journal to seal. */
function isSettled(run: LocalRun): boolean {
  const { status } = run;
  if (status === undefined || status.observedGeneration !== run.generation) return false;
  if (hasEnded(status)) return status.sealed === true || status.snapshot === undefined;
  // Nobody is at a laptop but the one who can mend it, so waiting here would only hide the reason.
  return status.phase === "Suspended" || stalledReason(status) !== undefined;
}

/** Of a store that may forget, or may have: said once, as it is easily mended. What is lost for good ends the run and is said there. */
function lossWindowOf(status: ExecutionStatus): string | undefined {
  const found = status.conditions.find((each) => each.type === "CheckpointsDurable" && each.reason === "LossWindow");
  return found && `CheckpointsDurable=False (LossWindow): ${found.message}`;
}

/** A store that is away, or another process's write that came first: the loop looks again. */
function isPassing(error: unknown): boolean {
  if (error instanceof OaoError) return error.disposition !== "stop";
  return error instanceof Error && (error.name === "Conflict" || (error as { errcode?: unknown }).errcode === 5);
}

function expiryOf(run: LocalRun): number {
  const { journalRetentionSeconds = executionDefaults.journalRetentionSeconds, ttlSecondsAfterFinished: ttl } =
    run.object.spec;
  // Without its object nobody here could find the journal any more.
  return systemClock.nowMs() + Math.min(journalRetentionSeconds, ttl ?? journalRetentionSeconds) * 1_000;
}

/** The first Ctrl-C asks the run to stop, the second ends the workers at once. Either way one that is kept can be resumed. */
function onStopRequests(cluster: LocalCluster, askToStop: () => void, atOnce: () => void): () => void {
  let asked = false;
  const handler = () => {
    if (asked) {
      cluster.killAll();
      return atOnce();
    }
    asked = true;
    askToStop();
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) process.on(signal, handler);
  return () => {
    for (const signal of signals) process.off(signal, handler);
  };
}
