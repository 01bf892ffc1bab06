/** What becomes of an attempt whose worker was lost, cannot start, or no longer answers. */
import { describe, expect, test } from "vitest";
import type { WorkerFailure } from "../../../src/api/exit-codes.ts";
import type { NodeStatus } from "../../../src/api/status.ts";
import type { NodeSpec } from "../../../src/api/types.ts";
import { decisionName, plan } from "../../../src/core/planner/plan.ts";
import { isoTime } from "../../../src/core/planner/time.ts";
import type { OpenCall, Plan, SeenWorker } from "../../../src/core/planner/types.ts";
import { broke, done, policy, record, seen, type SeenParts, spec, t0 } from "./builders.ts";
import { initialStatus } from "../../../src/core/planner/render.ts";

const running: Partial<NodeStatus> = { state: "Running", attempt: 1, startedAt: isoTime(t0) };
const starting: Partial<NodeStatus> = { ...running, state: "Starting" };
const view = (more: Partial<SeenWorker> = {}): SeenWorker => ({ node: "a", attempt: 1, state: "Running", ...more });
const names = (planned: Plan) => planned.decisions.map(decisionName);
const row = (planned: Plan): NodeStatus => planned.status.nodes[0]!;

interface Case extends SeenParts {
  readonly row?: Partial<NodeStatus>;
  readonly node?: Partial<NodeSpec>;
  readonly afterMs?: number;
  readonly overdue?: OpenCall;
}

function go({ row: held = running, node = {}, afterMs = 0, overdue, ...parts }: Case): Plan {
  const of = spec([{ name: "a", ...node }]);
  const status = parts.status ?? initialStatus(of, t0, { snapshot: "s" });
  const nodes = parts.status === undefined ? [{ name: "a", ...held } as NodeStatus] : status.nodes;
  const looked = seen(of, { ...parts, status: { ...status, nodes } });
  return plan({ ...looked, items: looked.items.map((item) => ({ ...item, overdue })) }, t0 + afterMs);
}

describe("a worker that ended by what befell it", () => {
  test.each<WorkerFailure>(["OOMKilled", "Evicted", "NodeLost", "Crashed"])(
    "%s is restarted under that reason, and counted",
    (failure) => {
      const workers = [view({ state: "Exited", exit: "infrastructure", failure, detail: "how" })];
      const first = go({ workers, records: { a: record() } });
      expect(row(first)).toMatchObject({ state: "Starting", attempt: 2, restarts: 1, message: `${failure}: how` });
      expect(first.losses).toEqual([{ key: { node: "a" }, attempt: 1, reason: failure, message: "how" }]);
      const second = go({ workers, records: { a: record() }, row: { ...running, restarts: 1 } });
      expect(row(second)).toMatchObject({ state: "Retrying", restarts: 2, reason: failure, message: "how" });
      expect(names(second)).toEqual(["ReleaseAttempt a#1"]);
    },
  );

  test.each<[WorkerFailure | undefined, string, string]>([
    ["OOMKilled", "Poisoned", "its worker died 6 times (policy infrastructure.maxRestarts 5); last: OOMKilled: how"],
    ["Crashed", "Poisoned", "its worker died 6 times (policy infrastructure.maxRestarts 5); last: Crashed: how"],
    ["Evicted", "InfrastructureLost", "lost 6 times (policy infrastructure.maxRestarts 5); last: Evicted: how"],
    ["NodeLost", "InfrastructureLost", "lost 6 times (policy infrastructure.maxRestarts 5); last: NodeLost: how"],
    [undefined, "InfrastructureLost", "lost 6 times (policy infrastructure.maxRestarts 5); last: how"],
  ])("%s past the cap ends the node as %s, and the last cause is named", (failure, reason, message) => {
    const workers = [view({ state: "Exited", exit: "infrastructure", failure, detail: "how" })];
    const first = go({
      row: { ...running, restarts: 5 },
      workers,
      records: { a: record() },
      policy: policy({ maxRestarts: 5 }),
    });
    expect(names(first)).toEqual(["ReleaseAttempt a#1"]);
    const last = go({
      status: first.status,
      workers,
      records: { a: record({ claimId: "" }) },
      policy: policy({ maxRestarts: 5 }),
    });
    expect(row(last)).toMatchObject({ state: "Failed", reason, message });
  });

  test("by its own deadline is a Timeout, which retry may name", () => {
    const workers = [
      view({ state: "Exited", exit: "infrastructure", failure: "DeadlineExceeded", detail: "after 60 s" }),
    ];
    const planned = go({ workers, records: { a: record({ claimId: "" }) }, node: { retry: { maxRetries: 1 } } });
    expect(row(planned)).toMatchObject({
      state: "Retrying",
      try: 2,
      reason: "Timeout",
      message: expect.stringContaining("after 60 s"),
    });
    expect(row(planned).restarts).toBeUndefined();
  });

  test("is named when its successor finds a call in doubt", () => {
    const lost = go({
      workers: [
        view({ state: "Exited", exit: "infrastructure", failure: "Crashed", detail: "exit code 3: Error: boom" }),
      ],
      records: { a: record() },
    });
    const again = go({ status: lost.status, records: { a: record({ claimId: "" }) } });
    expect(names(again)).toEqual(["StartWorker a#2"]);
    const ended = go({
      status: again.status,
      records: { a: record({ attempt: 2, finished: broke("InDoubt", "who knows") }) },
    });
    expect(row(ended)).toMatchObject({
      state: "Failed",
      reason: "InDoubt",
      message: "its worker was lost (Crashed: exit code 3: Error: boom): who knows",
    });
  });
});

