/** The Cluster port on a real API server. */
import { shownSpec } from "../../../src/core/replay/spec.ts";
import { randomBytes } from "node:crypto";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../../../src/adapters/clock/system-clock.ts";
import { KubeCluster } from "../../../src/adapters/kube/kube-cluster.ts";
import { finalizer, podName, secretName } from "../../../src/adapters/kube/names.ts";
import { type KubeObject, resourcePath, resources } from "../../../src/adapters/kube/resources.ts";
import type { ExecutionStatus } from "../../../src/api/status.ts";
import type { ExecutionSpec } from "../../../src/api/types.ts";
import { initialStatus } from "../../../src/core/planner/render.ts";
import type { ObjectKey, StoredExecution, WorkerOrder } from "../../../src/ports/cluster.ts";
import { Conflict } from "../../../src/ports/cluster-errors.ts";
import { openPolicy } from "../../support/policies.ts";
import { eventually } from "../../support/patience.ts";
import { adminClient, deleteObject, installKinds, makeNamespace, removeNamespace } from "./api-server.ts";

const admin = adminClient();
const spec: ExecutionSpec = {
  task: "t",
  nodes: [{ name: "write", tool: { ref: "score" } }],
  tools: [{ name: "score", module: { path: "score.js" } }],
};
let namespace: string;
let cluster: KubeCluster;
let told: ObjectKey[];

beforeAll(async () => {
  await installKinds(admin);
  namespace = await makeNamespace(admin);
});
afterAll(async () => {
  await removeNamespace(admin, namespace);
  admin.close();
});
beforeEach(async () => {
  told = [];
  cluster = open();
  cluster.watch((key) => told.push(key));
  await cluster.start();
});
afterEach(() => cluster.stop());

function open(): KubeCluster {
  return new KubeCluster({
    client: admin,
    clock: systemClock,
    namespaces: [namespace],
    workerImage: "oao-worker:none",
    storeUrl: "redis://redis:6379/0",
    credentials: { ensure: (run) => Promise.resolve({ user: `oao-${run.uid}`, password: "s3cret" }) },
    snapshot: (run) =>
      Promise.resolve({
        v: 1,
        uid: run.uid,
        ...run.key,
        spec: shownSpec(run.object, run.status),
        policy: openPolicy(),
      }),
  });
}

async function apply(kind: "Execution" | "GovernancePolicy", name: string, body: object): Promise<KubeObject> {
  const path = resourcePath(kind === "Execution" ? resources.executions : resources.policies, { namespace });
  return admin.request({
    method: "POST",
    path,
    body: { apiVersion: "oao.dev/v1alpha1", kind, metadata: { name }, ...body },
  });
}

/** A run as the cluster sees it. */
async function newRun(name = `run-${randomBytes(3).toString("hex")}`): Promise<StoredExecution> {
  await apply("Execution", name, { spec });
  return seen(name);
}
async function seen(name: string): Promise<StoredExecution> {
  return eventually(async () => {
    const run = await cluster.get({ namespace, name });
    if (run === undefined) throw new Error(`${name} is not seen`);
    return run;
  });
}
const current = (run: StoredExecution) =>
  admin.request<KubeObject & { status?: ExecutionStatus }>({ path: resourcePath(resources.executions, run.key) });
const status = (more: Partial<ExecutionStatus> = {}) => ({
  ...initialStatus(spec, 0, {}),
  observedGeneration: 1,
  ...more,
});
const order = (run: StoredExecution, attempt = 1): WorkerOrder => ({
  uid: run.uid,
  key: run.key,
  node: "write",
  attempt,
  try: 1,
  phase: "Main",
  snapshot: "ab".repeat(32),
  outputs: {},
});
const podPath = (run: StoredExecution, attempt = 1, subresource?: string) =>
  resourcePath(resources.pods, {
    namespace,
    name: podName(run.uid, { node: "write" }, attempt),
    ...(subresource === undefined ? {} : { subresource }),
  });
/** What a kubelet would report. */
const report = (run: StoredExecution, podStatus: object) =>
  admin.request({ method: "PATCH", patch: "Merge", path: podPath(run, 1, "status"), body: { status: podStatus } });

/**
 * Gives the pod to a machine that does not exist; the pod collector leaves it alone for 40 s. Returns once the API server's own
 * cache shows it: a deletion that begins from an older view of the pod takes it for one without a machine, forgets the grace
 * that was asked for, and removes it at once (Kubernetes 1.34).
 */
async function bind(run: StoredExecution): Promise<void> {
  const target = { apiVersion: "v1", kind: "Node", name: `node-${run.uid}` };
  const body = { metadata: { name: podName(run.uid, { node: "write" }, 1) }, target };
  await admin.request({ method: "POST", path: podPath(run, 1, "binding"), body });
  const { resourceVersion } = (await admin.request<KubeObject>({ path: podPath(run) })).metadata;
  await admin.request({ path: podPath(run), query: { resourceVersion } }); // answered by the cache, when it is as new
}

