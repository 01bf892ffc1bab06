import { describe, expect, test } from "vitest";
import type { ExecutionStatus, NodeStatus } from "../../../src/api/status.ts";
import type { ExecutionSpec } from "../../../src/api/types.ts";
import { nodeStates } from "../../../src/api/status.ts";
import { move, type NodeEvent } from "../../../src/core/planner/node-machine.ts";
import { decisionName, failedStatus, plan } from "../../../src/core/planner/plan.ts";
import { initialStatus } from "../../../src/core/planner/render.ts";
import { isoTime, parseTime } from "../../../src/core/planner/time.ts";
import type { Plan, SeenWorker } from "../../../src/core/planner/types.ts";
import { emptyAccount, zeroAmounts } from "../../../src/core/protocol/amounts.ts";
import { broke, digestOf, done, execution, policy, record, seen, type SeenParts, spec, t0, using } from "./builders.ts";

const row = (planned: { status: ExecutionStatus }, name: string): NodeStatus =>
  planned.status.nodes.find((each) => each.name === name)!;
const condition = ({ status }: { status: ExecutionStatus }, type: string) => {
  const found = status.conditions.find((each) => each.type === type);
  return found === undefined ? undefined : [found.status, found.reason, found.message];
};
const names = (planned: Plan) => planned.decisions.map(decisionName);
const view = (attempt: number, state: SeenWorker["state"], exit?: SeenWorker["exit"], node = "a"): SeenWorker => ({
  node,
  attempt,
  state,
  exit,
});

/** The status with rows replaced; rows not named stay as they are at the start. */
function at(
  of: ExecutionSpec,
  rows: Readonly<Record<string, Partial<NodeStatus>>>,
  more: Partial<ExecutionStatus> = {},
): ExecutionStatus {
  const status = initialStatus(of, t0, { snapshot: "s" });
  return { ...status, ...more, nodes: status.nodes.map((each) => ({ ...each, ...rows[each.name] })) };
}

const running = { state: "Running", attempt: 1, startedAt: isoTime(t0) } as const;
const succeeded = { state: "Succeeded", attempt: 1 } as const;
const one = spec(["a"]);
const go = (of: ExecutionSpec, parts: SeenParts, afterMs = 0) => plan(seen(of, parts), t0 + afterMs);

describe("starts", () => {
  test("attempt 1 of every free node, written to the status in the same plan", () => {
    const planned = go(spec(["b", "a", { name: "c", dependsOn: ["a"] }]), {});
    expect(names(planned)).toEqual(["StartWorker a#1", "StartWorker b#1"]);
    expect(row(planned, "a")).toEqual({ name: "a", state: "Starting", attempt: 1, startedAt: isoTime(t0) });
    expect(row(planned, "c")).toEqual({ name: "c", state: "Pending" });
    expect(planned.status).toMatchObject({
      phase: "Running",
      progress: "0/3",
      nodeCounts: { Pending: 1, Starting: 2 },
      observedGeneration: 1,
    });
  });

  test("no more than parallelism and the policy's maxParallel, first in canonical order", () => {
    expect(names(go(spec(["c", "b", "a"], { parallelism: 2 }), {}))).toEqual(["StartWorker a#1", "StartWorker b#1"]);
    expect(names(go(spec(["c", "b", "a"]), { policy: policy({ maxParallel: 1 }) }))).toEqual(["StartWorker a#1"]);
  });

  test("the same attempt again while nobody lists it and nobody claimed it", () => {
    const planned = go(one, { status: at(one, { a: { state: "Starting", attempt: 3 } }) });
    expect(names(planned)).toEqual(["StartWorker a#3"]);
  });

  test("with the digests of the outputs it names and the position seen", () => {
    const of = spec(["a", using("b", ["a"])]);
    const status = at(of, {
      a: succeeded,
      b: { state: "Pending", attempt: 1, journal: `1:${record().head.slice(0, 16)}` },
    });
    const planned = go(of, { status, records: { a: record({ finished: done({ v: 1 }) }), b: record() } });
    expect(planned.decisions[0]).toMatchObject({
      kind: "StartWorker",
      key: { node: "b" },
      attempt: 2,
      try: 1,
      phase: "Main",
      outputs: { a: digestOf({ v: 1 }) },
      known: { length: 1, head: record().head },
    });
  });
});

