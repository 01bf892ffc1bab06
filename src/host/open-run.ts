/** The start of a run: resolve its policies, fix them with the spec as the snapshot (G2), open its journal. */
import { executionDefaults } from "../api/defaults.ts";
import type { PolicySpec } from "../api/policy.ts";
import { type Condition, type ExecutionStatus, statusLimits } from "../api/status.ts";
import { graphProblems } from "../core/dag/spec-graph.ts";
import { canonicalJson } from "../core/digest/digest.ts";
import { OaoError } from "../core/errors/errors.ts";
import { hashedRules } from "../core/hash/content.ts";
import { driftOf, type ExecutionHash, executionHash, mismatchMessage } from "../core/hash/execution-hash.ts";
import { admit, type Waiting } from "../core/planner/admit.ts";
import { failedStatus } from "../core/planner/plan.ts";
import { initialStatus } from "../core/planner/render.ts";
import { withTimes } from "../core/planner/conditions.ts";
import { combinePolicies } from "../core/policy/combine.ts";
import { checkImages } from "../core/policy/checks.ts";
import type { EffectivePolicy, Violation } from "../core/policy/types.ts";
import { executionLimits } from "../core/policy/limits.ts";
import type { Snapshot } from "../core/steps/format.ts";
import { plannedSpec } from "../core/replay/strict.ts";
import { isWhole, shownSpec } from "../core/replay/spec.ts";
import { snapshotBodies } from "../core/replay/stored-snapshot.ts";
import type { Replay } from "../core/replay/types.ts";
import type { ExecutionSpec } from "../api/types.ts";
import { type ResolvedReplay, resolveReplay } from "./open-replay.ts";
import type { StoredExecution } from "../ports/cluster.ts";
import type { JournalStore } from "../ports/store.ts";
import { governingPolicies, type Ungoverned } from "./governing.ts";
import { freshStatus, held, otherHolder } from "./holder.ts";
import type { HostIo } from "./io.ts";
import { keepLineage, runningSeconds } from "./keep-lineage.ts";
import { loadSnapshot } from "./snapshots.ts";
import { checkParent } from "./origins.ts";
import { RecordChanged } from "./record-changed.ts";
import { lookAgainMs } from "./slots.ts";
import { storeLife } from "./store-life.ts";

/** Policies may appear, and a store be set right, any time; a watch usually tells of the former sooner. */
const pollMs = 10_000;

export interface Opened {
  /** As it was found, or as it is held now. */
  readonly run: StoredExecution;
  readonly status: ExecutionStatus;
  /** Look again after this long. */
  readonly wakeAfterMs: number | undefined;
}

/**
 * The status to write for a run that was not opened yet. Fails closed: a run whose policyRef names no policy, that an
 * invalid one governs, or whose journal store is not fit for it (core/planner/admit.ts) waits, says so, and starts when that is mended; a spec that is no graph is Failed(InvalidSpec),
 * one whose hash is not what it expects Failed(HashMismatch), a replay of an edited record Failed(RecordChanged).
 * Repeat: the first snapshot that reached the journal stands. Throws StoreUnavailable, StoreFull.
 */
export async function openRun(run: StoredExecution, io: HostIo): Promise<Opened> {
  const nowMs = io.clock.nowMs();
  const resolved = await unlessChanged(() => resolve(run, io));
  const fresh = held(run.status ?? freshStatus(run, nowMs), io);
  const recordChanged = ({ message }: RecordChanged) =>
    over(run, failedStatus(fresh, "RecordChanged", message, run.generation, nowMs));
  if (resolved instanceof RecordChanged) return recordChanged(resolved);
  const spec = "refused" in resolved ? shownSpec(run.object, run.status) : resolved.spec;
  if ("refused" in resolved)
    return over(run, failedStatus(fresh, "ReplayRefused", resolved.refused, run.generation, nowMs));
  const problems = specProblems(spec);
  if (problems.length > 0) {
    return over(run, failedStatus(fresh, "InvalidSpec", problems.slice(0, 10).join("; "), run.generation, nowMs));
  }
  const inNamespace = await io.cluster.policies(run.key.namespace);
  const wanted = spec.policyRef?.name;
  // What makes no call can be replayed where its policy is not, as an imported run can.
  const isNeeded = resolved.replay?.mode !== "Strict" || inNamespace.some(({ metadata }) => metadata.name === wanted);
  const governing = governingPolicies(run, isNeeded ? wanted : undefined, io.floorPolicies, inNamespace);
  if ("reason" in governing) return waits(run, fresh, governing, nowMs);
  const policy = combinePolicies(governing, { requirePairing: io.requireSecretPairing });
  const images = checkImages(spec, policy);
  const refused = images.find(({ enforcement }) => enforcement === "Enforce");
  if (refused !== undefined) {
    return over(run, failedStatus(fresh, "PolicyViolation", refused.message, run.generation, nowMs));
  }
  const rules = hashedRules(governing.map((each) => each.policy.spec));
  const hash = executionHash(spec, rules);
  const drift = driftOf(spec.expectedHash, { hash: hash.executionHash, ...hash.hashParts });
  if (drift.length > 0) {
    const message = mismatchMessage(drift, run.key);
    return over(run, failedStatus({ ...fresh, ...hash }, "HashMismatch", message, run.generation, nowMs));
  }
  const place = await queued(run, policy, io);
  if (place !== undefined) return waits(run, fresh, place, nowMs);
  let started: Opened | undefined;
  try {
    const unfit = await unfitStore(run, spec, policy, io);
    if (unfit !== undefined) return waits(run, fresh, unfit, nowMs);
    const changed = await unlessChanged(() => checkReplayed(resolved));
    if (changed instanceof RecordChanged) return recordChanged(changed);
    const opened = await unlessChanged(() => start(run, resolved, policy, rules, images, io));
    if (opened instanceof RecordChanged) return recordChanged(opened);
    started = opened;
    return started;
  } finally {
    if (started === undefined) io.slots.give(run);
  }
}

