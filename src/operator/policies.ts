/** The status of policies: whether each can govern, and the digest of its rules. Runs do not read it. */
import type { KubeClient } from "../adapters/kube/client.ts";
import type { KubeCluster } from "../adapters/kube/kube-cluster.ts";
import { isKubeError } from "../adapters/kube/kube-error.ts";
import { resourcePath, resources } from "../adapters/kube/resources.ts";
import type { PolicyStatus } from "../adapters/kube/stored.ts";
import { ruleDigest } from "../core/hash/content.ts";
import { sameJson } from "../host/status-pace.ts";
import { WorkQueue } from "../host/work-queue.ts";
import type { Clock } from "../ports/clock.ts";
import type { ObjectKey, StoredPolicy } from "../ports/cluster.ts";

export interface PolicyLoopOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly cluster: KubeCluster;
  readonly onError: (key: ObjectKey, error: unknown) => void;
}

/** Follows every policy until it is stopped: a stopped queue takes no more. */
export function policyLoop({ client, clock, cluster, onError }: PolicyLoopOptions): { stop(): Promise<void> } {
  const { policyObjects } = cluster;
  const queue = new WorkQueue<ObjectKey>({
    clock,
    nameOf: ({ namespace, name }) => `${namespace}/${name}`,
    parallel: 2,
    backoff: { firstMs: 200, maxMs: 60_000 },
    async work(key) {
      const found = policyObjects.policy(key);
      if (found === undefined) return undefined;
      const { object, stored } = found;
      const status = policyStatus(stored, object.metadata.generation ?? 1, object.status, clock.nowMs());
      if (sameJson(object.status, status)) return undefined;
      const { uid, resourceVersion } = object.metadata;
      const path = resourcePath(resources.policies, { ...key, subresource: "status" });
      const body = { metadata: { uid, resourceVersion }, status };
      await client.request({ method: "PATCH", patch: "Merge", path, body }).catch((error: unknown) => {
        // Changed or gone meanwhile: the watch says so, and it is looked at again.
        if (!isKubeError(error, 409) && !isKubeError(error, 404)) throw error;
      });
      return undefined;
    },
    onError,
  });
  policyObjects.watchPolicies((key) => queue.add(key));
  for (const { object } of policyObjects.allPolicies())
    queue.add({ namespace: object.metadata.namespace ?? "", name: object.metadata.name });
  return queue;
}

/** Pure. The time of a condition moves only when its status does. */
export function policyStatus(
  policy: StoredPolicy,
  generation: number,
  before: PolicyStatus | undefined,
  nowMs: number,
): PolicyStatus {
  const isValid = policy.problem === undefined;
  const status = isValid ? "True" : "False";
  const old = before?.conditions?.find(({ type }) => type === "Ready");
  const lastTransitionTime = old?.status === status ? old.lastTransitionTime : new Date(nowMs).toISOString();
  const message = policy.problem ?? "it governs the runs that start from now on";
  return {
    observedGeneration: generation,
    ...(isValid ? { hash: ruleDigest(policy.spec) } : {}),
    conditions: [{ type: "Ready", status, reason: isValid ? "Valid" : "Invalid", message, lastTransitionTime }],
  };
}
