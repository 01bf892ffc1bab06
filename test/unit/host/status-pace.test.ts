import { describe, expect, test } from "vitest";
import type { ExecutionStatus, NodeStatus } from "../../../src/api/status.ts";
import { reconcile } from "../../../src/host/reconcile.ts";
import { type Change, changeOf, sameJson, StatusPace } from "../../../src/host/status-pace.ts";
import { World } from "./local-world.ts";

const row = (more: Partial<NodeStatus> = {}): NodeStatus => ({ name: "a", state: "Starting", attempt: 1, ...more });
const status = (nodes: readonly NodeStatus[], more: Partial<ExecutionStatus> = {}): ExecutionStatus => ({
  observedGeneration: 1,
  phase: "Running",
  conditions: [],
  progress: "0/1",
  nodeCounts: {},
  nodes,
  ...more,
});
const item = (state: NodeStatus["state"], more: object = {}) => ({ index: 0, state, attempt: 1, ...more });

describe("what is new in a status", () => {
  test.each<[string, ExecutionStatus, ExecutionStatus, Change]>([
    ["nothing", status([row()]), status([row()]), "None"],
    ["a journal position", status([row({ journal: "1:a" })]), status([row({ journal: "2:b" })]), "Figures"],
    ["usage", status([row()]), status([row()], { steps: 3, progress: "1/1" }), "Figures"],
    ["a claim", status([row()]), status([row({ state: "Running", journal: "1:a" })]), "Progress"],
    ["a success", status([row({ state: "Running" })]), status([row({ state: "Succeeded", steps: 2 })]), "Progress"],
    ["a failure", status([row()]), status([row({ state: "Failed", reason: "Timeout" })]), "Turn"],
    ["a restart", status([row()]), status([row({ attempt: 2, restarts: 1 })]), "Turn"],
    ["a worker that cannot start", status([row()]), status([row({ reason: "Unschedulable" })]), "Turn"],
    ["one that can again", status([row({ reason: "Unschedulable" })]), status([row({ state: "Running" })]), "Turn"],
    ["a phase", status([row()]), status([row()], { phase: "Suspended" }), "Turn"],
    ["the latched cancellation", status([row()]), status([row()], { cancelRequested: true }), "Turn"],
    [
      "an item's claim",
      status([row({ items: [item("Starting")] })]),
      status([row({ items: [item("Running")] })]),
      "Progress",
    ],
    [
      "an item's figures",
      status([row({ items: [item("Running")] })]),
      status([row({ items: [item("Running", { journal: "2:b" })] })]),
      "Figures",
    ],
    [
      "an item's failure",
      status([row({ items: [item("Running")] })]),
      status([row({ items: [item("Failed")] })]),
      "Turn",
    ],
    ["a first item", status([row({ items: [] })]), status([row({ items: [item("Starting")] })]), "Turn"],
  ])("%s", (_name, before, after, expected) => {
    expect(changeOf(before, after)).toBe(expected);
  });

  test("a first status is a turn", () => {
    expect(changeOf(undefined, status([row()]))).toBe("Turn");
  });

  test("JSON is compared as it is stored: absent is undefined, and the order of keys says nothing", () => {
    expect(sameJson({ a: 1, b: undefined }, { a: 1 })).toBe(true);
    expect(sameJson({ a: 1, b: [1, { c: null }] }, { b: [1, { c: null }], a: 1 })).toBe(true);
    expect(sameJson({ a: 1 }, { a: 1, b: null })).toBe(false);
    expect(sameJson([1, 2], [2, 1])).toBe(false);
    expect(sameJson([], {})).toBe(false);
  });
});

describe("the pace of writes", () => {
  const pace = () => new StatusPace({ progressMs: 250, figuresMs: 5_000 });

  test("lets turns through and makes progress and figures wait, each as long after the last write as it may", () => {
    const paced = pace();
    expect(paced.waitMs("u", "Progress", 0)).toBe(0);
    paced.written("u", 1_000);
    expect([paced.waitMs("u", "Turn", 1_001), paced.waitMs("u", "Progress", 1_100)]).toEqual([0, 150]);
    expect([paced.waitMs("u", "Progress", 1_250), paced.waitMs("u", "Figures", 2_000)]).toEqual([0, 4_000]);
    expect(paced.waitMs("other", "Figures", 1_001)).toBe(0);
  });

  test("of a run of n nodes is at most 2 + 2n, however many steps they make, and nothing is started before it is written", async () => {
    const world = new World();
    const nodes = Array.from({ length: 6 }, (_, n) => ({
      name: `n-${n}`,
      tool: { ref: "t" },
      ...(n === 0 ? {} : { dependsOn: [`n-${n - 1}`] }),
    }));
    world.outputs = Object.fromEntries(nodes.map(({ name }) => [name, { ok: true }]));
    const key = world.apply("r", { task: "t", nodes });
    world.before = (effect) => {
      const started = /^start (\S+)#(\d+)$/.exec(effect);
      if (started === null) return;
      const held = world.status("r").nodes.find((each) => each.name === started[1]);
      expect([held?.state, held?.attempt]).toEqual(["Starting", Number(started[2])]);
    };
    const io = { ...world.io, pace: pace() };
    for (let pass = 0; pass < 100 && world.runs.get("r")?.status?.sealed !== true; pass += 1) {
      world.clock.pass(100);
      await reconcile(key, io);
    }
    expect(world.status("r")).toMatchObject({ phase: "Succeeded", sealed: true });
    expect(world.writes).toBeLessThanOrEqual(2 + 2 * nodes.length);
  });

  test("says when to look again for what it kept back, and then writes it", async () => {
    const world = new World();
    const io = { ...world.io, pace: pace() };
    const key = world.apply("r", { task: "t", nodes: [{ name: "a", tool: { ref: "t" } }] });
    await reconcile(key, io);
    const { writes } = world;
    // Claimed at once, so the next look sees progress alone.
    const waitMs = await reconcile(key, io);
    expect([world.status("r").nodes[0]?.state, world.writes, waitMs]).toEqual(["Starting", writes, 250]);
    world.clock.pass(250);
    await reconcile(key, io);
    expect([world.status("r").nodes[0]?.state, world.writes]).toEqual(["Running", writes + 1]);
  });
});
