/** Objects of the API server as the host sees them. */
import { apiVersion } from "../../api/common.ts";
import { governancePolicy } from "../../api/policy.ts";
import { checkRules } from "../../api/rules.ts";
import type { ExecutionStatus } from "../../api/status.ts";
import type { Execution, GovernancePolicy } from "../../api/types.ts";
import type { StoredExecution, StoredPolicy } from "../../ports/cluster.ts";
import { holderOf } from "./names.ts";
import type { KubeObject, ObjectMeta } from "./resources.ts";

export interface KubeExecution extends KubeObject {
  readonly spec: Execution["spec"];
  readonly status?: ExecutionStatus;
}

export interface KubePolicy extends KubeObject {
  readonly spec: GovernancePolicy["spec"];
  readonly status?: PolicyStatus;
}

/** What people read of a policy; runs read its spec. */
export interface PolicyStatus {
  readonly observedGeneration: number;
  /** sha256 of the canonical JSON of the spec; absent while it is invalid. */
  readonly hash?: string;
  readonly conditions: readonly {
    readonly type: "Ready";
    readonly status: "True" | "False";
    readonly reason: "Valid" | "Invalid";
    readonly message: string;
    readonly lastTransitionTime: string;
  }[];
}

/** kubectl keeps a whole copy of the object in it. */
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration";
const problemLengthMax = 300;

/**
 * What the cache keeps. Of a run with nothing left to do, only what removing it needs of the spec: the spec is never
 * written back, and a change of it comes with the next version of the object.
 */
export function trimExecution(object: KubeExecution): KubeExecution {
  const { spec, status } = object;
  const metadata = withoutLastApplied(object.metadata);
  const isOver =
    status?.completedAt !== undefined &&
    status.sealed === true &&
    status.observedGeneration === object.metadata.generation;
  if (!isOver) return { metadata, spec, ...(status === undefined ? {} : { status }) };
  const { models: _models, tools: _tools, agents: _agents, input: _input, finally: _finally, ...small } = spec;
  return { metadata, spec: { ...small, task: "", nodes: [] }, status };
}

export function trimPolicy({ metadata, spec, status }: KubePolicy): KubePolicy {
  return { metadata: withoutLastApplied(metadata), spec, ...(status === undefined ? {} : { status }) };
}

export function storedExecution({ metadata, spec, status }: KubeExecution): StoredExecution {
  const { name, namespace = "", uid, resourceVersion, generation = 1 } = metadata;
  return {
    key: { namespace, name },
    uid,
    resourceVersion,
    generation,
    createdAtMs: timeOf(metadata.creationTimestamp) ?? 0,
    deletedAtMs: timeOf(metadata.deletionTimestamp),
    heldBy: holderOf(uid, metadata.annotations),
    object: {
      apiVersion,
      kind: "Execution",
      metadata: { ...metadata },
      spec,
    },
    // A status that only holds what the schema defaults says that nobody has written one.
    status: status?.phase === undefined ? undefined : status,
  };
}

/** The API server may hold what this version cannot read: objects of an older or a newer schema. */
export function storedPolicy({ metadata, spec }: KubePolicy): StoredPolicy {
  const object = {
    apiVersion,
    kind: "GovernancePolicy",
    metadata: { ...metadata },
    spec,
  } as GovernancePolicy;
  const problem = policyProblem(object);
  return problem === undefined ? object : { ...object, problem };
}

function policyProblem(object: GovernancePolicy): string | undefined {
  const parsed = governancePolicy.safeParse(object);
  const found = parsed.success
    ? checkRules("GovernancePolicy", object).map(({ path, message }) => `${path.join(".")}: ${message}`)
    : parsed.error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`);
  return found.length === 0 ? undefined : found.join("; ").slice(0, problemLengthMax);
}

function withoutLastApplied(metadata: ObjectMeta): ObjectMeta {
  if (metadata.annotations?.[lastApplied] === undefined) return metadata;
  const { [lastApplied]: _, ...annotations } = metadata.annotations;
  return { ...metadata, annotations };
}

function timeOf(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Date.parse(text);
}
