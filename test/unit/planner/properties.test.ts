import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ExecutionStatus, ItemStatus, NodeStatus } from "../../../src/api/status.ts";
import type { ExecutionSpec, NodeSpec } from "../../../src/api/types.ts";
import { canonicalJson, sha256Hex } from "../../../src/core/digest/digest.ts";
import { plan } from "../../../src/core/planner/plan.ts";
import { executionHash } from "../../../src/core/hash/execution-hash.ts";
import { initialStatus } from "../../../src/core/planner/render.ts";
import { isoTime } from "../../../src/core/planner/time.ts";
import type { Seen, SeenWorker } from "../../../src/core/planner/types.ts";
import type { ItemRecord } from "../../../src/core/protocol/types.ts";
import { broke, done, record, seen, spec, t0, using } from "./builders.ts";

const worlds = new WeakMap<Seen, Readonly<Record<string, ItemRecord>>>();

/** A run in the middle of everything: states, views and records drawn at will, consistent or not. */
const middle: fc.Arbitrary<Seen> = fc
  .record({
    edges: fc.array(fc.array(fc.nat(), { maxLength: 3 }), { minLength: 1, maxLength: 8 }),
    states: fc.array(fc.constantFrom("Pending", "Starting", "Running", "Retrying", "Succeeded", "Failed", "Skipped"), {
      minLength: 8,
      maxLength: 8,
    }),
    attempts: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 8, maxLength: 8 }),
    records: fc.array(
      fc.option(
        fc.record({
          attempt: fc.integer({ min: 1, max: 4 }),
          held: fc.boolean(),
          finished: fc.constantFrom(
            undefined,
            done(1),
            broke("Broken"),
            broke("NetworkFailure"),
            broke("PolicyViolation"),
          ),
          lease: fc.integer({ min: -5, max: 5 }),
        }),
      ),
      { minLength: 8, maxLength: 8 },
    ),
    views: fc.array(
      fc.record({
        node: fc.nat(8),
        attempt: fc.integer({ min: 1, max: 4 }),
        state: fc.constantFrom("Starting", "Running", "Exited"),
        exit: fc.constantFrom("done", "failed", "fenced", "stopped", "infrastructure", "lost"),
      }),
      { maxLength: 12 },
    ),
    desiredState: fc.constantFrom("Running", "Suspended", "Cancelled"),
    listsAll: fc.boolean(),
    parallelism: fc.integer({ min: 1, max: 4 }),
  })
  .map(({ edges, states, attempts, records, views, desiredState, listsAll, parallelism }) => {
    const nodes = edges.map((picks, place): NodeSpec => {
      const from = place === 0 ? [] : [...new Set(picks.map((pick) => `n${pick % place}`))];
      return {
        ...using(`n${place}`, from.slice(0, 1)),
        dependsOn: from,
        retry: { maxRetries: 1 },
        timeoutSeconds: 100,
      };
    });
    const of = spec(nodes, { parallelism });
    const status = initialStatus(of, t0, { snapshot: "s" });
    const rows = status.nodes.map((row, place): NodeStatus => {
      const state = states[place]!;
      const isFresh = state === "Pending" || state === "Skipped";
      return {
        ...row,
        state,
        ...(isFresh ? {} : { attempt: attempts[place]! }),
        ...(state === "Starting" || state === "Running" ? { startedAt: isoTime(t0) } : {}),
      };
    });
    // As it can come about: no record before the first attempt, and a finish behind every success.
    const held = states.flatMap((state, place) => {
      const drawn = records[place];
      if (state === "Succeeded") return [[`n${place}`, record({ attempt: 1, finished: done(1) })] as const];
      if (state === "Pending" || state === "Skipped" || drawn === null || drawn === undefined) return [];
      const { attempt, held: isHeld, finished, lease } = drawn;
      return [
        [
          `n${place}`,
          record({ attempt, claimId: isHeld ? "c" : "", finished, leaseUntilMs: t0 + lease * 1_000 }),
        ] as const,
      ];
    });
    const workers = views.map(
      (view): SeenWorker => ({
        node: `n${view.node}`,
        attempt: view.attempt,
        state: view.state,
        ...(view.state === "Exited" ? { exit: view.exit } : {}),
      }),
    );
    const world = Object.fromEntries(held);
    const given = seen(of, {
      status: { ...status, nodes: rows },
      records: world,
      workers,
      listsAll,
      run: { desiredState },
      values: [1],
    });
    worlds.set(given, world);
    return given;
  });

