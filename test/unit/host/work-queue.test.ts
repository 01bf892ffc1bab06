import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { runLoop } from "../../../src/host/run-loop.ts";
import { WorkQueue } from "../../../src/host/work-queue.ts";
import { ManualClock, World } from "./local-world.ts";

/** Lets everything that can go on go on. */
async function quiet(): Promise<void> {
  for (let each = 0; each < 20; each += 1) await turn();
}

function queueOf(work: (key: string) => Promise<number | undefined>, parallel = 2) {
  const clock = new ManualClock();
  const errors: string[] = [];
  const queue = new WorkQueue<string>({
    clock,
    nameOf: (key) => key,
    work,
    parallel,
    backoff: { firstMs: 100, maxMs: 1_000 },
    onError: (key, _error, retryAfterMs) => errors.push(`${key} ${retryAfterMs}`),
  });
  return { clock, queue, errors };
}

describe("the work queue", () => {
  test("works on one key once at a time, and again when it changed meanwhile", async () => {
    const log: string[] = [];
    const open: (() => void)[] = [];
    const { queue } = queueOf(async (key) => {
      log.push(`begin ${key}`);
      await new Promise<void>((resolve) => open.push(resolve));
      log.push(`end ${key}`);
      return undefined;
    });
    queue.add("a");
    queue.add("a");
    queue.add("a");
    expect(log).toEqual(["begin a"]);
    open.shift()?.();
    await quiet();
    expect(log).toEqual(["begin a", "end a", "begin a"]);
    open.shift()?.();
    await quiet();
    expect(log).toEqual(["begin a", "end a", "begin a", "end a"]);
  });

  test("looks together at what happens in the pause after a pass", async () => {
    const clock = new ManualClock();
    const begun: string[] = [];
    const queue = new WorkQueue<string>({
      clock,
      nameOf: (key) => key,
      work: async (key) => {
        begun.push(key);
        return undefined;
      },
      restMs: () => 50,
      parallel: 2,
      backoff: { firstMs: 100, maxMs: 1_000 },
      onError: () => undefined,
    });
    queue.add("a");
    await quiet();
    queue.add("a");
    queue.add("a");
    queue.add("b");
    await quiet();
    expect(begun).toEqual(["a", "b"]);
    clock.pass(50);
    await quiet();
    expect(begun).toEqual(["a", "b", "a"]);
    await queue.stop();
  });

  test("bounds the keys at work, and serves the others in turn", async () => {
    const open: (() => void)[] = [];
    const begun: string[] = [];
    const { queue } = queueOf(async (key) => {
      begun.push(key);
      await new Promise<void>((resolve) => open.push(resolve));
      return undefined;
    });
    for (const key of ["a", "b", "c", "d"]) queue.add(key);
    expect(begun).toEqual(["a", "b"]);
    open.shift()?.();
    await quiet();
    expect(begun).toEqual(["a", "b", "c"]);
    for (const each of open) each();
    await quiet();
    expect(begun).toEqual(["a", "b", "c", "d"]);
    for (const each of open) each();
    await queue.stop();
  });

  test("wakes a key when it asked to, or earlier when something happens, and then not twice", async () => {
    let works = 0;
    const { clock, queue } = queueOf(async () => {
      works += 1;
      return works === 1 ? 500 : undefined;
    });
    queue.add("a");
    await quiet();
    clock.pass(499);
    await quiet();
    expect(works).toBe(1);
    clock.pass(1);
    await quiet();
    expect(works).toBe(2);
    works = 0;
    queue.add("a");
    await quiet();
    queue.add("a");
    await quiet();
    clock.pass(10_000);
    await quiet();
    expect(works).toBe(2);
  });

  test("looks at a key that backs off for long a second after its last pass when something happens: it may be a stop", async () => {
    const clock = new ManualClock();
    const passes: number[] = [];
    const queue = new WorkQueue<string>({
      clock,
      nameOf: (key) => key,
      work: async () => {
        passes.push(clock.monotonicMs());
        throw new Error("never");
      },
      parallel: 1,
      backoff: { firstMs: 60_000, maxMs: 60_000 },
      onError: () => undefined,
    });
    queue.add("a");
    await quiet();
    const [first = 0] = passes;
    clock.pass(300);
    queue.add("a");
    queue.add("a");
    await quiet();
    expect(passes).toHaveLength(1);
    clock.pass(700);
    await quiet();
    expect(passes).toEqual([first, first + 1_000]);
    clock.pass(5_000);
    queue.add("a");
    await quiet();
    expect(passes).toHaveLength(3);
    clock.pass(59_999);
    await quiet();
    expect(passes).toHaveLength(3);
    clock.pass(1);
    await quiet();
    expect(passes).toHaveLength(4);
  });

  test("backs off a failing key alone, doubling up to the limit, whatever events come, and forgives one success", async () => {
    let isBroken = true;
    const worked: string[] = [];
    const { clock, queue, errors } = queueOf(async (key) => {
      if (key === "bad" && isBroken) throw new Error("no");
      worked.push(key);
      return undefined;
    });
    queue.add("bad");
    queue.add("good");
    await quiet();
    expect([worked, errors]).toEqual([["good"], ["bad 100"]]);
    queue.add("bad");
    await quiet();
    expect(errors.length).toBe(1);
    for (const ms of [100, 200, 400, 800, 1_000]) {
      clock.pass(ms);
      await quiet();
    }
    expect(errors).toEqual(["bad 100", "bad 200", "bad 400", "bad 800", "bad 1000", "bad 1000"]);
    isBroken = false;
    clock.pass(1_000);
    await quiet();
    expect(worked).toEqual(["good", "bad"]);
    isBroken = true;
    queue.add("bad");
    await quiet();
    expect(errors.at(-1)).toBe("bad 100");
  });

  test("takes what is begun before what is new, but a new one every fourth time", async () => {
    const worked: string[] = [];
    const queue = new WorkQueue<string>({
      clock: new ManualClock(),
      nameOf: (key) => key,
      isBegun: (key) => key.startsWith("old"),
      parallel: 1,
      backoff: { firstMs: 100, maxMs: 1_000 },
      onError: () => undefined,
      async work(key) {
        worked.push(key);
        await turn();
        return undefined;
      },
    });
    for (const key of ["new-1", "new-2", "new-3", "old-1", "old-2", "old-3", "old-4"]) queue.add(key);
    expect(queue.depth).toBe(6);
    while (worked.length < 7) await turn();
    expect(worked).toEqual(["new-1", "old-1", "old-2", "new-2", "old-3", "old-4", "new-3"]);
    await queue.stop();
  });

  test("stops after what is at work has ended, and takes nothing more", async () => {
    let finish: () => void = () => undefined;
    let works = 0;
    const { queue } = queueOf(async () => {
      works += 1;
      await new Promise<void>((resolve) => (finish = resolve));
      return 0;
    });
    queue.add("a");
    let isStopped = false;
    const stopping = queue.stop().then(() => (isStopped = true));
    await quiet();
    expect(isStopped).toBe(false);
    finish();
    await stopping;
    queue.add("b");
    await quiet();
    expect(works).toBe(1);
  });
});

test("the run loop takes a run to its end by watches alone, beside one that always fails (S1)", async () => {
  const world = new World();
  world.outputs = { a: 1, b: 2 };
  const loop = runLoop(world.io);
  world.before = (effect) => {
    if (effect === "get bad") throw new Error("unreadable object");
  };
  world.apply("bad", { task: "t", nodes: [{ name: "a" }] });
  world.apply("r", { task: "t", nodes: [{ name: "a" }, { name: "b", dependsOn: ["a"] }] });
  while (world.runs.get("r")?.status?.sealed !== true) await turn();
  expect(world.status("r").phase).toBe("Succeeded");
  expect(world.events.filter((event) => event.kind === "Failed").map((event) => event.key.name)).toEqual(["bad"]);
  await loop.stop();
  const { writes } = world;
  world.apply("r2", { task: "t", nodes: [{ name: "a" }] });
  await quiet();
  expect(world.writes).toBe(writes);
});