describe("the status of a run", () => {
  test("is seen by the next read, before any watch tells it", async () => {
    const run = await newRun();
    const version = await cluster.writeStatus(run, status({ phase: "Running" }));
    expect(await cluster.get(run.key)).toMatchObject({ resourceVersion: version, status: { phase: "Running" } });
  });

  test("decided on an older version is refused with Conflict, and the newer one stands", async () => {
    const run = await newRun();
    await cluster.writeStatus(run, status({ phase: "Running" }));
    await expect(cluster.writeStatus(run, status({ phase: "Failed" }))).rejects.toThrow(Conflict);
    expect((await current(run)).status?.phase).toBe("Running");
  });

  test("replaces the old one whole: what is not in it any more is gone", async () => {
    const run = await newRun();
    await cluster.writeStatus(run, status({ phase: "Running", steps: 3 }));
    const next = (await cluster.get(run.key))!;
    await cluster.writeStatus(next, status({ phase: "Running" }));
    expect((await current(run)).status).not.toHaveProperty("steps");
  });

  test("of an object that is gone, or of a later one of its name, is refused with Conflict", async () => {
    const run = await newRun();
    await cluster.remove(run);
    await eventually(async () => expect(await cluster.get(run.key)).toBeUndefined());
    await expect(cluster.writeStatus(run, status())).rejects.toThrow(Conflict);
    const later = await newRun(run.key.name);
    await expect(cluster.writeStatus({ ...later, uid: run.uid }, status())).rejects.toThrow(Conflict);
  });

  test("says which runs of a namespace are open", async () => {
    const [open_, over] = [await newRun(), await newRun()];
    await cluster.writeStatus(over, status({ phase: "Succeeded", completedAt: "2026-01-01T00:00:00.000Z" }));
    const names = (await cluster.list(namespace)).map(({ key }) => key.name);
    expect(names).toContain(open_.key.name);
    expect(names).not.toContain(over.key.name);
    expect(await cluster.list("elsewhere")).toEqual([]);
  });
});

describe("a worker", () => {
  test("is one restricted pod, however often it is started, also by two hosts at once", async () => {
    const run = await newRun();
    const other = open();
    await other.start();
    await Promise.all([
      cluster.startWorker(order(run)),
      other.startWorker(order(run)),
      cluster.startWorker(order(run)),
    ]);
    // Where the other host was first, this one hears of the pod by its watch.
    await eventually(async () =>
      expect(await cluster.workers(run.uid)).toMatchObject([{ node: "write", attempt: 1, state: "Starting" }]),
    );
    await other.stop();
    const query = { labelSelector: `oao.dev/execution-uid=${run.uid}` };
    const path = resourcePath(resources.pods, { namespace });
    expect((await admin.request<{ items: object[] }>({ path, query })).items).toHaveLength(1);
  });

  test("finds its password in a Secret that goes with the run", async () => {
    const run = await newRun();
    await cluster.startWorker(order(run));
    const path = resourcePath(resources.secrets, { namespace, name: secretName(run.uid) });
    const secret = await admin.request<KubeObject & { data: Record<string, string> }>({ path });
    expect(Buffer.from(secret.data["password"] ?? "", "base64").toString()).toBe("s3cret");
    expect(secret.metadata.ownerReferences).toMatchObject([{ kind: "Execution", uid: run.uid }]);
  });

  test("that ended stays listed after its pod is gone", async () => {
    const run = await newRun();
    await cluster.startWorker(order(run));
    const state = { terminated: { exitCode: 13, reason: "Error" } };
    await report(run, {
      phase: "Failed",
      containerStatuses: [{ name: "worker", image: "i", imageID: "", ready: false, restartCount: 0, state }],
    });
    await eventually(async () =>
      expect(await cluster.workers(run.uid)).toMatchObject([{ state: "Exited", exit: "stopped" }]),
    );
    await admin.request({ method: "DELETE", path: podPath(run), body: { gracePeriodSeconds: 0 } });
    await eventually(() => expect(admin.request({ path: podPath(run) })).rejects.toMatchObject({ status: 404 }));
    await cluster.startWorker(order(run));
    await expect(admin.request({ path: podPath(run) })).rejects.toMatchObject({ status: 404 });
    expect(await cluster.workers(run.uid)).toMatchObject([{ state: "Exited", exit: "stopped" }]);
  });

  test("is stopped by deleting its pod, and a repeat is harmless", async () => {
    const run = await newRun();
    await cluster.startWorker(order(run));
    const [view] = await cluster.workers(run.uid);
    await cluster.stopWorker(run.uid, view!, 0);
    await cluster.stopWorker(run.uid, view!, 0);
    await eventually(() => expect(admin.request({ path: podPath(run) })).rejects.toMatchObject({ status: 404 }));
    await eventually(async () => expect(await cluster.workers(run.uid)).toEqual([]));
    await cluster.stopWorker(run.uid, view!, 0);
  });

  test("on a machine is given its grace, and is forced at once when it is stopped with none; its pod stays until it has ended", async () => {
    const run = await newRun();
    await cluster.startWorker(order(run));
    await bind(run);
    const grace = async () =>
      (await admin.request<KubeObject & { metadata: { deletionGracePeriodSeconds?: number } }>({ path: podPath(run) }))
        .metadata.deletionGracePeriodSeconds;
    const [view] = await cluster.workers(run.uid);
    await cluster.stopWorker(run.uid, view!, 60_000);
    expect(await grace()).toBe(60);
    await cluster.stopWorker(run.uid, view!, 30_000);
    await cluster.stopWorker(run.uid, view!, 0);
    expect(await grace()).toBe(1);
    await admin.request({ method: "DELETE", path: podPath(run), body: { gracePeriodSeconds: 0 } });
  });

  test("is not started for a run that is gone or being deleted", async () => {
    const run = await newRun();
    await cluster.hold(run);
    await cluster.remove(run);
    await eventually(async () => expect((await cluster.get(run.key))?.deletedAtMs).toBeDefined());
    await cluster.startWorker(order(run));
    expect(await cluster.workers(run.uid)).toEqual([]);
    await cluster.release((await cluster.get(run.key))!);
  });

  test("change wakes its run", async () => {
    const run = await newRun();
    await cluster.startWorker(order(run));
    told.length = 0;
    await report(run, { phase: "Running" });
    await eventually(() => expect(told).toContainEqual(run.key));
  });
});