const shuffled = <T>(values: readonly T[], numbers: Iterator<number>): T[] =>
  values
    .map((value) => [numbers.next().value as number, value] as const)
    .sort((a, b) => a[0] - b[0])
    .map(([, value]) => value);

describe("any observation", () => {
  test("gives the identical plan in whatever order it arrived", () => {
    fc.assert(
      fc.property(middle, fc.infiniteStream(fc.nat()), (given, numbers) => {
        const other: Seen = {
          ...given,
          items: shuffled(given.items, numbers),
          workers: shuffled([...given.workers, ...given.workers.slice(0, 2)], numbers),
          outputs: new Map(shuffled([...given.outputs], numbers)),
          status: {
            ...given.status,
            nodes: shuffled(given.status.nodes, numbers),
            conditions: shuffled(given.status.conditions, numbers),
          },
        };
        expect(plan(other, t0 + 1)).toEqual(plan(given, t0 + 1));
      }),
      { numRuns: 2_000 },
    );
  });

  test("planned twice with nothing new seen decides nothing that was not decided before", () => {
    fc.assert(
      fc.property(middle, (given) => {
        const first = plan(given, t0 + 1);
        const second = plan(seenAgain(given, first.status), t0 + 1);
        const starts = (decisions: typeof first.decisions) =>
          decisions.filter((each) => each.kind === "StartWorker").map((each) => canonicalJson(each));
        // A wake at once means that the pass was not done; otherwise the status has settled.
        fc.pre(first.wakeAfterMs !== 0);
        expect(second.status.nodes).toEqual(first.status.nodes);
        expect(starts(first.decisions)).toEqual(expect.arrayContaining(starts(second.decisions)));
      }),
      { numRuns: 2_000 },
    );
  });

  test("never has more at work than parallelism allows, unless it was so before", () => {
    fc.assert(
      fc.property(middle, (given) => {
        const busy = (status: ExecutionStatus) =>
          status.nodes.filter((row) => row.state === "Starting" || row.state === "Running").length;
        expect(busy(plan(given, t0 + 1).status)).toBeLessThanOrEqual(
          Math.max(given.spec.parallelism!, busy(given.status)),
        );
      }),
      { numRuns: 1_000 },
    );
  });
});

/** The same world, the new status. */
function seenAgain(given: Seen, status: ExecutionStatus): Seen {
  const records = worlds.get(given) ?? {};
  return {
    ...seen(given.spec, { status, records, values: [1] }),
    workers: given.workers,
    listsAll: given.listsAll,
    run: given.run,
    execution: given.execution,
  };
}

/** Counts reads of the things a plan walks over; the same function of the input on every machine. */
function countedPlan(of: ExecutionSpec, status: ExecutionStatus): number {
  let reads = 0;
  const counted = <T extends object>(value: T): T =>
    new Proxy(value, {
      get(target, name, receiver) {
        reads += 1;
        return Reflect.get(target, name, receiver) as unknown;
      },
    });
  const given = seen(of, { status });
  plan({ ...given, status: { ...status, nodes: status.nodes.map(counted) }, items: given.items.map(counted) }, t0);
  return reads;
}

const shapes: Readonly<Record<string, (size: number) => readonly NodeSpec[]>> = {
  wide: (size) => Array.from({ length: size }, (_, each) => ({ name: `n${each}` })),
  deep: (size) =>
    Array.from({ length: size }, (_, each) => ({
      name: `n${each}`,
      ...(each === 0 ? {} : { dependsOn: [`n${each - 1}`] }),
    })),
  random: (size) =>
    Array.from({ length: size }, (_, each) => ({
      name: `n${each}`,
      dependsOn: each === 0 ? [] : [...new Set([1, 2, 3].map((step) => `n${(each * 7919 * step) % each}`))],
    })),
};