describe("a worker that cannot start", () => {
  const blocked = (failure: WorkerFailure) => view({ state: "Starting", failure, detail: `${failure} because` });

  test.each<WorkerFailure>(["ImagePullFailed", "Unschedulable", "BadConfig", "PodRefused"])(
    "for %s is waited for, says why, is ordered again as it may be the host's to mend, and heals by itself",
    (failure) => {
      const waiting = go({ row: starting, workers: [blocked(failure)] });
      expect(names(waiting)).toEqual(["StartWorker a#1"]);
      expect(waiting.wakeAfterMs).toBe(5_000);
      expect(row(waiting)).toMatchObject({ state: "Starting", reason: failure, message: `${failure} because` });
      const healed = go({ status: waiting.status, workers: [view()], records: { a: record() } });
      expect(row(healed)).toMatchObject({ state: "Running" });
      expect([row(healed).reason, row(healed).message, row(healed).restarts]).toEqual([
        undefined,
        undefined,
        undefined,
      ]);
    },
  );

  test("and whose host says nothing of it is told after half a minute, not before", () => {
    const detail = "kubectl describe pod says why";
    const workers = [view({ state: "Starting", startingSinceMs: t0, detail })];
    const ordinary = go({ row: starting, workers, afterMs: 29_999 });
    expect([names(ordinary), row(ordinary).reason, row(ordinary).message]).toEqual([[], undefined, undefined]);
    const late = go({ row: starting, workers, afterMs: 30_000 });
    expect(names(late)).toEqual(["StartWorker a#1"]);
    expect(row(late)).toMatchObject({ state: "Starting", reason: "StartDelayed", message: detail });
    expect(late.status.conditions.find(({ type }) => type === "Succeeded")?.message).toBe(
      `a cannot start: StartDelayed: ${detail}`,
    );
  });

  test("is ended by the node's timeoutSeconds, and what kept it is told", () => {
    const node = { timeoutSeconds: 10 };
    const waiting = go({ row: starting, node, workers: [blocked("Unschedulable")] });
    const late = go({ status: waiting.status, node, workers: [blocked("Unschedulable")], afterMs: 10_000 });
    expect(names(late)).toEqual(["StopWorker a#1"]);
    const ended = go({
      status: late.status,
      node,
      records: { a: record({ claimId: "" }) },
      listsAll: false,
      workers: [view({ state: "Exited", exit: "stopped" })],
      afterMs: 11_000,
    });
    expect(row(ended)).toMatchObject({
      state: "Failed",
      reason: "Timeout",
      message: "not finished within timeoutSeconds 10 of one attempt: Unschedulable: Unschedulable because",
    });
  });

  test("is stopped when the run is suspended: it could not leave by itself", () => {
    const planned = go({ row: starting, workers: [blocked("BadConfig")], run: { desiredState: "Suspended" } });
    expect(names(planned)).toContain("StopWorker a#1");
  });
});