/** With all that a replay inherits. */
type Resolved = Pick<ResolvedReplay, "spec"> & Partial<ResolvedReplay>;

async function resolve(run: StoredExecution, io: HostIo): Promise<Resolved | { readonly refused: string }> {
  const { spec } = run.object;
  if (spec.replay !== undefined) return resolveReplay(run, spec.replay, io);
  return isWhole(spec) ? { spec } : { refused: "it has no task or no nodes, and no replay to inherit them from" };
}

/** A parent that was edited is the replay's own end, told once, and nothing to try again. */
async function unlessChanged<T>(work: () => Promise<T>): Promise<T | RecordChanged> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof RecordChanged) return error;
    throw error;
  }
}

/** Once, when it starts: a run that waits for its turn is resolved many times. */
async function checkReplayed({ spec, replay, lineage }: Resolved): Promise<void> {
  if (replay !== undefined && lineage !== undefined) await checkParent(lineage, { spec }, replay);
}

/** What the API server takes and nothing here could read, write or run. */
function specProblems(spec: ExecutionSpec): readonly string[] {
  try {
    canonicalJson(spec);
    return graphProblems(spec);
  } catch (error) {
    return [error instanceof Error ? error.message.slice(0, 500) : String(error)];
  }
}

async function start(
  found: StoredExecution,
  { spec, replay, base }: Resolved,
  policy: EffectivePolicy,
  rules: readonly PolicySpec[],
  audited: readonly Violation[],
  io: HostIo,
): Promise<Opened> {
  const run = await io.cluster.hold(found, io.operator); // no worker may outlive its object unseen
  const { uid, key } = run;
  const snapshot = { v: 1, uid, namespace: key.namespace, name: key.name, spec, policy, rules } as const;
  // Before it is opened: what it reads must be there for as long as it is.
  const kept = runningSeconds + (spec.journalRetentionSeconds ?? executionDefaults.journalRetentionSeconds);
  if (replay !== undefined) await keepLineage(await io.journal(run), replay.lineage, kept);
  const fixed = await open(run, io, replay === undefined ? snapshot : { ...snapshot, replay }, base);
  io.snapshots.set(fixed.digest, fixed.snapshot);
  const opened = { snapshot: fixed.digest, ...fixedBy(fixed.snapshot, rules) };
  const auditFindings = [...new Set(audited.map(({ message }) => message.slice(0, statusLimits.messageChars)))];
  const status = {
    ...held(initialStatus(plannedSpec(fixed.snapshot), io.clock.nowMs(), opened), io),
    ...(audited.length === 0 ? {} : { auditFindings: auditFindings.slice(0, statusLimits.auditFindings) }),
    observedGeneration: run.generation,
  };
  return { run, status, wakeAfterMs: 0 };
}

/** What the status says of a snapshot. One of OAO 0.1 does not hold its rules: those of now are the best guess then. */
function fixedBy(
  snapshot: Snapshot,
  rulesNow: readonly PolicySpec[],
): ExecutionHash & Pick<ExecutionStatus, "policies" | "policyHash"> {
  const hash = executionHash(snapshot.spec, snapshot.rules ?? rulesNow);
  return { policies: snapshot.policy.policies, policyHash: hash.hashParts.policy, ...hash };
}

function over(run: StoredExecution, status: ExecutionStatus): Opened {
  return { run, status, wakeAfterMs: undefined };
}

type Told = Ungoverned | Waiting | Queued;

