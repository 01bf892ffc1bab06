/** The one loop of operator and CLI: observe, plan, write status, perform. */
import { executionDefaults } from "../api/defaults.ts";
import type { ExecutionStatus } from "../api/status.ts";
import { OaoError } from "../core/errors/errors.ts";
import { expiryOf } from "../core/planner/expiry.ts";
import { failedStatus, plan } from "../core/planner/plan.ts";
import type { Decision, Plan, Seen } from "../core/planner/types.ts";
import type { NodeKey, StoredBody } from "../core/protocol/types.ts";
import type { ObjectKey, StoredExecution } from "../ports/cluster.ts";
import type { JournalStore } from "../ports/store.ts";
import { held, otherHolder } from "./holder.ts";
import type { HostIo } from "./io.ts";
import { readEnd, readRecord } from "./journals.ts";
import { bodiesOfRuns } from "./record-store.ts";
import { observe } from "./observe.ts";
import { openRun } from "./open-run.ts";
import { perform } from "./perform.ts";
import { RecordChanged } from "./record-changed.ts";
import { changeOf, sameJson } from "./status-pace.ts";

/** A pass reads on this often when its plan asks for more; what is left is for the next pass. */
const looksMax = 4;

/**
 * One pass over one run. Returns milliseconds until it should be looked at again, undefined = when something changes.
 * Throws Conflict when the status was written by someone else meanwhile, and what the ports throw: call it again later.
 */
export async function reconcile(key: ObjectKey, io: HostIo): Promise<number | undefined> {
  const found = await io.cluster.get(key);
  if (found === undefined) return undefined; // gone
  const holder = otherHolder(found, io);
  if (holder !== undefined) {
    io.report?.({ kind: "Elsewhere", key, holder });
    return undefined;
  }
  if (found.deletedAtMs !== undefined) return letGo(found, io);
  if (isOver(found)) return settle(found, io);
  const { status } = found;
  if (status?.snapshot === undefined) {
    if (status?.completedAt !== undefined)
      return finish(found, { ...status, observedGeneration: found.generation }, io);
    const { run, status: opened, wakeAfterMs } = await openRun(found, io);
    if (opened.snapshot !== undefined) return pass(run, opened, opened.snapshot, io);
    await write(run, opened, io);
    return wakeAfterMs;
  }
  return pass(await io.cluster.hold(found, io.operator), held(status, io), status.snapshot, io);
}

/** `status` is what the run goes on from: the stored one, or that of a run that was just opened. */
async function pass(
  run: StoredExecution,
  status: ExecutionStatus,
  snapshot: string,
  io: HostIo,
): Promise<number | undefined> {
  const planned = await look(run, status, snapshot, io).catch((error: unknown) => {
    if (error instanceof RecordChanged) return error;
    throw error;
  });
  if (planned === undefined || planned instanceof RecordChanged) return unreadable(run, status, planned, io);
  const { decisions, losses, wakeAfterMs } = planned;
  const hash = await endHash(run, planned.status, snapshot, io);
  const next = { ...planned.status, ...hash };
  const statusAfter = planned.statusAfter && { ...planned.statusAfter, ...hash };
  const waitMs = decisions.length > 0 || wakeAfterMs === 0 ? 0 : pauseBefore(run, next, io);
  if (waitMs > 0) return Math.min(waitMs, wakeAfterMs ?? waitMs);
  const sealing = statusAfter === undefined ? undefined : decisions.find(isHarmlessSeal);
  // Where the end takes nothing away, it is done and told in one write.
  if (sealing !== undefined) await perform(sealing, run, io);
  const first = sealing === undefined || statusAfter === undefined ? next : statusAfter;
  const resourceVersion = await write(run, first, io); // first: a failing effect cannot hide it
  for (const loss of losses) io.report?.({ kind: "Lost", key: run.key, uid: run.uid, loss });
  for (const decision of decisions) if (decision !== sealing) await perform(decision, run, io); // a throw backs off
  if (statusAfter !== undefined && sealing === undefined)
    await write({ ...run, status: next, resourceVersion }, statusAfter, io);
  return wakeAfterMs;
}