describe("a worker that is listed and whose lease is over", () => {
  const over = { a: record({ leaseUntilMs: t0 }) };

  test("is not given up at once: after a pause of the machine it answers again", () => {
    const silent = go({ workers: [view()], records: over });
    expect(names(silent)).toEqual([]);
    expect([row(silent).reason, silent.wakeAfterMs]).toEqual(["Silent", 5_000]);
    const again = go({
      status: silent.status,
      workers: [view()],
      records: { a: record({ leaseUntilMs: t0 + 9_000 }) },
      afterMs: 5_000,
    });
    expect(names(again)).toEqual([]);
    expect([row(again).state, row(again).reason, row(again).retryAt]).toEqual(["Running", undefined, undefined]);
  });

  test("is looked at when its lease ends", () => {
    expect(go({ workers: [view()], records: { a: record({ leaseUntilMs: t0 + 1_234 }) } }).wakeAfterMs).toBe(1_234);
  });

  test("is killed, and restarted when it made no call", () => {
    const silent = go({ workers: [view()], records: over });
    const killed = go({ status: silent.status, workers: [view()], records: over, afterMs: 5_000 });
    expect(names(killed)).toEqual(["StopWorker! a#1"]);
    expect(killed.decisions).toMatchObject([{ force: true }]);
    const exited = [view({ state: "Exited", exit: "infrastructure", failure: "Crashed", detail: "ended by SIGKILL" })];
    const next = go({ status: killed.status, workers: exited, records: over, afterMs: 5_100 });
    expect(row(next)).toMatchObject({ state: "Starting", attempt: 2, restarts: 1 });
    expect(next.losses).toMatchObject([
      { reason: "Restarting", message: expect.stringContaining("stopped answering") },
    ]);
  });

  test.each<[OpenCall["effect"], "Fail" | "Retry", string]>([
    ["ReadOnly", "Fail", "Timeout"],
    ["Idempotent", "Fail", "Timeout"],
    ["NonIdempotent", "Retry", "Timeout"],
    ["NonIdempotent", "Fail", "InDoubt"],
  ])("in a %s call past its limit, under onInDoubt %s, fails its node as %s", (effect, onInDoubt, reason) => {
    const parts = { overdue: { tool: "loop", effect }, policy: policy({ onInDoubt }) };
    const silent = go({ ...parts, workers: [view()], records: over });
    const exited = [view({ state: "Exited", exit: "infrastructure", failure: "Crashed", detail: "ended by SIGKILL" })];
    const fenced = go({ ...parts, status: silent.status, workers: exited, records: over, afterMs: 5_100 });
    expect(names(fenced)).toEqual(["ReleaseAttempt a#1"]);
    const ended = go({
      ...parts,
      status: fenced.status,
      workers: exited,
      records: { a: record({ claimId: "" }) },
      afterMs: 5_200,
    });
    expect(row(ended)).toMatchObject({
      state: "Failed",
      reason,
      message: expect.stringContaining("tool loop did not end"),
    });
  });

  test("on a machine out of reach is released, deleted and followed by the next attempt without waiting for its end", () => {
    const silent = go({ workers: [view()], records: over, listsAll: false });
    expect([names(silent), silent.wakeAfterMs]).toEqual([[], 10_000]);
    const given = go({ status: silent.status, workers: [view()], records: over, listsAll: false, afterMs: 10_000 });
    expect(names(given)).toEqual(expect.arrayContaining(["ReleaseAttempt a#1", "StopWorker! a#1", "StartWorker a#2"]));
    expect(row(given)).toMatchObject({ state: "Starting", attempt: 2, restarts: 1 });
    expect(given.losses).toMatchObject([{ attempt: 1, reason: "NodeLost" }]);
    expect(given.decisions.find((each) => each.kind === "StartWorker")).toMatchObject({ predecessorMayLive: true });
  });

  test("on a machine that is known to be lost is given up when its lease ends, not before", () => {
    const workers = [view({ failure: "NodeLost", detail: "node n1 is not ready" })];
    expect(names(go({ workers, records: { a: record({ leaseUntilMs: t0 + 1 }) }, listsAll: false }))).toEqual([]);
    const given = go({ workers, records: over, listsAll: false });
    expect(names(given)).toEqual(expect.arrayContaining(["ReleaseAttempt a#1", "StopWorker! a#1", "StartWorker a#2"]));
    expect(given.losses).toMatchObject([{ reason: "NodeLost", message: "node n1 is not ready" }]);
  });

  test("does not keep a cancelled run from ending when its machine is out of reach", () => {
    const run = { desiredState: "Cancelled" } as const;
    const parts = { run, workers: [view()], listsAll: false };
    const first = go({ ...parts, records: over });
    const second = go({ ...parts, status: first.status, records: over, afterMs: 10_000 });
    const third = go({ ...parts, status: second.status, records: { a: record({ claimId: "" }) }, afterMs: 10_001 });
    expect(names(second)).toContain("ReleaseAttempt a#1");
    expect(row(third)).toMatchObject({ state: "Cancelled" });
  });

  test("keeps its node's time limit", () => {
    const node = { timeoutSeconds: 4 };
    const parts = { node, workers: [view()], listsAll: false };
    const late = go({ ...parts, records: over, afterMs: 4_000 });
    expect([row(late).reason, names(late)]).toEqual(["Timeout", ["StopWorker a#1"]]);
    const fenced = go({ ...parts, status: late.status, records: over, afterMs: 14_000 });
    expect(names(fenced)).toContain("ReleaseAttempt a#1");
    const ended = go({ ...parts, status: fenced.status, records: { a: record({ claimId: "" }) }, afterMs: 14_001 });
    expect(row(ended)).toMatchObject({ state: "Failed", reason: "Timeout" });
  });
});

