/** What a journal store that forgets, or may forget, means for a run: said always, and never worked against. */
import { describe, expect, test } from "vitest";
import type { ExecutionStatus, NodeStatus } from "../../../src/api/status.ts";
import type { ExecutionSpec } from "../../../src/api/types.ts";
import { decisionName, failedStatus, plan } from "../../../src/core/planner/plan.ts";
import { initialStatus } from "../../../src/core/planner/render.ts";
import { isoTime } from "../../../src/core/planner/time.ts";
import type { Plan, SeenStore, SeenWorker } from "../../../src/core/planner/types.ts";
import type { Control } from "../../../src/core/protocol/types.ts";
import { done, execution, record, seen, type SeenParts, spec, t0 } from "./builders.ts";

const one = spec(["a"]);
const running = { state: "Running", attempt: 1, startedAt: isoTime(t0) } as const;
const succeeded = { state: "Succeeded", attempt: 1 } as const;
const go = (of: ExecutionSpec, parts: SeenParts, afterMs = 0) => plan(seen(of, parts), t0 + afterMs);
const names = (planned: Plan) => planned.decisions.map(decisionName);

function at(
  of: ExecutionSpec,
  rows: Readonly<Record<string, Partial<NodeStatus>>>,
  more: Partial<ExecutionStatus> = {},
): ExecutionStatus {
  const status = initialStatus(of, t0, { snapshot: "s" });
  return { ...status, ...more, nodes: status.nodes.map((each) => ({ ...each, ...rows[each.name] })) };
}

function told({ status }: { status: ExecutionStatus }, type = "CheckpointsDurable"): string {
  const found = status.conditions.find((each) => each.type === type);
  return `${found?.status} ${found?.reason} ${found?.message}`.trim();
}

const worker = (state: SeenWorker["state"], exit?: SeenWorker["exit"]): SeenWorker => ({
  node: "a",
  attempt: 1,
  state,
  exit,
});

describe("CheckpointsDurable", () => {
  const safe = (runId: string): SeenStore => ({ runId, durable: true, reasons: [], unfit: [] });
  const weak = (runId: string): SeenStore => ({
    runId,
    durable: false,
    reasons: ["appendfsync is everysec: set it to always"],
    unfit: [],
  });
  const loss = (atMs: number) =>
    `False LossWindow the journal store was restarted, seen at ${isoTime(atMs)}: acknowledged steps of about the last second before that may be gone and may be made again`;
  const couldLose =
    "False LossWindow a crash of the journal store may lose acknowledged steps: appendfsync is everysec: set it to always";
  const setting = "; appendfsync is everysec: set it to always";

  const lives: readonly (readonly [string, readonly SeenStore[], readonly string[]])[] = [
    ["is True of a durable store", [safe("1"), safe("1")], ["True Durable", "True Durable"]],
    ["stays True when a durable store restarts", [safe("1"), safe("2")], ["True Durable", "True Durable"]],
    ["is False with what to set of one that is not durable", [weak("1"), weak("1")], [couldLose, couldLose]],
    [
      "becomes True when the settings are mended without a restart",
      [weak("1"), safe("1")],
      [couldLose, "True Durable"],
    ],
    [
      "says that steps may be gone once a store that is not durable restarted, for the rest of the run",
      [weak("1"), weak("2"), weak("2")],
      [couldLose, loss(t0 + 1) + setting, loss(t0 + 1) + setting],
    ],
    [
      "stays so when the restart mended the settings",
      [weak("1"), safe("2"), safe("2")],
      [couldLose, loss(t0 + 1), loss(t0 + 1)],
    ],
    [
      "and over a later restart of the mended store",
      [weak("1"), safe("2"), safe("3")],
      [couldLose, loss(t0 + 1), loss(t0 + 2)],
    ],
    [
      "counts a restart that took durability away, whose old settings nobody knows any more",
      [safe("1"), weak("2")],
      ["True Durable", loss(t0 + 1) + setting],
    ],
    [
      "takes a store that hides its identity for the same one",
      [weak("1"), weak(""), weak("1")],
      [couldLose, couldLose, couldLose],
    ],
  ];
  test.each(lives)("%s", (_name, stores, expected) => {
    const parts: SeenParts = { workers: [worker("Running")], records: { a: record() } };
    let status = at(one, { a: running });
    const said = stores.map((store, pass) => {
      const planned = go(one, { ...parts, status, store }, pass);
      ({ status } = planned);
      return told(planned);
    });
    expect(said).toEqual(expected);
  });

  test("outlives the end of a run that succeeded", () => {
    const status = at(one, { a: succeeded }, { journalRunId: "1" });
    const planned = go(one, { status, records: { a: record({ finished: done(1) }) }, values: [1], store: weak("2") });
    expect(planned.status.phase).toBe("Succeeded");
    expect(told(planned)).toBe(loss(t0) + setting);
    const later = go(one, { status: planned.statusAfter!, store: safe("3") }, 10);
    expect(told(later)).toBe(loss(t0) + setting);
  });

  test("says DurabilityLost of a run whose snapshot is gone", () => {
    const status = failedStatus(at(one, { a: running }), "DurabilityLost", "gone", 1, t0);
    expect(told({ status })).toBe("False DurabilityLost gone");
  });
});