/** In the pass that ends the run, while all of its journal is there. */
async function endHash(
  run: StoredExecution,
  status: ExecutionStatus,
  snapshot: string,
  io: HostIo,
): Promise<Pick<ExecutionStatus, "traceHash" | "replay">> {
  if (status.completedAt === undefined || run.status?.completedAt !== undefined) return {};
  // A Strict replay has its own from its worker.
  if (status.traceHash !== undefined) return {};
  const store = await io.journal(run);
  try {
    const record = await readRecord(store, { ...run, status }, io.snapshots.get(snapshot));
    const { traceHash, ...counts } = await readEnd(record);
    return { traceHash, ...(status.replay === undefined ? {} : { replay: { ...status.replay, ...counts } }) };
  } catch (error) {
    if (error instanceof OaoError && !(error instanceof RecordChanged)) throw error;
    // A worker can write into its journal what is no entry. That has no trace, and keeps nothing from ending (S1).
    io.report?.({ kind: "Failed", key: run.key, error, retryAfterMs: 0 });
    return {};
  }
}

/** Of a journal that is kept whole: done before its run is told to have ended, it only sets the time that it is kept. */
function isHarmlessSeal(decision: Decision): boolean {
  return decision.kind === "Seal" && !decision.dropBodies && decision.expireSeconds > 0;
}

/** Undefined = the snapshot is gone. Until there is something to do, a plan that only needs to read on needs no write. */
async function look(
  run: StoredExecution,
  status: ExecutionStatus,
  snapshot: string,
  io: HostIo,
): Promise<Plan | undefined> {
  for (let looks = 1; ; looks += 1) {
    const seen = await observe(run, status, snapshot, io);
    if (seen === undefined) return undefined;
    const planned = plan(seen, io.clock.nowMs());
    if (planned.bodies.length > 0) await putNew(await io.journal(run), run.uid, seen, planned.bodies);
    if (planned.decisions.length > 0 || planned.wakeAfterMs !== 0 || looks === looksMax) return planned;
    status = planned.status;
  }
}

/** What a run that this one replays has already is read from there. */
async function putNew(
  store: JournalStore,
  uid: string,
  { replay }: Seen,
  bodies: readonly StoredBody[],
): Promise<void> {
  const digests = bodies.map(({ digest }) => digest);
  const known = await bodiesOfRuns(store, replay?.lineage ?? [], digests);
  await store.putBodies(
    uid,
    bodies.filter(({ digest }) => !known.has(digest)),
  );
}

function pauseBefore(run: StoredExecution, next: ExecutionStatus, io: HostIo): number {
  return io.pace?.waitMs(run.uid, changeOf(run.status, next), io.clock.monotonicMs()) ?? 0;
}

/** What a run goes on from vanished under it, or was edited: nothing of it can be resumed. What it says comes before what it takes away. */
async function unreadable(
  run: StoredExecution,
  status: ExecutionStatus,
  changed: RecordChanged | undefined,
  io: HostIo,
): Promise<undefined> {
  const gone = `the journal store does not have the snapshot ${status.snapshot ?? ""} that this run was opened with`;
  const [reason, message] = changed === undefined ? ["DurabilityLost", gone] : ["RecordChanged", changed.message];
  const ended =
    status.completedAt === undefined
      ? failedStatus(status, reason, message, run.generation, io.clock.nowMs())
      : { ...status, observedGeneration: run.generation, sealed: true };
  if (changed === undefined) return finish(run, ended, io);
  const told = { ...ended, sealed: false };
  const resourceVersion = await write(run, told, io);
  await stopAll(run, io);
  await expireJournal(run, told, io);
  return finish({ ...run, status: told, resourceVersion }, ended, io);
}

