/** The start of a run: resolve its policies, fix them with the spec as the snapshot (G2), open its journal. */
import type { GovernancePolicy } from "../api/policy.ts";
import { type Condition, type ExecutionStatus, statusLimits } from "../api/status.ts";
import { graphProblems } from "../core/dag/spec-graph.ts";
import { canonicalJson, digestJson, sha256Hex } from "../core/digest/digest.ts";
import { OaoError } from "../core/errors/errors.ts";
import { admit, type Waiting } from "../core/planner/admit.ts";
import { failedStatus } from "../core/planner/plan.ts";
import { initialStatus } from "../core/planner/render.ts";
import { withTimes } from "../core/planner/conditions.ts";
import { combinePolicies, type GoverningPolicy } from "../core/policy/combine.ts";
import { checkImages } from "../core/policy/checks.ts";
import type { EffectivePolicy, Violation } from "../core/policy/types.ts";
import { executionLimits } from "../core/policy/limits.ts";
import type { Snapshot } from "../core/steps/format.ts";
import type { StoredExecution, StoredPolicy } from "../ports/cluster.ts";
import { freshStatus, held, otherHolder } from "./holder.ts";
import type { HostIo } from "./io.ts";
import { lookAgainMs } from "./slots.ts";
import { storeLife } from "./store-life.ts";

export const defaultPolicyLabel = "oao.dev/default";
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
 * invalid one governs, or whose journal store is not fit for it (core/planner/admit.ts) waits, says so, and starts when that is mended; a spec that is no graph is Failed(InvalidSpec).
 * Repeat: the first snapshot that reached the journal stands. Throws StoreUnavailable, StoreFull.
 */
export async function openRun(run: StoredExecution, io: HostIo): Promise<Opened> {
  const { spec } = run.object;
  const nowMs = io.clock.nowMs();
  const problems = specProblems(run);
  const fresh = held(run.status ?? freshStatus(run, nowMs), io);
  if (problems.length > 0) {
    return over(run, failedStatus(fresh, "InvalidSpec", problems.slice(0, 10).join("; "), run.generation, nowMs));
  }
  const governing = governingPolicies(run, io.floorPolicies, await io.cluster.policies(run.key.namespace));
  if ("reason" in governing) return waits(run, fresh, governing, nowMs);
  const policy = combinePolicies(governing, { requirePairing: io.requireSecretPairing });
  const images = checkImages(spec, policy);
  const refused = images.find(({ enforcement }) => enforcement === "Enforce");
  if (refused !== undefined) {
    return over(run, failedStatus(fresh, "PolicyViolation", refused.message, run.generation, nowMs));
  }
  const place = await queued(run, policy, io);
  if (place !== undefined) return waits(run, fresh, place, nowMs);
  let started: Opened | undefined;
  try {
    const unfit = await unfitStore(run, policy, io);
    if (unfit !== undefined) return waits(run, fresh, unfit, nowMs);
    started = await start(run, policy, governing, images, io);
    return started;
  } finally {
    if (started === undefined) io.slots.give(run);
  }
}

/** What the API server takes and nothing here could read, write or run. */
function specProblems({ object: { spec } }: StoredExecution): readonly string[] {
  try {
    canonicalJson(spec);
    return graphProblems(spec);
  } catch (error) {
    return [error instanceof Error ? error.message.slice(0, 500) : String(error)];
  }
}

async function start(
  found: StoredExecution,
  policy: EffectivePolicy,
  governing: readonly GoverningPolicy[],
  audited: readonly Violation[],
  io: HostIo,
): Promise<Opened> {
  const run = await io.cluster.hold(found, io.operator); // no worker may outlive its object unseen
  const { spec } = run.object;
  const snapshot: Snapshot = { v: 1, uid: run.uid, namespace: run.key.namespace, name: run.key.name, spec, policy };
  const bytes = canonicalJson(snapshot);
  const body = { digest: sha256Hex(bytes), bytes };
  const digest = await open(run, io, body, executionLimits(policy));
  // As whoever reads the body sees it.
  if (digest === body.digest) io.snapshots.set(digest, JSON.parse(bytes) as Snapshot);
  const policyHash = digestJson([...new Set(governing.map((each) => digestJson(each.policy.spec)))].sort());
  const opened = { snapshot: digest, policies: policy.policies, policyHash };
  const auditFindings = [...new Set(audited.map(({ message }) => message.slice(0, statusLimits.messageChars)))];
  const status = {
    ...held(initialStatus(spec, io.clock.nowMs(), opened), io),
    ...(audited.length === 0 ? {} : { auditFindings: auditFindings.slice(0, statusLimits.auditFindings) }),
    observedGeneration: run.generation,
  };
  return { run, status, wakeAfterMs: 0 };
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

async function unfitStore(run: StoredExecution, policy: EffectivePolicy, io: HostIo): Promise<Waiting | undefined> {
  const store = await io.journal(run);
  return admit({
    spec: run.object.spec,
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

/** Why a run cannot be governed yet. */
interface Ungoverned {
  readonly reason: "PolicyNotFound" | "PolicyInvalid";
  readonly message: string;
}

/** Floor, the namespace's defaults, policyRef; or why there is no answer. An invalid default governs like a valid one. */
export function governingPolicies(
  run: StoredExecution,
  floor: readonly GovernancePolicy[],
  inNamespace: readonly StoredPolicy[],
): readonly GoverningPolicy[] | Ungoverned {
  const found: GoverningPolicy[] = floor.map((policy) => ({ policy, role: "Floor" }));
  for (const policy of inNamespace) {
    if (policy.metadata.labels?.[defaultPolicyLabel] === "true") found.push({ policy, role: "Default" });
  }
  const wanted = run.object.spec.policyRef?.name;
  if (wanted !== undefined) {
    const named = inNamespace.find((policy) => policy.metadata.name === wanted);
    if (named === undefined) {
      const message = `policyRef names GovernancePolicy "${wanted}", which namespace ${run.key.namespace} does not have; create it and the run starts`;
      return { reason: "PolicyNotFound", message };
    }
    found.push({ policy: named, role: "Ref" });
  }
  return invalidOf(run, inNamespace, found) ?? found;
}

function invalidOf(
  run: StoredExecution,
  inNamespace: readonly StoredPolicy[],
  governing: readonly GoverningPolicy[],
): Ungoverned | undefined {
  const invalid = inNamespace.find(
    (stored) => stored.problem !== undefined && governing.some(({ policy }) => policy === stored),
  );
  if (invalid === undefined) return undefined;
  const message = `GovernancePolicy "${invalid.metadata.name}" of namespace ${run.key.namespace} governs this run and is invalid (${invalid.problem}); correct it and the run starts`;
  return { reason: "PolicyInvalid", message };
}

async function open(
  run: StoredExecution,
  io: HostIo,
  body: { readonly digest: string; readonly bytes: string },
  { limits, auditLimits }: ReturnType<typeof executionLimits>,
): Promise<string> {
  const store = await io.journal(run);
  await store.putBodies(run.uid, [body]);
  const reply = await store.execute(run.uid, { op: "open", snapshot: body.digest, limits, auditLimits });
  if (reply.code === "OK") return body.digest;
  // Opened before, by a host that died before it wrote the status, under the policies of that moment.
  const first = (await store.view(run.uid, [])).execution?.snapshot;
  if (reply.code === "INVALID" && first !== undefined) return first;
  throw new OaoError(
    "OAO_PROTOCOL",
    `the journal of ${run.key.namespace}/${run.key.name} cannot be opened: ${JSON.stringify(reply)}`,
  );
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