describe("what became of an attempt", () => {
  const cases: readonly (readonly [string, SeenParts, readonly string[], Partial<NodeStatus>])[] = [
    [
      "a worker listed as running is trusted, whatever its lease says",
      { workers: [view(1, "Running")], records: { a: record({ leaseUntilMs: 0 }) } },
      [],
      { state: "Running", attempt: 1 },
    ],
    [
      "finish in the journal is enough without an exit",
      { records: { a: record({ finished: done(1) }) } },
      [],
      { state: "Succeeded" },
    ],
    [
      "a claim without a worker is released, then the next attempt starts",
      { records: { a: record() } },
      ["ReleaseAttempt a#1", "StartWorker a#2"],
      { state: "Starting", attempt: 2, restarts: 1 },
    ],
    [
      "a claim that nobody lists yet is left alone while its lease runs",
      { listsAll: false, records: { a: record() } },
      [],
      { state: "Running", attempt: 1 },
    ],
    [
      "and given up when it has ended",
      { listsAll: false, records: { a: record({ leaseUntilMs: t0 }) } },
      ["ReleaseAttempt a#1", "StartWorker a#2"],
      { attempt: 2, restarts: 1 },
    ],
    [
      "a lost worker is replaced at once the first time",
      { workers: [view(1, "Exited", "infrastructure")], records: { a: record() } },
      ["ReleaseAttempt a#1", "StartWorker a#2"],
      { attempt: 2, restarts: 1 },
    ],
    [
      "exit done without finish is a loss",
      { workers: [view(1, "Exited", "done")], records: { a: record() } },
      ["ReleaseAttempt a#1", "StartWorker a#2"],
      { attempt: 2, restarts: 1 },
    ],
    [
      "exit failed without finish is a loss",
      { workers: [view(1, "Exited", "failed")], records: { a: record() } },
      ["ReleaseAttempt a#1", "StartWorker a#2"],
      { attempt: 2, restarts: 1 },
    ],
    [
      "an exit beats a stale running view of the same attempt",
      { workers: [view(1, "Running"), view(1, "Exited", "infrastructure")], records: { a: record() } },
      ["ReleaseAttempt a#1", "StartWorker a#2"],
      { attempt: 2, restarts: 1 },
    ],
    [
      "fenced by a later attempt never counts, and the next is above it",
      { workers: [view(1, "Exited", "fenced")], records: { a: record({ attempt: 4 }) } },
      ["StartWorker a#5"],
      { attempt: 5 },
    ],
    [
      "fenced without an explanation waits and never counts",
      { workers: [view(1, "Exited", "fenced")] },
      [],
      { state: "Retrying", attempt: 1, reason: "Fenced" },
    ],
  ];
  test.each(cases)("%s", (_name, parts, decisions, expected) => {
    const planned = go(one, { status: at(one, { a: running }), ...parts });
    expect(names(planned)).toEqual(decisions);
    expect(row(planned, "a")).toMatchObject(expected);
    expect(row(planned, "a").restarts).toBe(expected.restarts);
  });

  test("an exited view of an older attempt changes nothing", () => {
    const status = at(one, { a: { ...running, attempt: 3 } });
    const planned = go(one, {
      status,
      workers: [view(2, "Exited", "failed"), view(3, "Running")],
      records: { a: record({ attempt: 3 }) },
    });
    expect(names(planned)).toEqual([]);
    expect(row(planned, "a")).toMatchObject({ state: "Running", attempt: 3 });
  });

  test("an older attempt that still runs is stopped", () => {
    const status = at(one, { a: { ...running, attempt: 2 } });
    expect(
      names(
        go(one, { status, workers: [view(1, "Running"), view(2, "Running")], records: { a: record({ attempt: 2 }) } }),
      ),
    ).toEqual(["StopWorker a#1"]);
  });

  test("the second restart waits, and the one past maxRestarts fails the node once its attempt is released", () => {
    const lost: SeenParts = {
      workers: [view(1, "Exited", "infrastructure")],
      records: { a: record() },
      policy: policy({ maxRestarts: 2 }),
    };
    const second = go(one, { ...lost, status: at(one, { a: { ...running, restarts: 1 } }) });
    expect(row(second, "a")).toMatchObject({ state: "Retrying", restarts: 2, retryAt: isoTime(t0 + 1_000) });
    expect(second.wakeAfterMs).toBe(1_000);
    const third = go(one, { ...lost, status: at(one, { a: { ...running, restarts: 2 } }) });
    expect(names(third)).toEqual(["ReleaseAttempt a#1"]);
    const released = go(one, { ...lost, status: third.status, records: { a: record({ claimId: "" }) } });
    expect(row(released, "a")).toMatchObject({ state: "Failed", reason: "InfrastructureLost" });
    expect(released.wakeAfterMs).toBe(0);
  });
});