describe("cost", () => {
  test.each(Object.entries(shapes))("of 1,000 nodes (%s) is that of 100 for each node", (_name, shape) => {
    const readsOf = (size: number) => {
      const of = spec(shape(size), { parallelism: 10 });
      const fresh = initialStatus(of, t0, { snapshot: "s" });
      const half = {
        ...fresh,
        nodes: fresh.nodes.map((row, place) =>
          place < size / 2 ? { ...row, state: "Succeeded" as const, attempt: 1 } : row,
        ),
      };
      return (countedPlan(of, fresh) + countedPlan(of, half)) / size;
    };
    expect(readsOf(1_000)).toBeLessThanOrEqual(readsOf(100) * 1.1);
    expect(readsOf(1_000)).toBeGreaterThan(1);
  });

  test("of a failure at the head of 1,000 nodes in a row is one pass", () => {
    const of = spec(shapes["deep"]!(1_000));
    const status = initialStatus(of, t0, { snapshot: "s" });
    const failed = status.nodes.map((row, place) =>
      place === 0 ? { ...row, state: "Failed" as const, attempt: 1, reason: "Broken" } : row,
    );
    expect(plan(seen(of, { status: { ...status, nodes: failed } }), t0).status.nodeCounts).toEqual({
      Failed: 1,
      Skipped: 999,
    });
  });
});

describe("the size of a status (P4) with 1,000 nodes of 20-character names", () => {
  const nodes = Array.from({ length: 1_000 }, (_, each) => ({ name: `node-${String(each).padStart(15, "0")}` }));
  const sizeAfter = (
    of: ExecutionSpec,
    rows: (place: number) => Partial<NodeStatus>,
    records: (name: string) => ReturnType<typeof record> | undefined,
  ) => {
    const opened = { snapshot: sha256Hex("s"), ...executionHash(of, []) };
    const fresh = initialStatus(of, t0, opened);
    const status = { ...fresh, nodes: fresh.nodes.map((row, place) => ({ ...row, ...rows(place) })) };
    const held = Object.fromEntries(
      of.nodes.flatMap(({ name }) => {
        const found = records(name);
        return found === undefined ? [] : [[name, found]];
      }),
    );
    const planned = plan(seen(of, { status, records: held, listsAll: false }), t0);
    return Buffer.byteLength(JSON.stringify(planned.status));
  };
  const long = "x".repeat(5_000);

  test("stays under 100 KB when all are at work", () => {
    const of = spec(nodes, { parallelism: 1_000 });
    expect(
      sizeAfter(
        of,
        () => ({ state: "Running", attempt: 1 }),
        () => record({ length: 123 }),
      ),
    ).toBeLessThan(100_000);
  });

  test("stays under 100 KB when all fail with long messages", () => {
    const of = spec(nodes, { parallelism: 1_000 });
    expect(
      sizeAfter(
        of,
        () => ({ state: "Running", attempt: 1 }),
        () => record({ length: 123, finished: broke("NetworkFailure", long), steps: 99 }),
      ),
    ).toBeLessThan(100_000);
  });

  test("stays under 100 KB when all have ended or were skipped", () => {
    const of = spec(nodes, { parallelism: 1_000 });
    expect(
      sizeAfter(
        of,
        (place) =>
          place % 2 === 0
            ? { state: "Succeeded", attempt: 1, steps: 12 }
            : { state: "Skipped", reason: "DependencyFailed" },
        () => record({ finished: done(1) }),
      ),
    ).toBeLessThan(100_000);
  });

  test("stays under 100 KB when they are the items of one forEach", () => {
    const of = spec([{ name: "all", forEach: { items: "input.list" } }], { input: { list: [] } });
    const items = Array.from({ length: 999 }, (_, index): ItemStatus => ({ index, state: "Running", attempt: 1 }));
    const fresh = initialStatus(of, t0, { snapshot: "s" });
    const status = { ...fresh, nodes: [{ ...fresh.nodes[0]!, state: "Running" as const, itemCount: 999, items }] };
    const records = Object.fromEntries(items.map(({ index }) => [`all[${index}]`, record({ length: 123 })]));
    expect(
      Buffer.byteLength(JSON.stringify(plan(seen(of, { status, records, listsAll: false }), t0).status)),
    ).toBeLessThan(100_000);
  });

  test("tells the messages of the first 20", () => {
    const of = spec(nodes.slice(0, 30), { parallelism: 1_000 });
    const fresh = initialStatus(of, t0, { snapshot: "s" });
    const status = { ...fresh, nodes: fresh.nodes.map((row) => ({ ...row, state: "Running" as const, attempt: 1 })) };
    const records = Object.fromEntries(of.nodes.map(({ name }) => [name, record({ finished: broke("Broken", long) })]));
    const rows = plan(seen(of, { status, records }), t0).status.nodes;
    expect(rows.filter((row) => row.message !== undefined).length).toBe(20);
    expect(rows[19]?.message?.length).toBe(256);
  });
});