describe("a store that forgot the control state is told again", () => {
  const of = spec(["a", { name: "b", dependsOn: ["a"] }], {
    finally: [
      { name: "tidy", tool: { ref: "t" } },
      { name: "keep", tool: { ref: "t" }, runOnCancel: true },
    ],
  });
  const failed = (reason: string, message: string): Partial<ExecutionStatus> => ({
    conditions: [{ type: "Succeeded", status: "False", reason, message, lastTransitionTime: isoTime(t0) }],
  });
  const violation = "PolicyViolation: Max Token Limit Exceeded (500 of 400, policy team/standard)";
  const busy: SeenParts = { workers: [worker("Running")], records: { a: record() } };
  const cancelled = { state: "Cancelled", attempt: 1 } as const;
  const tidying = { a: cancelled, b: { state: "Cancelled" }, tidy: { ...running }, keep: { ...running } } as const;
  const both: SeenParts = {
    workers: ["tidy", "keep"].map((node) => ({ node, attempt: 1, state: "Running" })),
    records: { tidy: record(), keep: record() },
  };
  const cases: readonly (readonly [string, SeenParts, Control["state"], string, string])[] = [
    [
      "that the run was cancelled",
      {
        ...busy,
        status: at(of, { a: running }, { cancelRequested: true, ...failed("Cancelled", "the run was cancelled") }),
      },
      "Running",
      "Cancelled Cancelled: the run was cancelled",
      "StopWorker a#1",
    ],
    [
      "that it was cancelled, though it is suspended again",
      { ...busy, run: { desiredState: "Suspended" }, status: at(of, { a: running }, { cancelRequested: true }) },
      "Suspended",
      "Cancelled Cancelled: the run was cancelled",
      "StopWorker a#1",
    ],
    [
      "which policy was violated, in the same words",
      { ...busy, status: at(of, { a: running }, failed("PolicyViolation", violation)) },
      "Running",
      `Violated ${violation}`,
      "StopWorker a#1",
    ],
    [
      "that the time is up",
      { ...busy, status: at(of, { a: running }, failed("DeadlineExceeded", "activeDeadlineSeconds 60 is over")) },
      "Running",
      "Cancelled DeadlineExceeded: activeDeadlineSeconds 60 is over",
      "StopWorker a#1",
    ],
    [
      "that the run tidies up after a violation",
      { ...both, status: at(of, tidying, failed("PolicyViolation", violation)) },
      "Running",
      "Finalizing finally",
      "",
    ],
    [
      "that it tidies up, when it remembers only the violation",
      { ...both, status: at(of, tidying, failed("PolicyViolation", violation)) },
      "Violated",
      "Finalizing finally",
      "",
    ],
    [
      "that it tidies up what a cancelled run has to",
      {
        workers: [{ node: "keep", attempt: 1, state: "Running" }],
        records: { keep: record() },
        status: at(
          of,
          { ...tidying, tidy: cancelled },
          { cancelRequested: true, ...failed("Cancelled", "the run was cancelled") },
        ),
      },
      "Cancelled",
      "Finalizing finally",
      "",
    ],
    [
      "that the run is suspended",
      {
        run: { desiredState: "Suspended" },
        status: at(of, { a: { state: "Pending", attempt: 1 } }),
        records: { a: record({ claimId: "" }) },
      },
      "Running",
      "Suspended desiredState is Suspended",
      "",
    ],
    ["that it was resumed", { ...busy, status: at(of, { a: running }) }, "Suspended", "Running ", ""],
  ];
  test.each(cases)("%s", (_name, parts, forgotten, expected, others) => {
    const control: Control = { state: forgotten, revision: 1, message: "" };
    const planned = go(of, { ...parts, execution: execution({ control }) });
    const [first] = planned.decisions;
    expect(first?.kind === "SetControl" && `${first.to} ${first.message}`).toBe(expected);
    expect(names(planned).slice(1).join(" ")).toBe(others);
    if (first?.kind !== "SetControl") return;
    const kept: Control = { state: first.to, revision: 2, message: first.message };
    const again = go(of, { ...parts, status: planned.status, execution: execution({ control: kept }) });
    expect(names(again).join(" ")).toBe(others);
    expect(told(again, "Succeeded")).toBe(told(planned, "Succeeded"));
  });

  test("in the plan that replaces a worker which stopped for what the store had forgotten", () => {
    const control: Control = { state: "Cancelled", revision: 1, message: "" };
    const planned = go(of, {
      workers: [
        { node: "keep", attempt: 1, state: "Exited", exit: "stopped" },
        { node: "tidy", attempt: 1, state: "Running" },
      ],
      records: { keep: record(), tidy: record() },
      status: at(of, tidying, failed("PolicyViolation", violation)),
      execution: execution({ control }),
    });
    expect(names(planned)).toEqual(["SetControl #0", "ReleaseAttempt keep#1", "StartWorker keep#2"]);
  });
});

