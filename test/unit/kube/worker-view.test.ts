import { expect, test } from "vitest";
import { trimPod, workerView, type WorkerPod } from "../../../src/adapters/kube/worker-view.ts";
import { Workers } from "../../../src/adapters/kube/workers.ts";

const uid = "run-1";
type Status = NonNullable<WorkerPod["status"]>;
type State = NonNullable<NonNullable<Status["containerStatuses"]>[number]["state"]>;

function pod(status: Status, labels: Record<string, string> = {}): WorkerPod {
  return {
    metadata: {
      name: "oao-1",
      namespace: "team-a",
      uid: "p1",
      resourceVersion: "1",
      labels: { "oao.dev/execution-uid": uid, "oao.dev/node": "write", "oao.dev/attempt": "2", ...labels },
      ownerReferences: [{ kind: "Execution", name: "brief", uid }],
    },
    status,
  };
}
const container = (state: State): Pick<Status, "containerStatuses"> => ({
  containerStatuses: [{ name: "worker", state }],
});
const ended = (exitCode: number, more: object = {}) => container({ terminated: { exitCode, ...more } });
const condition = (type: string, status: string, reason?: string) => ({ type, status, ...(reason && { reason }) });

test.each<[string, Status, object]>([
  ["that was just made", { phase: "Pending" }, { state: "Starting" }],
  [
    "whose container is made",
    { phase: "Pending", ...container({ waiting: { reason: "ContainerCreating" } }) },
    { state: "Starting" },
  ],
  [
    "that has a machine and no container yet",
    {
      phase: "Pending",
      conditions: [{ ...condition("PodScheduled", "True"), lastTransitionTime: "2026-01-01T00:00:10Z" }],
    },
    {
      state: "Starting",
      startingSinceMs: Date.parse("2026-01-01T00:00:10Z"),
      detail: expect.stringContaining('"kubectl describe pod -n team-a oao-1" says why'),
    },
  ],
  [
    "that no machine has room for",
    { phase: "Pending", conditions: [condition("PodScheduled", "False", "Unschedulable")] },
    { state: "Starting", failure: "Unschedulable" },
  ],
  [
    "whose image is not there",
    { phase: "Pending", ...container({ waiting: { reason: "ImagePullBackOff" } }) },
    { state: "Starting", failure: "ImagePullFailed" },
  ],
  [
    "whose secret lacks a key",
    {
      phase: "Pending",
      ...container({ waiting: { reason: "CreateContainerConfigError", message: "couldn't find key api-key" } }),
    },
    { state: "Starting", failure: "BadConfig", detail: "CreateContainerConfigError: couldn't find key api-key" },
  ],
  ["that works", { phase: "Running", ...container({ running: {} }) }, { state: "Running" }],
  ["that is done", { phase: "Succeeded", ...ended(0) }, { state: "Exited", exit: "done" }],
  ["that failed by itself", { phase: "Failed", ...ended(10) }, { state: "Exited", exit: "failed" }],
  ["that was fenced", { phase: "Failed", ...ended(12) }, { state: "Exited", exit: "fenced" }],
  [
    "that ended in time when it was evicted",
    { phase: "Failed", reason: "Evicted", ...ended(13) },
    { state: "Exited", exit: "stopped", failure: "Evicted", detail: "Evicted: exit code 13" },
  ],
  [
    "that took too much memory",
    { phase: "Failed", ...ended(137, { reason: "OOMKilled" }) },
    { exit: "infrastructure", failure: "OOMKilled" },
  ],
  [
    "that was evicted before it started",
    { phase: "Failed", reason: "Evicted", message: "low on memory" },
    { exit: "infrastructure", failure: "Evicted", detail: "Evicted: low on memory" },
  ],
  [
    "that was preempted",
    { phase: "Failed", conditions: [condition("DisruptionTarget", "True", "PreemptionByScheduler")], ...ended(137) },
    { exit: "infrastructure", failure: "Evicted" },
  ],
  ["that ran past its deadline", { phase: "Failed", reason: "DeadlineExceeded" }, { failure: "DeadlineExceeded" }],
  ["that cannot be run", { phase: "Failed", ...ended(128, { reason: "StartError" }) }, { failure: "BadConfig" }],
  [
    "that was killed",
    { phase: "Failed", ...ended(137, { reason: "Error" }) },
    { failure: "Crashed", detail: "exit code 137" },
  ],
  [
    "of a machine that is not heard of",
    {
      phase: "Running",
      conditions: [condition("Ready", "False"), condition("ContainersReady", "True")],
      ...container({ running: {} }),
    },
    { state: "Exited", exit: "infrastructure", failure: "NodeLost" },
  ],
  [
    "that was bound to a machine that is not heard of, and never started",
    { phase: "Pending", conditions: [condition("DisruptionTarget", "True", "DeletionByTaintManager")] },
    { state: "Exited", exit: "infrastructure", failure: "NodeLost", detail: "DeletionByTaintManager" },
  ],
  ["of an unknown reason", { phase: "Failed", reason: "constructor" }, { failure: "Crashed" }],
])("a pod %s", (_, status, expected) => {
  const view = workerView(pod(status));
  expect({ failure: undefined, ...view }).toMatchObject({ node: "write", attempt: 2, failure: undefined, ...expected });
});