describe("an object", () => {
  test("that is held stays when it is deleted, until it is released; repeats change nothing", async () => {
    const run = await newRun();
    await cluster.hold(run);
    const held = (await cluster.get(run.key))!;
    await cluster.hold(held);
    expect((await cluster.get(run.key))?.resourceVersion).toBe(held.resourceVersion);
    await cluster.remove(held);
    await eventually(async () => expect((await cluster.get(run.key))?.deletedAtMs).toBeDefined());
    const deleted = (await cluster.get(run.key))!;
    await cluster.release(deleted);
    await eventually(async () => expect(await cluster.get(run.key)).toBeUndefined());
    await cluster.release(deleted);
    await cluster.remove(deleted);
  });

  test("keeps the finalizers of others", async () => {
    const run = await newRun();
    const path = resourcePath(resources.executions, run.key);
    const others = (finalizers: string[]) =>
      admin.request<KubeObject>({ method: "PATCH", patch: "Merge", path, body: { metadata: { finalizers } } });
    await others(["example.test/mine"]);
    await expect(cluster.hold(run)).rejects.toThrow(Conflict);
    await eventually(async () => {
      await cluster.hold((await cluster.get(run.key))!);
      expect((await current(run)).metadata.finalizers).toEqual(["example.test/mine", finalizer]);
    });
    await cluster.release((await cluster.get(run.key))!);
    expect((await current(run)).metadata.finalizers).toEqual(["example.test/mine"]);
    const named = await cluster.hold((await cluster.get(run.key))!, "oao-system/oao");
    expect(named.heldBy).toBe("oao-system/oao");
    await cluster.release(named);
    expect((await cluster.get(run.key))?.heldBy).toBeUndefined();
    expect(Object.keys((await current(run)).metadata.annotations ?? {})).toEqual([]);
    await others([]);
  });

  test("is removed only as the one that was seen, not as a later one of its name", async () => {
    const run = await newRun();
    await cluster.remove(run);
    await eventually(async () => expect(await cluster.get(run.key)).toBeUndefined());
    const later = await newRun(run.key.name);
    await cluster.remove(run);
    expect((await current(later)).metadata.uid).toBe(later.uid);
  });
});

describe("a policy", () => {
  test("is seen by name, wakes runs that were not opened, and goes when it is deleted", async () => {
    const run = await newRun();
    told.length = 0;
    await apply("GovernancePolicy", "seen", { spec: { maxTokens: 5 } });
    await eventually(() => expect(told).toContainEqual(run.key));
    expect(await cluster.policies(namespace)).toMatchObject([{ metadata: { name: "seen" }, spec: { maxTokens: 5 } }]);
    await deleteObject(admin, resources.policies, namespace, "seen");
    await eventually(async () => expect(await cluster.policies(namespace)).toEqual([]));
  });
});