describe("own faults", () => {
  const failing = (finished: string, node: object = {}, rowMore: object = {}, more: SeenParts = {}) => {
    const of = spec([{ name: "a", ...node }]);
    return go(of, {
      status: at(of, { a: { ...running, ...rowMore } }),
      records: { a: record({ finished, try: (rowMore as NodeStatus).try ?? 1 }) },
      ...more,
    });
  };
  const retry = { retry: { maxRetries: 5, retryDelaySeconds: 2 } };

  test("fail the node unless it asks for retries", () => {
    expect(row(failing(broke("NetworkFailure", "no route")), "a")).toMatchObject({
      state: "Failed",
      reason: "NetworkFailure",
      message: "no route",
    });
  });

  test("of a listed class are tried again as the next try after the seeded delay", () => {
    const planned = failing(broke("NetworkFailure"), retry);
    expect(row(planned, "a")).toMatchObject({ state: "Retrying", try: 2, attempt: 1 });
    expect(row(planned, "a").restarts).toBeUndefined();
    expect(planned.wakeAfterMs).toBeGreaterThanOrEqual(1_000);
    expect(planned.wakeAfterMs).toBeLessThanOrEqual(2_000);
  });

  test.each(["PolicyViolation", "InvalidSpec", "Divergence", "Broken"])("of class %s never", (errorClass) => {
    expect(
      row(failing(broke(errorClass), { retry: { maxRetries: 5, retryOn: [errorClass] as never } }), "a").state,
    ).toBe("Failed");
  });

  test("that are final never, as a NonIdempotent call was made", () => {
    expect(row(failing(broke("NetworkFailure", "", true), retry), "a").state).toBe("Failed");
  });

  test("are bounded by the policy's maxRetries", () => {
    expect(row(failing(broke("Timeout"), retry, { try: 3 }), "a").state).toBe("Retrying");
    expect(row(failing(broke("Timeout"), retry, { try: 4 }), "a").state).toBe("Failed");
  });

  test("with an unreadable finish record are failures, not exceptions", () => {
    expect(row(failing("{", retry), "a")).toMatchObject({ state: "Failed", reason: "ProtocolError" });
  });

  test("a try that takes too long is stopped, and counts as Timeout once it is gone", () => {
    const of = spec([{ name: "a", timeoutSeconds: 10, ...retry }]);
    const slow = go(
      of,
      { status: at(of, { a: running }), workers: [view(1, "Running")], records: { a: record() } },
      10_000,
    );
    expect(names(slow)).toEqual(["StopWorker a#1"]);
    expect(row(slow, "a")).toMatchObject({ state: "Running", reason: "Timeout" });
    const gone = go(
      of,
      { status: slow.status, workers: [view(1, "Exited", "stopped")], records: { a: record() } },
      10_100,
    );
    expect(names(gone)).toEqual(["ReleaseAttempt a#1"]);
    const next = go(
      of,
      { status: gone.status, workers: [view(1, "Exited", "stopped")], records: { a: record({ claimId: "" }) } },
      10_200,
    );
    expect(row(next, "a")).toMatchObject({ state: "Retrying", try: 2, reason: "Timeout" });
  });
});