/** Of a run that is given up: what is left of its journal goes when its retention is over. */
async function expireJournal(
  run: StoredExecution,
  { nodes, snapshot = "" }: ExecutionStatus,
  io: HostIo,
): Promise<void> {
  const { journalRetentionSeconds: seconds = executionDefaults.journalRetentionSeconds } = run.object.spec;
  const items = nodes.flatMap(({ name: node, itemCount }): NodeKey[] =>
    itemCount === undefined ? [{ node }] : Array.from({ length: itemCount }, (_, item) => ({ node, item })),
  );
  // Where what it was opened with was edited, nothing says that its contents are not to be kept.
  const dropBodies = io.snapshots.get(snapshot)?.policy.recording.content === "DigestOnly";
  await perform({ kind: "Seal", items, expireSeconds: seconds, dropBodies, keep: [snapshot] }, run, io);
}

async function finish(run: StoredExecution, status: ExecutionStatus, io: HostIo): Promise<undefined> {
  await write(run, status, io);
  await stopAll(run, io);
  return undefined;
}

/** The end of a worker is an event, but not where it was orphaned meanwhile (kubectl delete --cascade=orphan). */
const stopLookMs = 5_000;

/** Whether none is left; else the end of each is an event that brings the run back here. */
async function stopAll(run: StoredExecution, io: HostIo): Promise<boolean> {
  const live = (await io.cluster.workers(run.uid)).filter(({ state }) => state !== "Exited");
  for (const worker of live) await io.cluster.stopWorker(run.uid, worker, io.stopGraceMs);
  return live.length === 0;
}

/** Workers that have said their last word end by themselves, and their logs stay; one that does not is ended after the grace. */
async function settle(run: StoredExecution, io: HostIo): Promise<number | undefined> {
  const completedMs = Date.parse(run.status?.completedAt ?? "");
  const leftMs = completedMs + io.stopGraceMs - io.clock.nowMs();
  const live = (await io.cluster.workers(run.uid)).some(({ state }) => state !== "Exited");
  if (live && leftMs > 0) return leftMs;
  if (!(await stopAll(run, io))) return stopLookMs;
  await io.cluster.release(run);
  return expire(run, completedMs, io);
}

/** Timers are made for days at most; a later look costs nothing. */
const expiryLookMs = 3_600_000;

async function expire(run: StoredExecution, completedMs: number, io: HostIo): Promise<number | undefined> {
  const expiry = expiryOf(run.object, completedMs);
  if (expiry === undefined || expiry.keptBy !== undefined) return undefined;
  const leftMs = expiry.atMs - io.clock.nowMs();
  if (leftMs > 0) return Math.min(leftMs, expiryLookMs);
  await io.cluster.remove(run);
  return undefined;
}

function isOver({ status, generation }: StoredExecution): boolean {
  return status?.completedAt !== undefined && status.sealed === true && status.observedGeneration === generation;
}

/**
 * The object was deleted: no call is admitted any more, its workers end, its journal goes when its retention is over, and then so
 * does the object. Nothing is started for it, `finally` included: a namespace that is going away takes nothing new.
 */
async function letGo(run: StoredExecution, io: HostIo): Promise<number | undefined> {
  const { status } = run;
  const isOpen = status?.snapshot !== undefined && status.completedAt === undefined;
  if (isOpen)
    await perform({ kind: "SetControl", to: "Cancelled", message: "the Execution was deleted" }, run, io).catch(
      (error: unknown) => io.report?.({ kind: "Failed", key: run.key, error, retryAfterMs: 0 }), // its workers are told all the same
    );
  if (!(await stopAll(run, io))) return stopLookMs;
  if (isOpen) {
    await expireJournal(run, status, io);
    io.report?.({ kind: "LetGo", key: run.key, uid: run.uid });
  }
  await io.cluster.release(run);
  return undefined;
}

/** An unchanged status is not written, else every write would wake the loop that wrote it. */
async function write(run: StoredExecution, status: ExecutionStatus, io: HostIo): Promise<string> {
  if (run.status !== undefined && sameJson(run.status, status)) return run.resourceVersion;
  const resourceVersion = await io.cluster.writeStatus(run, status);
  io.pace?.written(run.uid, io.clock.monotonicMs());
  io.report?.({ kind: "Status", key: run.key, uid: run.uid, status, before: run.status });
  return resourceVersion;
}