/** Cancelled while it waited, it has ended. */
function waits(run: StoredExecution, fresh: ExecutionStatus, told: Told, nowMs: number): Opened {
  if (run.object.spec.desiredState === "Cancelled")
    return over(run, failedStatus(fresh, "Cancelled", told.message, run.generation, nowMs));
  const status = waitingStatus(fresh, told, run.generation, nowMs);
  return { run, status, wakeAfterMs: "lookAgainMs" in told ? told.lookAgainMs : pollMs };
}

async function unfitStore(
  run: StoredExecution,
  spec: ExecutionSpec,
  policy: EffectivePolicy,
  io: HostIo,
): Promise<Waiting | undefined> {
  const store = await io.journal(run);
  return admit({
    spec,
    policy,
    store: await storeLife(store, io.clock.monotonicMs()),
    fill: await store.fill(),
    requireFitStore: io.requireFitStore,
  });
}

interface Queued {
  readonly reason: "Queued" | "Suspended";
  readonly message: string;
  readonly lookAgainMs: number | undefined;
}

async function queued(run: StoredExecution, policy: EffectivePolicy, io: HostIo): Promise<Queued | undefined> {
  const { maxConcurrentExecutions: most } = policy;
  if (most === undefined) return undefined;
  // It asks for no turn, so it takes none.
  if (run.object.spec.desiredState === "Suspended")
    return { reason: "Suspended", message: "it is queued once it is resumed", lookAgainMs: undefined };
  const inNamespace = await io.cluster.list(run.key.namespace);
  const own = inNamespace.filter((each) => otherHolder(each, io) === undefined);
  const found = io.slots.take(run, most.limit, own);
  if (found === undefined) return undefined;
  const { place, waiting, running } = found;
  const message = `place ${place} of ${waiting}; ${running} of ${most.limit} are at work in namespace ${run.key.namespace} (policy ${most.policy}, limits.maxConcurrentExecutions)`;
  return { reason: "Queued", message, lookAgainMs: lookAgainMs(found) };
}

interface Fixed {
  readonly digest: string;
  /** As whoever reads the body sees it. */
  readonly snapshot: Snapshot;
}

/** The snapshot that stands from now on: this one, or that of a host which died before it wrote the status, under the policies of that moment. */
async function open(run: StoredExecution, io: HostIo, snapshot: Snapshot, base: Snapshot | undefined): Promise<Fixed> {
  const store = await io.journal(run);
  const { snapshot: body, ends } = snapshotBodies(snapshot, base);
  const { digest } = body;
  await store.putBodies(run.uid, [body]);
  if (ends !== undefined) await store.putBodies(await keeperOf(run, snapshot.replay, store), [ends]);
  const reply = await store.execute(run.uid, { op: "open", snapshot: digest, ...executionLimits(snapshot.policy) });
  if (reply.code === "OK") return { digest, snapshot: JSON.parse(canonicalJson(snapshot)) as Snapshot };
  const first = (await store.view(run.uid, [])).execution?.snapshot;
  const stands = first === undefined ? undefined : await loadSnapshot(store, [run.uid], first);
  if (reply.code === "INVALID" && first !== undefined && stands !== undefined)
    return { digest: first, snapshot: stands };
  throw new OaoError(
    "OAO_PROTOCOL",
    `the journal of ${run.key.namespace}/${run.key.name} cannot be opened: ${JSON.stringify(reply)}`,
  );
}

/** The replayed run, which is kept by now, and in which nothing that was recorded names it; where it is gone meanwhile, nothing is made of it. */
async function keeperOf({ uid }: StoredExecution, replay: Replay | undefined, store: JournalStore): Promise<string> {
  const { base, lineage: [origin] = [] } = replay ?? {};
  if (base === undefined || origin === undefined) return uid;
  return (await store.bodies(origin, [base])).size > 0 ? origin : uid;
}

function waitingStatus(fresh: ExecutionStatus, told: Told, generation: number, nowMs: number): ExecutionStatus {
  const { reason, message } = told;
  const why = { reason, message };
  // A queued run goes on by itself; any other waits for somebody.
  const goesOn = reason === "Queued";
  const isStalled = !goesOn && reason !== "Suspended";
  const now: Partial<Record<Condition["type"], Omit<Condition, "lastTransitionTime" | "type">>> = {
    Succeeded: { status: "Unknown", ...why },
    Ready: { status: "False", ...why },
    Reconciling: { status: goesOn ? "True" : "False", ...why },
    Stalled: isStalled ? { status: "True", ...why } : { status: "False", reason: "NotStalled", message: "" },
    ...(reason === "Suspended" ? { Suspended: { status: "True", ...why } } : {}),
  };
  const phase = reason === "Queued" || reason === "Suspended" ? reason : "Pending";
  return { ...fresh, phase, observedGeneration: generation, conditions: withTimes(fresh, now, nowMs) };
}