describe("suspending", () => {
  const run = { desiredState: "Suspended" } as const;
  test("tells the workers, starts nothing, and is Suspended when they are gone", () => {
    const of = spec(["a", "b"]);
    const first = go(of, {
      run,
      status: at(of, { a: running }),
      workers: [view(1, "Running")],
      records: { a: record() },
    });
    expect(names(first)).toEqual(["SetControl #0"]);
    expect(first.decisions[0]).toMatchObject({ to: "Suspended" });
    expect(condition(first, "Suspended")).toEqual(["False", "Suspending", ""]);
    const control = { state: "Suspended", revision: 2, message: "" } as const;
    const second = go(of, {
      run,
      execution: execution({ control }),
      status: first.status,
      workers: [view(1, "Exited", "stopped")],
      records: { a: record() },
    });
    // What its cut call held is charged first, so that a suspended run shows what was lost.
    expect(names(second)).toEqual(["ReleaseAttempt a#1"]);
    const released = { a: record({ claimId: "" }) };
    const third = go(of, {
      run,
      execution: execution({ control }),
      status: second.status,
      workers: [view(1, "Exited", "stopped")],
      records: released,
    });
    expect(third.status.phase).toBe("Suspended");
    expect(row(third, "a")).toMatchObject({ state: "Pending", attempt: 1 });
    const resumed = go(of, {
      execution: execution({ control }),
      status: third.status,
      workers: [view(1, "Exited", "stopped")],
      records: released,
    });
    expect(names(resumed)).toEqual(["SetControl #0", "StartWorker a#2", "StartWorker b#1"]);
    expect(row(resumed, "a").restarts).toBeUndefined();
    expect(row(resumed, "a").try).toBeUndefined();
  });

  test("makes the deadline stand still", () => {
    const of = spec(["a"], { activeDeadlineSeconds: 10 });
    const first = go(of, { run, status: at(of, {}, { activeMs: 1_000, activeSince: isoTime(t0) }) }, 4_000);
    expect(first.status.activeMs).toBe(5_000);
    expect(first.status.activeSince).toBeUndefined();
    const later = go(of, { status: first.status }, 3_600_000);
    expect(later.status).toMatchObject({ activeMs: 5_000, activeSince: isoTime(t0 + 3_600_000) });
    expect(later.wakeAfterMs).toBe(5_000);
  });
});

