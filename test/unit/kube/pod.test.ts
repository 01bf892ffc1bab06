import { expect, test } from "vitest";
import { podName } from "../../../src/adapters/kube/names.ts";
import { type PodSettings, workerPod } from "../../../src/adapters/kube/pod.ts";
import { defaultResources } from "../../../src/adapters/kube/pod-resources.ts";
import { resourcePath, resources } from "../../../src/adapters/kube/resources.ts";
import type { ExecutionSpec } from "../../../src/api/types.ts";
import type { Snapshot } from "../../../src/core/steps/format.ts";
import type { StoredExecution, WorkerOrder } from "../../../src/ports/cluster.ts";
import { openPolicy } from "../../support/policies.ts";

const uid = "0b5d9a7e-2f0b-4f43-9d37-1a4d0d6c2a11";
const spec: ExecutionSpec = {
  task: "steal $(OAO_STORE_PASSWORD)",
  models: [
    {
      name: "main",
      provider: "openai",
      model: "m",
      baseURL: "https://llm.test/v1",
      apiKeySecretRef: { name: "llm", key: "api-key" },
    },
  ],
  agents: [{ name: "writer", model: "main" }],
  nodes: [{ name: "write", agent: { ref: "writer", prompt: "$(OAO_STORE_PASSWORD)" } }, { name: "plain" }],
};
const key = { namespace: "team-a", name: "brief" };
const run: StoredExecution = {
  key,
  uid,
  resourceVersion: "7",
  generation: 1,
  createdAtMs: 0,
  object: { apiVersion: "oao.dev/v1alpha1", kind: "Execution", metadata: key, spec },
  status: undefined,
};
const order = (node: string, item?: number): WorkerOrder => ({
  uid,
  key,
  node,
  ...(item === undefined ? {} : { item }),
  attempt: 2,
  try: 1,
  phase: "Main",
  snapshot: "ab".repeat(32),
  outputs: {},
});
const settings: PodSettings = {
  workerImage: "oao-worker:test",
  storeUrl: "rediss://redis.oao:6379/0",
  hasStoreCa: true,
  denyCidrs: ["10.96.0.1/32"],
  resources: defaultResources,
  leaseTtlMs: 10_000,
  graceSeconds: 15,
};
const pod = (node: string, item?: number, policy = openPolicy()) => {
  const snapshot: Snapshot = { v: 1, uid, ...key, spec, policy };
  return workerPod(run, order(node, item), snapshot, `oao-${uid}`, settings);
};
const environment = (node: string, policy = openPolicy()) =>
  new Map(pod(node, undefined, policy).spec?.containers[0]?.env?.map((each) => [each.name, each]));

test("a pod passes the Pod Security level restricted", () => {
  const { spec: built } = pod("write");
  expect(built?.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } });
  expect(built?.containers).toHaveLength(1);
  expect(built?.containers[0]?.securityContext).toEqual({
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ["ALL"] },
  });
  for (const host of ["hostNetwork", "hostPID", "hostIPC"] as const) expect(built?.[host]).toBeUndefined();
  expect(built?.volumes?.every(({ emptyDir, secret }) => emptyDir !== undefined || secret !== undefined)).toBe(true);
});

test("a pod gets no token of the cluster, no service addresses and no restart", () => {
  expect(pod("write").spec).toMatchObject({
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    restartPolicy: "Never",
    terminationGracePeriodSeconds: 15,
  });
});

test("no text of the manifest reaches a pod: the kubelet would expand it", () => {
  expect(JSON.stringify(pod("write"))).not.toContain("$(");
});

test("a secret is referred to by name only, and a missing key is an error of the pod", () => {
  const given = environment("write").get("OAO_SECRET_LLM_API_KEY");
  expect(given?.value).toBeUndefined();
  expect(given?.valueFrom?.secretKeyRef).toEqual({ name: "llm", key: "api-key", optional: false });
  expect(environment("write").get("OAO_STORE_PASSWORD")?.valueFrom?.secretKeyRef).toEqual({
    name: `oao-${uid}`,
    key: "password",
    optional: false,
  });
});

test("a pod gets only the secrets of its own node, and only those that a policy pairs with their endpoint", () => {
  expect([...environment("plain").keys()].filter((name) => name.startsWith("OAO_SECRET_"))).toEqual([]);
  const strict = openPolicy({ requirePairing: true });
  expect(environment("write", strict).has("OAO_SECRET_LLM_API_KEY")).toBe(false);
});

test("a pod names its run, node, item and attempt, and goes with its Execution", () => {
  const { metadata } = pod("write", 3);
  expect(metadata?.labels).toEqual({
    "app.kubernetes.io/managed-by": "oao",
    "app.kubernetes.io/component": "worker",
    "oao.dev/execution-uid": uid,
    "oao.dev/node": "write",
    "oao.dev/item": "3",
    "oao.dev/attempt": "2",
  });
  expect(metadata?.ownerReferences).toEqual([
    {
      apiVersion: "oao.dev/v1alpha1",
      kind: "Execution",
      name: "brief",
      uid,
      controller: true,
      blockOwnerDeletion: true,
    },
  ]);
  expect(metadata?.name).toBe(podName(uid, { node: "write", item: 3 }, 2));
});

test("the order in a pod is the one that was given", () => {
  expect(JSON.parse(environment("write").get("OAO_ORDER")?.value ?? "")).toEqual(order("write"));
});

test("names of pods are the same each time, differ by run, node, item and attempt, and fit into a label", () => {
  const long = "n".repeat(63);
  const names = [
    podName(uid, { node: long }, 1),
    podName(uid, { node: long }, 2),
    podName(uid, { node: long, item: 0 }, 1),
    podName(uid, { node: long, item: 1 }, 1),
    podName(uid, { node: "other" }, 1),
    podName("other", { node: long }, 1),
  ];
  expect(new Set(names).size).toBe(names.length);
  expect(podName(uid, { node: long }, 1)).toBe(names[0]);
  for (const name of names) expect(name).toMatch(/^oao-[0-9a-f]{8}-[0-9a-f]{10}-\d+$/);
});

test("a hostile name cannot reach another resource", () => {
  expect(resourcePath(resources.pods, { namespace: "a/../../b", name: "x/exec?y#z" })).toBe(
    "/api/v1/namespaces/a%2F..%2F..%2Fb/pods/x%2Fexec%3Fy%23z",
  );
  expect(resourcePath(resources.executions, { namespace: "n", name: "r", subresource: "status" })).toBe(
    "/apis/oao.dev/v1alpha1/namespaces/n/executions/r/status",
  );
});