describe("the order of a next attempt", () => {
  const pending: Partial<NodeStatus> = { state: "Pending", attempt: 1 };
  const order = (parts: Case) =>
    go({ row: pending, records: { a: record({ claimId: "" }) }, ...parts }).decisions.find(
      (each) => each.kind === "StartWorker",
    );

  test("says that the one before may be at work unless its end was seen", () => {
    const exited = view({ state: "Exited", exit: "infrastructure" });
    expect(order({ listsAll: false, workers: [] })).toMatchObject({ attempt: 2, predecessorMayLive: true });
    expect(order({ listsAll: false, workers: [exited] })).not.toHaveProperty("predecessorMayLive");
    expect(order({ listsAll: true, workers: [] })).not.toHaveProperty("predecessorMayLive");
    expect(order({ listsAll: false, workers: [view({ attempt: 0 }), exited] })).toMatchObject({
      predecessorMayLive: true,
    });
  });
});

describe("a worker whose node has succeeded", () => {
  test("is left to leave by itself while the run goes on", () => {
    const of = spec(["a", "b"]);
    const status = initialStatus(of, t0, { snapshot: "s" });
    const nodes: NodeStatus[] = [
      { name: "a", state: "Succeeded", attempt: 1 },
      { name: "b", state: "Running", attempt: 1 },
    ];
    const parts = {
      status: { ...status, nodes },
      workers: [view(), view({ node: "b" })],
      records: { a: record(), b: record() },
    };
    expect(names(plan(seen(of, parts), t0))).toEqual([]);
  });
});

describe("a worker of an item whose node has succeeded", () => {
  test("is left to leave by itself: the row of a node that has ended holds no items", () => {
    const of = spec([{ name: "a", forEach: { items: "[1]" } }, "b"]);
    const nodes: NodeStatus[] = [
      { name: "a", state: "Succeeded", itemCount: 1 },
      { name: "b", state: "Running", attempt: 1 },
    ];
    const parts = {
      status: { ...initialStatus(of, t0, { snapshot: "s" }), nodes },
      workers: [view({ item: 0 }), view({ node: "b" })],
      records: { b: record() },
    };
    expect(names(plan(seen(of, parts), t0))).toEqual([]);
  });
});

describe("a forEach node that fails", () => {
  test("says how many of its items had succeeded", () => {
    const of = spec([{ name: "a", forEach: { items: "[1, 2, 3]" } }]);
    const records = { "a[0]": record({ finished: done(1) }), "a[1]": record({ finished: done(2) }) };
    const items = (["Succeeded", "Succeeded", "Failed"] as const).map((state, index) => ({ index, state, attempt: 1 }));
    const status = {
      ...initialStatus(of, t0, { snapshot: "s" }),
      nodes: [{ name: "a", state: "Running", itemCount: 3, items } as NodeStatus],
    };
    expect(row(plan(seen(of, { status, records }), t0))).toMatchObject({ state: "Failed", itemCount: 3, itemsDone: 2 });
  });
});