describe("stops", () => {
  const of = spec(["a", "b", { name: "c", dependsOn: ["a"] }], {
    finally: [
      using("tidy", [], { name: "tidy" }),
      { name: "keep", tool: { ref: "t" }, runOnCancel: true },
      { name: "agent", agent: { ref: "x", prompt: "p" }, runOnCancel: true },
    ],
  });
  const busy: SeenParts = {
    status: at(of, { a: running, b: succeeded }),
    workers: [view(1, "Running")],
    records: { a: record() },
  };
  const gone: SeenParts = { workers: [view(1, "Exited", "stopped")], records: { a: record({ claimId: "" }) } };

  test("a violation fails the run at once with the exact message and stops all workers", () => {
    const control = {
      state: "Violated",
      revision: 2,
      message: "PolicyViolation: Max Token Limit Exceeded (x)",
    } as const;
    const planned = go(of, { ...busy, execution: execution({ control }) });
    expect(names(planned)).toEqual(["StopWorker a#1"]);
    expect(condition(planned, "Succeeded")).toEqual(["False", "PolicyViolation", control.message]);
    expect(condition(planned, "PolicyCompliant")).toEqual(["False", "PolicyViolation", control.message]);
    expect(condition(planned, "Reconciling")?.[0]).toBe("True");
    expect(row(planned, "c")).toMatchObject({ state: "Cancelled", reason: "PolicyViolation" });
    const ended = go(of, { status: planned.status, ...gone, execution: execution({ control }) });
    expect(row(ended, "a")).toMatchObject({ state: "Cancelled", reason: "PolicyViolation" });
    expect(names(ended)).toEqual(["SetControl #0", "StartWorker agent#1", "StartWorker keep#1", "StartWorker tidy#1"]);
    expect(ended.decisions[0]).toMatchObject({ to: "Finalizing" });
    const later = go(of, {
      status: ended.status,
      execution: execution({ control: { state: "Finalizing", revision: 3, message: "" } }),
    });
    expect(condition(later, "Succeeded")).toEqual(["False", "PolicyViolation", control.message]);
  });

  test("a finish of class PolicyViolation is enough when the control state is not read yet", () => {
    const planned = go(of, {
      ...busy,
      records: { a: record({ finished: broke("PolicyViolation", "PolicyViolation: x") }) },
    });
    expect(condition(planned, "Succeeded")).toEqual(["False", "PolicyViolation", "PolicyViolation: x"]);
    expect(planned.decisions[0]).toMatchObject({ kind: "SetControl", to: "Finalizing" });
  });

  test("cancelling is latched, and only tool nodes that ask for it tidy up", () => {
    const first = go(of, { ...busy, run: { desiredState: "Cancelled" } });
    expect(first.decisions[0]).toMatchObject({ kind: "SetControl", to: "Cancelled" });
    expect(first.status.cancelRequested).toBe(true);
    const second = go(of, {
      status: first.status,
      ...gone,
      execution: execution({ control: { state: "Cancelled", revision: 2, message: "" } }),
    });
    expect(names(second)).toEqual(["SetControl #0", "StartWorker keep#1"]);
    expect(row(second, "agent").state).toBe("Cancelled");
    expect(condition(second, "Succeeded")?.slice(0, 2)).toEqual(["False", "Cancelled"]);
  });

  test("the deadline ends the main nodes, and finally nodes get the same time again", () => {
    const timed: ExecutionSpec = { ...of, activeDeadlineSeconds: 60 };
    const clock = { activeMs: 0, activeSince: isoTime(t0) };
    const first = go(timed, { ...busy, status: { ...at(timed, { a: running, b: succeeded }), ...clock } }, 60_000);
    expect(condition(first, "Succeeded")).toEqual(["False", "DeadlineExceeded", "activeDeadlineSeconds 60 is over"]);
    expect(first.decisions[0]).toMatchObject({ kind: "SetControl", to: "Cancelled" });
    const second = go(
      timed,
      {
        status: first.status,
        ...gone,
        execution: execution({ control: { state: "Cancelled", revision: 2, message: "" } }),
      },
      61_000,
    );
    expect(names(second)).toContain("StartWorker tidy#1");
    expect(second.status).toMatchObject({ activeMs: 0, activeSince: isoTime(t0 + 61_000) });
    const third = go(
      timed,
      { status: second.status, execution: execution({ control: { state: "Finalizing", revision: 3, message: "" } }) },
      121_000,
    );
    expect(names(third)).toEqual(["ReleaseAttempt agent#1", "ReleaseAttempt keep#1", "ReleaseAttempt tidy#1"]);
  });

  test("the shorter of the policy's maxDuration and the run's own deadline counts", () => {
    const clock = { activeMs: 0, activeSince: isoTime(t0) };
    const planned = go(
      spec(["a"], { activeDeadlineSeconds: 60 }),
      { status: at(one, {}, clock), policy: policy({ maxDurationMs: 5_000 }) },
      5_000,
    );
    expect(condition(planned, "Succeeded")).toEqual([
      "False",
      "DeadlineExceeded",
      "the policy's limits.maxDurationSeconds 5 is over",
    ]);
  });
});

describe("lost durability is never silent", () => {
  const told = (planned: Plan) =>
    [condition(planned, "Succeeded"), condition(planned, "CheckpointsDurable")].map((each) =>
      each?.slice(0, 2).join(" "),
    );
  const lost = ["False DurabilityLost", "False DurabilityLost"];
  const known = at(one, { a: { ...running, journal: `3:${"a".repeat(16)}` } });

  test("when the store knows less than the status has seen and no worker is left", () => {
    expect(told(go(one, { status: known, records: { a: record({ length: 2 }) } }))).toEqual(lost);
    expect(told(go(one, { status: known, records: { a: record({ length: 3, head: "b".repeat(64) }) } }))).toEqual(lost);
    expect(told(go(one, { status: known }))).toEqual(lost);
  });

  test("but a worker that is still there may heal it", () => {
    const planned = go(one, { status: known, workers: [view(1, "Running")], records: { a: record({ length: 2 }) } });
    expect(row(planned, "a")).toMatchObject({ state: "Running", journal: `3:${"a".repeat(16)}` });
    expect(condition(planned, "Succeeded")?.[0]).toBe("Unknown");
  });

  test("when a worker says so", () => {
    expect(
      told(
        go(one, { status: at(one, { a: running }), workers: [view(1, "Exited", "lost")], records: { a: record() } }),
      ),
    ).toEqual(lost);
  });

  test("when a success has no finish record any more, at the end or as somebody's source", () => {
    expect(told(go(one, { status: at(one, { a: succeeded }) }))).toEqual(lost);
    const of = spec(["a", using("b", ["a"])]);
    expect(told(go(of, { status: at(of, { a: succeeded }), records: { a: record({ finished: undefined }) } }))).toEqual(
      lost,
    );
  });

  test("when the output that a condition needs is gone", () => {
    const of = spec(["a", { name: "b", when: "nodes.a.output > 1" }]);
    expect(told(go(of, { status: at(of, { a: succeeded }), records: { a: record({ finished: done(2) }) } }))).toEqual(
      lost,
    );
  });

  test("when the store does not know the run at all", () => {
    const planned = plan({ ...seen(one, { status: at(one, { a: running }) }), execution: undefined }, t0);
    expect(told(planned)).toEqual(lost);
    expect(planned.status.phase).toBe("Failed");
    expect(planned.status.completedAt).toBe(isoTime(t0));
  });
});

