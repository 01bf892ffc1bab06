import { describe, expect, test } from "vitest";
import type { ExecutionSpec } from "../../../src/api/types.ts";
import type { HostIo } from "../../../src/host/io.ts";
import { reconcile } from "../../../src/host/reconcile.ts";
import { SnapshotCache } from "../../../src/host/io.ts";
import { Slots } from "../../../src/host/slots.ts";
import { Conflict } from "../../../src/ports/cluster-errors.ts";
import { uid, World } from "./local-world.ts";

const spec: ExecutionSpec = { task: "t", nodes: [{ name: "a", tool: { ref: "t" } }] };
/** Two of them over one cluster are two releases: with caches and a journal store of their own. */
const operator = (world: World, name: string, store = new World().store): HostIo => ({
  ...world.io,
  operator: name,
  journal: () => store,
  slots: new Slots(),
  snapshots: new SnapshotCache(),
});

describe("an operator with a name", () => {
  test("takes a run by its first write, before anything is made for it, and keeps it to the end", async () => {
    const world = new World();
    const io = operator(world, "oao-system/oao", world.store);
    const key = world.apply("r", spec);
    world.outputs = { a: 1 };
    world.before = (effect) => {
      if (effect !== "writeStatus") return;
      expect(world.store.executeNow(uid, { op: "control", to: "Cancelled", message: "" }).code).toBe("NOT_OPEN");
      world.before = () => undefined;
    };
    for (let pass = 0; pass < 20; pass += 1) await reconcile(key, io);
    expect(world.status("r")).toMatchObject({ operator: "oao-system/oao", phase: "Succeeded", sealed: true });
  });

  test("leaves a run of another alone, whatever becomes of it, and says whose it is", async () => {
    const world = new World();
    const key = world.apply("r", spec);
    await reconcile(key, operator(world, "oao-system/oao", world.store));
    const other = operator(world, "team-a/second");
    world.before = (effect) => expect(effect).toMatch(/^get /);
    const told = () => world.events.filter((event) => event.kind === "Elsewhere");
    await reconcile(key, other);
    const run = world.runs.get("r");
    if (run?.status === undefined) throw new Error("nobody holds it");
    world.runs.set("r", { ...run, deletedAtMs: 1 });
    await reconcile(key, other);
    world.runs.set("r", { ...run, status: { ...run.status, completedAt: "2026-01-01T00:00:00.000Z" } });
    await reconcile(key, other);
    expect(told()).toEqual(Array(3).fill({ kind: "Elsewhere", key, holder: "oao-system/oao" }));
    expect(world.stopped).toEqual([]);
  });

  test("that comes second to a new run finds it taken: one of two writes stands", async () => {
    const world = new World();
    const key = world.apply("r", spec);
    const second = operator(world, "team-a/second");
    world.before = (effect) => {
      if (effect !== "writeStatus") return;
      world.before = () => undefined;
      const run = world.runs.get("r");
      if (run !== undefined) world.runs.set("r", { ...run, resourceVersion: "the first one's" });
    };
    await expect(reconcile(key, second)).rejects.toThrow(Conflict);
    expect((await world.store.view(uid, [])).execution).toBeUndefined();
  });

  test("goes on with a run that was begun before runs had holders, under its own name", async () => {
    const world = new World();
    const key = world.apply("r", spec);
    await reconcile(key, world.io);
    expect(world.status("r").operator).toBeUndefined();
    await reconcile(key, operator(world, "oao-system/oao", world.store));
    expect(world.status("r")).toMatchObject({ operator: "oao-system/oao", phase: "Running" });
    expect(world.orders).toHaveLength(1);
  });

  test("counts its own runs alone where a policy says how many may be at work at once", async () => {
    const world = new World();
    world.policyList = [
      {
        apiVersion: "oao.dev/v1alpha1",
        kind: "GovernancePolicy",
        metadata: { name: "one", namespace: "team-a", labels: { "oao.dev/default": "true" } },
        spec: { limits: { maxConcurrentExecutions: 1 } },
      },
    ];
    const gone = world.apply("gone", spec);
    await reconcile(gone, operator(world, "oao-system/gone", world.store));
    const key = world.apply("r", spec);
    await reconcile(key, operator(world, "oao-system/oao"));
    expect(world.status("r").phase).toBe("Running");
  });
});