describe("a store that is behind the status", () => {
  const known = at(one, { a: { ...running, journal: `3:${"a".repeat(16)}` } }, { journalRunId: "0" });
  const behind = { a: record({ length: 2, leaseUntilMs: t0 + 5_000 }) };
  const weak: SeenStore = { runId: "1", durable: false, reasons: [], unfit: [] };

  test("is waited for while a worker is listed that can heal it, and noted as healed afterwards", () => {
    const waiting = go(one, { status: known, workers: [worker("Running")], records: behind });
    expect(names(waiting)).toEqual([]);
    expect(waiting.wakeAfterMs).toBe(5_000);
    expect(waiting.status.nodes[0]?.journal).toBe(`3:${"a".repeat(16)}`);
    const healed = record({ length: 4 });
    const next = go(one, { status: waiting.status, workers: [worker("Running")], records: { a: healed } });
    expect(next.status.nodes[0]?.journal).toBe(`4:${healed.head.slice(0, 16)}`);
    expect(told(next)).toBe("True Durable");
  });

  test("is lost as soon as that worker has ended", () => {
    const planned = go(one, { status: known, workers: [worker("Exited", "infrastructure")], records: behind });
    expect(told(planned)).toMatch(/^False DurabilityLost a: the store holds 2 entries, 3 were seen/);
  });

  test("is waited for as long as a lease runs where lists may lag", () => {
    const parts: SeenParts = { status: known, listsAll: false, records: behind };
    expect(names(go(one, parts))).toEqual([]);
    expect(go(one, parts).wakeAfterMs).toBe(5_000);
    expect(told(go(one, parts, 5_000))).toMatch(/^False DurabilityLost/);
  });

  test("is waited for through a grace after a restart that forgot the lease as well", () => {
    const first = go(one, { status: known, listsAll: false, store: weak });
    expect([names(first), first.wakeAfterMs]).toEqual([[], 30_000]);
    expect(told(go(one, { status: first.status, listsAll: false, store: weak }, 29_999))).toMatch(/^False LossWindow/);
    expect(told(go(one, { status: first.status, listsAll: false, store: weak }, 30_000))).toMatch(
      /^False DurabilityLost/,
    );
  });

  test("hands the position of the journal to every attempt that is started", () => {
    const held = record({ length: 7 });
    const planned = go(one, {
      status: at(one, { a: { state: "Pending", attempt: 1, journal: `7:${held.head.slice(0, 16)}` } }),
      records: { a: held },
    });
    expect(planned.decisions).toMatchObject([{ kind: "StartWorker", known: { length: 7, head: held.head } }]);
  });

  test("is noticed by a row that was looked at once, as each look writes the position down", () => {
    const planned = go(one, {
      status: at(one, { a: running }),
      workers: [worker("Running")],
      records: { a: record({ length: 5 }) },
    });
    expect(planned.status.nodes[0]?.journal).toMatch(/^5:/);
    const gone: SeenParts = { workers: [worker("Exited", "infrastructure")], records: { a: record({ length: 4 }) } };
    expect(told(go(one, { ...gone, status: planned.status }))).toMatch(/^False DurabilityLost/);
  });
});