test.each([
  [{ "oao.dev/attempt": "two" }],
  [{ "oao.dev/attempt": "" }],
  [{ "oao.dev/item": "-1" }],
  [{ "oao.dev/item": "1e3" }],
])("a pod with labels that no host of ours writes is no worker: %j", (labels) => {
  expect(workerView(pod({ phase: "Running" }, labels))).toBeUndefined();
});

test("a pod is kept without what nobody reads, and says the same", () => {
  const full = pod(
    { phase: "Failed", reason: "Evicted", ...ended(137, { reason: "OOMKilled" }) },
    { "oao.dev/item": "4" },
  );
  const trimmed = trimPod({ ...full, metadata: { ...full.metadata, annotations: { big: "x".repeat(1_000) } } });
  expect(JSON.stringify(trimmed)).not.toContain("xxx");
  expect(workerView(trimmed)).toEqual(workerView(full));
});

test("a worker that ended stays listed after its pod is deleted, until the run is forgotten", () => {
  const workers = new Workers();
  expect(workers.take({ type: "Added", object: pod({ phase: "Running" }) })).toEqual({
    namespace: "team-a",
    name: "brief",
  });
  workers.take({ type: "Deleted", object: pod({ phase: "Failed", ...ended(13) }) });
  expect(workers.of(uid)).toMatchObject([{ node: "write", attempt: 2, state: "Exited", exit: "stopped" }]);
  expect(workers.isKnown(uid, "oao-1")).toBe(true);
  workers.forget(uid);
  expect(workers.of(uid)).toEqual([]);
});

test("a pod that is refused is listed as why, told once per reason, until it is there or nobody wants it", () => {
  const workers = new Workers();
  const key = { namespace: "team-a", name: "brief" };
  const refused = (detail: string) =>
    workers.refuse(key, uid, "oao-1", { node: "write", attempt: 2, state: "Starting", failure: "PodRefused", detail });
  expect([refused("no room"), refused("no room"), refused("less room")]).toEqual([true, false, true]);
  expect(workers.of(uid)).toMatchObject([{ node: "write", failure: "PodRefused", detail: "less room" }]);
  expect(workers.isKnown(uid, "oao-1")).toBe(false);
  workers.take({ type: "Added", object: pod({ phase: "Pending" }) });
  expect(workers.of(uid)).toMatchObject([{ state: "Starting" }]);
  expect(workers.dropRefusal(uid, "oao-1")).toBeUndefined();
  refused("again");
  expect(workers.dropRefusal(uid, "oao-1")).toEqual(key);
});

test("a worker that was not seen to end is not listed after its pod is deleted: its lease says when it is over", () => {
  const workers = new Workers();
  workers.take({ type: "Added", object: pod({ phase: "Running", ...container({ running: {} }) }) });
  workers.take({ type: "Deleted", object: pod({ phase: "Running", ...container({ running: {} }) }) });
  expect(workers.of(uid)).toEqual([]);
});

test("a pod that only wears the labels of a run is no worker of it", () => {
  const workers = new Workers();
  const { ownerReferences: _, ...metadata } = pod({}).metadata;
  expect(workers.take({ type: "Added", object: { metadata, status: { phase: "Running" } } })).toBeUndefined();
  expect(workers.of(uid)).toEqual([]);
});