describe("forEach", () => {
  const of = spec([{ name: "a", forEach: { items: "input.list", maxParallel: 2 } }], { input: { list: [7, 8, 9] } });
  test("starts items by index up to maxParallel, gathers their outputs by index, and ends", () => {
    const first = go(of, {});
    expect(names(first)).toEqual(["StartWorker a[0]#1", "StartWorker a[1]#1"]);
    const records = {
      "a[0]": record({ finished: done("x") }),
      "a[1]": record({ finished: done("y") }),
      "a[2]": record({ finished: done("z"), steps: 4 }),
    };
    const second = go(of, { status: first.status, records });
    expect(names(second)).toEqual(["StartWorker a[2]#1"]);
    const third = go(of, { status: second.status, records, values: ["x", "y", "z"] });
    expect(row(third, "a")).toMatchObject({
      state: "Succeeded",
      itemCount: 3,
      steps: 6,
      output: `sha256:${digestOf(["x", "y", "z"])}`,
    });
    expect(row(third, "a").items).toBeUndefined();
    expect(third.bodies.map((body) => body.bytes)).toEqual(['["x","y","z"]']);
    const last = go(of, { status: third.status, records, values: ["x", "y", "z", ["x", "y", "z"]] });
    expect(last.status.result).toEqual({ digest: `sha256:${digestOf(["x", "y", "z"])}`, preview: '["x","y","z"]' });
    expect(last.decisions).toEqual([
      {
        kind: "Seal",
        dropBodies: false,
        keep: ["s"],
        items: [0, 1, 2].map((item) => ({ node: "a", item })),
        expireSeconds: 60,
      },
    ]);
    expect(last.statusAfter?.sealed).toBe(true);
  });

  test("of an empty list succeeds with []", () => {
    const planned = go(spec([{ name: "a", forEach: { items: "[]" } }]), {});
    expect(row(planned, "a")).toMatchObject({ state: "Succeeded", itemCount: 0, output: `sha256:${digestOf([])}` });
    expect(planned.bodies.map((body) => body.bytes)).toEqual(["[]"]);
  });

  test("with a failed item starts no other, lets siblings end, and fails with the item named", () => {
    const first = go(of, {});
    const records = { "a[0]": record({ finished: broke("Broken", "no") }), "a[1]": record() };
    const second = go(of, {
      status: first.status,
      records,
      workers: [{ node: "a", item: 1, attempt: 1, state: "Running" }],
    });
    expect(names(second)).toEqual([]);
    expect(row(second, "a").state).toBe("Running");
    const third = go(of, { status: second.status, records: { ...records, "a[1]": record({ finished: done(1) }) } });
    expect(row(third, "a")).toMatchObject({ state: "Failed", reason: "Broken", message: "item 0: no" });
  });

  test("with more items than a run may have fails the node", () => {
    const list = Array.from({ length: 1_000 }, () => 0);
    const planned = go(spec(["b", { name: "a", forEach: { items: "input.list" } }], { input: { list } }), {});
    expect(row(planned, "a")).toMatchObject({ state: "Failed", reason: "TooManyItems" });
  });

  test("over something that is no list, or too costly, fails the node with the reason", () => {
    expect(row(go(spec([{ name: "a", forEach: { items: "input.x" } }], { input: { x: 3 } }), {}), "a").reason).toBe(
      "ExpressionFailed",
    );
    const nested = "input.l.all(a, input.l.all(b, input.l.all(c, true)))";
    const hostile = spec([{ name: "a", when: nested }], {
      input: { l: Array.from({ length: 300 }, (_, each) => each) },
    });
    expect(row(go(hostile, {}), "a").reason).toBe("ExpressionTooExpensive");
  });
});

