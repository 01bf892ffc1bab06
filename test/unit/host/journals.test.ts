import { describe, expect, test } from "vitest";
import type { ExecutionSpec } from "../../../src/api/types.ts";
import { reconcile } from "../../../src/host/reconcile.ts";
import { readJournals, readRecord } from "../../../src/host/journals.ts";
import { settle, World } from "./local-world.ts";

const tool = { tool: { ref: "t", arguments: { x: "1" } } };

describe("the record of a run", () => {
  test("has every node's journal also where the run is so large that its status leaves out what is implied", async () => {
    const names = Array.from({ length: 201 }, (_, index) => `n${index}`);
    const spec: ExecutionSpec = { task: "t", parallelism: 201, nodes: names.map((name) => ({ name, ...tool })) };
    const world = new World();
    world.outputs = Object.fromEntries(names.map((name) => [name, 1]));
    const key = world.apply("wide", spec);
    await settle(world, key);
    const run = world.runs.get("wide")!;
    expect(run.status?.sealed).toBe(true);
    expect(run.status?.nodes[0]).toEqual({ name: "n0", state: "Succeeded", steps: 1 });
    const journals = await readJournals(await readRecord(world.store, run));
    expect(journals.map(({ node }) => node)).toEqual([...names].sort());
  });

  test("of a run that was never opened is empty", async () => {
    const world = new World();
    const key = world.apply("r", { task: "t", policyRef: { name: "missing" }, nodes: [{ name: "a", ...tool }] });
    await reconcile(key, world.io);
    expect((await readRecord(world.store, world.runs.get("r")!)).keys).toEqual([]);
  });
});
