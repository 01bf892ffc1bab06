/**
 * The least that an operator writes, and nothing else: finalizer, status, a pod for one node after the other with a status in between,
 * status, finalizer. No plan, no journal, no Secret, no Event, no policy, no precondition but what the API server asks for.
 * Arguments: kubeconfig, namespace.
 */
import { shownSpec } from "../../../src/core/replay/spec.ts";
import { systemClock } from "../../../src/adapters/clock/system-clock.ts";
import { KubeClient } from "../../../src/adapters/kube/client.ts";
import { loadKubeConfig } from "../../../src/adapters/kube/connection.ts";
import { Informer } from "../../../src/adapters/kube/informer.ts";
import { finalizer, workerSelector } from "../../../src/adapters/kube/names.ts";
import { workerPod } from "../../../src/adapters/kube/pod.ts";
import { defaultResources } from "../../../src/adapters/kube/pod-resources.ts";
import { resourcePath, resources } from "../../../src/adapters/kube/resources.ts";
import { type KubeExecution, storedExecution } from "../../../src/adapters/kube/stored.ts";
import type { WorkerPod } from "../../../src/adapters/kube/worker-view.ts";
import { apiVersion } from "../../../src/api/common.ts";
import type { ExecutionStatus } from "../../../src/api/status.ts";
import { initialStatus } from "../../../src/core/planner/render.ts";
import { openPolicy } from "../../support/policies.ts";

const [kubeconfig = "", namespace = ""] = process.argv.slice(2);
const client = new KubeClient(loadKubeConfig(kubeconfig), { clock: systemClock, userAgent: "null-operator" });
const common = { client, clock: systemClock, namespace };
const executions = new Informer<KubeExecution>({ ...common, resource: resources.executions });
const pods = new Informer<WorkerPod>({ ...common, resource: resources.pods, labelSelector: workerSelector });
const settings = {
  workerImage: "oao-worker:bench",
  storeUrl: "redis://127.0.0.1:6379/0",
  hasStoreCa: false,
  denyCidrs: [],
  resources: defaultResources,
  leaseTtlMs: 10_000,
  graceSeconds: 15,
};
const policy = openPolicy();
const ended = new Map<string, () => void>();

pods.onChange(({ object }) => {
  if (object.status?.phase === "Succeeded") ended.get(object.metadata.name)?.();
});
executions.onChange(({ type, object }) => {
  if (type === "Added" && object.status?.completedAt === undefined) void host(object);
});
executions.start();
pods.start();
await Promise.all([executions.synced, pods.synced]);
process.stdout.write("ready\n");

async function host(object: KubeExecution): Promise<void> {
  const run = storedExecution(object);
  const { key, uid } = run;
  const spec = shownSpec(object, undefined);
  const setFinalizers = (finalizers: readonly string[]) =>
    client.request<KubeExecution>({
      method: "PATCH",
      patch: "Merge",
      path: resourcePath(resources.executions, key),
      body: { metadata: { finalizers } },
    });
  const snapshot = "0".repeat(64);
  const base: ExecutionStatus = {
    ...initialStatus(spec, Date.now(), { snapshot, policies: [], policyHash: snapshot }),
    observedGeneration: 1,
    phase: "Running",
  };
  let { resourceVersion } = (await setFinalizers([finalizer])).metadata;
  const write = async (ended_: number, more: Partial<ExecutionStatus> = {}) => {
    const nodes = spec.nodes.map(({ name }, n) => ({
      name,
      state: n < ended_ ? ("Succeeded" as const) : n === ended_ ? ("Running" as const) : ("Pending" as const),
    }));
    const body = {
      apiVersion,
      kind: "Execution",
      metadata: { ...key, uid, resourceVersion },
      status: { ...base, nodes, ...more },
    };
    const path = resourcePath(resources.executions, { ...key, subresource: "status" });
    const written = await client.request<KubeExecution>({ method: "PUT", path, body });
    resourceVersion = written.metadata.resourceVersion;
  };
  for (const [n, { name: node }] of spec.nodes.entries()) {
    await write(n);
    const order = { uid, key, node, attempt: 1, try: 1, phase: "Main", snapshot, outputs: {} } as const;
    const body = workerPod(run, order, { v: 1, uid, namespace, name: key.name, spec, policy }, `oao-${uid}`, settings);
    const over = new Promise<void>((resolve) => ended.set(String(body.metadata?.name), resolve));
    await client.request({ method: "POST", path: resourcePath(resources.pods, { namespace }), body });
    await over;
  }
  await write(spec.nodes.length, { phase: "Succeeded", completedAt: new Date().toISOString(), sealed: true });
  await setFinalizers([]);
}
