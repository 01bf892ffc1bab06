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
  test("takes a run before anything is made for it, with no write of its own, and keeps it to the end", async () => {
    let journal = "";
    const effects = async (io: HostIo, world: World) => {
      const found: string[] = [];
      world.before = (effect) => {
        if (effect === "hold")
          journal = world.store.executeNow(uid, { op: "control", to: "Cancelled", message: "" }).code;
        if (!effect.startsWith("get")) found.push(effect);
      };
      const key = world.apply("r", spec);
      world.outputs = { a: 1 };
      for (let pass = 0; pass < 20; pass += 1) await reconcile(key, io);
      return found;
    };
    const world = new World();
    const named = await effects(operator(world, "oao-system/oao", world.store), world);
    expect(journal).toBe("NOT_OPEN");
    expect(world.status("r")).toMatchObject({ operator: "oao-system/oao", phase: "Succeeded", sealed: true });
    const nameless = new World();
    expect(named).toEqual(["hold", ...(await effects(nameless.io, nameless))]);
  });

  test("takes a run that only waits by its first status", async () => {
    const world = new World();
    const key = world.apply("r", { ...spec, policyRef: { name: "later" } });
    await reconcile(key, operator(world, "oao-system/oao", world.store));
    expect(world.status("r")).toMatchObject({ operator: "oao-system/oao", phase: "Pending" });
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

  test("that comes second to a new run finds it taken: one of two writes stands, and nothing is in its journal store", async () => {
    const world = new World();
    const key = world.apply("r", spec);
    const second = operator(world, "team-a/second");
    const own = new World().store;
    world.before = (effect) => {
      if (effect !== "hold") return;
      world.before = () => undefined;
      const run = world.runs.get("r");
      if (run !== undefined)
        world.runs.set("r", { ...run, heldBy: "oao-system/oao", resourceVersion: "the first one's" });
    };
    await expect(reconcile(key, { ...second, journal: () => own })).rejects.toThrow(Conflict);
    expect((await own.view(uid, [])).execution).toBeUndefined();
    // Taken, with no status as yet.
    await reconcile(key, second);
    expect(world.events.at(-1)).toEqual({ kind: "Elsewhere", key, holder: "oao-system/oao" });
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