describe("the end", () => {
  const sealed = (planned: Plan) => planned.decisions.filter((decision) => decision.kind === "Seal").length;
  test("of one leaf has its output as result, of several an object by name", () => {
    const of = spec(["a", { name: "b", dependsOn: ["a"] }, { name: "c", dependsOn: ["a"] }]);
    const status = at(of, { a: succeeded, b: succeeded, c: { ...succeeded, state: "Skipped" } });
    const planned = go(of, {
      status,
      records: { a: record({ finished: done(1) }), b: record({ finished: done({ v: 1 }) }) },
      values: [{ v: 1 }],
    });
    expect(planned.status).toMatchObject({ phase: "Succeeded", progress: "3/3", result: { preview: '{"b":{"v":1}}' } });
    expect(condition(planned, "Ready")).toEqual(["True", "Succeeded", ""]);
    expect(condition(planned, "Stalled")?.[0]).toBe("False");
  });

  test("keeps previews short, whole characters only, and none where only digests are kept", () => {
    const text = "é".repeat(5_000);
    const ended: SeenParts = {
      status: at(one, { a: succeeded }),
      records: { a: record({ finished: done(text) }) },
      values: [text],
    };
    const preview = go(one, ended).status.result?.preview ?? "";
    expect(Buffer.byteLength(preview)).toBeLessThanOrEqual(4_096);
    expect(preview).toMatch(/^"é+…$/);
    const digestOnly = policy();
    const planned = go(one, {
      ...ended,
      policy: { ...digestOnly, recording: { ...digestOnly.recording, content: "DigestOnly" } },
    });
    expect(planned.status.result?.preview).toBe("");
    expect(planned.decisions[0]).toMatchObject({ kind: "Seal", dropBodies: true, keep: ["s"] });
  });

  test("is Failed with NodeFailed, FinallyFailed or InfrastructureLost", () => {
    const of = spec(["a"], { finally: [{ name: "z" }] });
    const reasonOf = (rows: Parameters<typeof at>[1]) =>
      condition(
        go(of, {
          status: at(of, rows),
          records: { a: record({ finished: done(1) }), z: record({ finished: done(1) }) },
          values: [1],
        }),
        "Succeeded",
      )?.[1];
    expect(reasonOf({ a: { state: "Failed", attempt: 1, reason: "Broken" }, z: succeeded })).toBe("NodeFailed");
    expect(reasonOf({ a: { state: "Failed", attempt: 1, reason: "InfrastructureLost" }, z: succeeded })).toBe(
      "InfrastructureLost",
    );
    expect(reasonOf({ a: succeeded, z: { state: "Failed", attempt: 1, reason: "Broken" } })).toBe("FinallyFailed");
    expect(reasonOf({ a: succeeded, z: succeeded })).toBe("Succeeded");
  });

  test("says Succeeded=False before the finally nodes run, and True only after them", () => {
    const of = spec(["a"], { finally: [{ name: "z" }] });
    const failed = go(of, {
      status: at(of, { a: running }),
      records: { a: record({ finished: broke("Broken", "x") }) },
    });
    expect(condition(failed, "Succeeded")).toEqual(["False", "NodeFailed", "a: Broken: x"]);
    expect(condition(failed, "Reconciling")?.[0]).toBe("True");
    const fine = go(of, { status: at(of, { a: running }), records: { a: record({ finished: done(1) }) } });
    expect(condition(fine, "Succeeded")?.[0]).toBe("Unknown");
  });

  test("is sealed again only when retention changes, for the time that is left", () => {
    const ended = go(one, {
      status: at(one, { a: succeeded }),
      records: { a: record({ finished: done(1) }) },
      values: [1],
    });
    expect(sealed(ended)).toBe(1);
    const again = plan(seen(one, { status: ended.status }), t0 + 10_000);
    expect(again.decisions).toMatchObject([{ kind: "Seal", expireSeconds: 50 }]);
    const quiet = plan(seen(one, { status: ended.statusAfter! }), t0 + 20_000);
    expect([sealed(quiet), quiet.statusAfter]).toEqual([0, undefined]);
    const longer = plan(
      seen(one, { status: ended.statusAfter!, run: { generation: 2, journalRetentionSeconds: 100 } }),
      t0 + 20_000,
    );
    expect(longer.decisions).toMatchObject([{ kind: "Seal", expireSeconds: 80 }]);
  });

  test("of a run that could not start says why and counts its nodes as cancelled", () => {
    const status = failedStatus(initialStatus(one, t0, {}), "InvalidSpec", "a circle", 3, t0);
    expect(status).toMatchObject({
      phase: "Failed",
      observedGeneration: 3,
      sealed: true,
      nodes: [{ name: "a", state: "Cancelled", reason: "InvalidSpec" }],
    });
    expect(condition({ status }, "Stalled")).toEqual(["True", "InvalidSpec", "a circle"]);
  });

  test("an Audit limit that is crossed shows in PolicyCompliant and stops nothing", () => {
    const account = { ...emptyAccount({}, { TotalTokens: 5 }), settled: { ...zeroAmounts, TotalTokens: 6 } };
    const planned = go(one, { execution: execution({ account }) });
    expect(condition(planned, "PolicyCompliant")?.slice(0, 2)).toEqual(["False", "AuditViolation"]);
    expect(planned.status.usage?.totalTokens).toBe(6);
    expect(names(planned)).toEqual(["StartWorker a#1"]);
  });
});

test("what rules of Audit policies would have stopped is kept from node to node, each once, beside a limit that is crossed", () => {
  const of = spec(["a", "b"]);
  const finished = (...audited: string[]) => JSON.stringify({ ...JSON.parse(done(1)), audited });
  const account = { ...emptyAccount({}, { TotalTokens: 5 }), settled: { ...zeroAmounts, TotalTokens: 6 } };
  const first = go(of, {
    status: at(of, { a: running }),
    records: { a: record({ finished: finished("Model Denied: x", "Tool Denied: y") }) },
  });
  expect(first.status.auditFindings).toEqual(["Model Denied: x", "Tool Denied: y"]);
  const many = Array.from({ length: 20 }, (_, i) => `Loop ${i}`);
  const second = go(of, {
    status: { ...first.status, nodes: at(of, { a: succeeded, b: running }).nodes },
    execution: execution({ account }),
    records: { a: record({ finished: done(1) }), b: record({ finished: finished("Tool Denied: y", ...many) }) },
  });
  expect(second.status.auditFindings).toEqual(["Model Denied: x", "Tool Denied: y", ...many.slice(0, 8)]);
  const [status, reason, message] = condition(second, "PolicyCompliant") ?? [];
  expect([status, reason]).toEqual(["False", "AuditViolation"]);
  expect(message).toMatch(
    /^an Audit policy's limit is crossed: TotalTokens 6 of 5 of the whole run; Model Denied: x; /,
  );
});

describe("the node machine", () => {
  test("throws on every pair it does not list, and leaves an ended state only for a loss", () => {
    const events: readonly NodeEvent[] = [
      "start",
      "expand",
      "claim",
      "park",
      "wait",
      "ask",
      "succeed",
      "fail",
      "skip",
      "cancel",
      "lose",
    ];
    const listed = nodeStates.flatMap((state) =>
      events.flatMap((event) => {
        try {
          return [`${state} ${event} ${move(state, event)}`];
        } catch {
          return [];
        }
      }),
    );
    expect(listed).toMatchSnapshot();
    expect(() => move("Succeeded", "start")).toThrow('a node that is Succeeded cannot take the event "start"');
  });
});

test("times are what Date would write and read", () => {
  for (const ms of [
    0,
    951_782_399_999,
    951_782_400_000,
    1_709_164_800_000,
    t0,
    t0 + 1,
    4_107_542_399_999,
    13_569_465_600_000,
  ]) {
    expect(isoTime(ms)).toBe(new Date(ms).toISOString());
    expect(parseTime(isoTime(ms))).toBe(ms);
  }
  expect([parseTime(undefined), parseTime("soon")]).toEqual([undefined, undefined]);
});
