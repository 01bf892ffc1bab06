/** A fork that changes something matches its prefix by position and counts what was asked otherwise. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ManifestSpec } from "../../src/api/execution.ts";
import { littlePlaces, littleShape } from "./replay-little.ts";
import { condition, expectVerified, placesOf, type Recorded, recordShape } from "./replay-recorded.ts";

describe("a fork with a patch", () => {
  let recorded: Recorded;
  beforeAll(async () => {
    recorded = await recordShape(littleShape);
  });
  afterAll(() => recorded.close());

  /** Model steps of gather ask otherwise, its tools do not; what the patch does not touch is not patched. */
  const patches: readonly (readonly [what: string, patch: ManifestSpec])[] = [
    ["a prompt", { nodes: [{ name: "gather", agent: { ref: "armed", prompt: "gather it" } }] }],
    ["a system prompt", { agents: [{ name: "armed", model: "m", systemPrompt: "Use few tools." }] }],
    ["the temperature", { models: [{ name: "m", provider: "openai", model: "mock", parameters: { temperature: 1 } }] }],
    ["the order of tools", { agents: [{ name: "armed", model: "m", tools: ["dice", "search"] }] }],
    ["a tool's description", { tools: [{ name: "search", description: "Look it up" }] }],
  ];

  it.each(patches)("matches its prefix by position and counts what was asked otherwise: %s", async (_, patch) => {
    const { world, parent, outside } = recorded;
    for (const n of [1, 2, 6, 7]) {
      const before = outside.count();
      const child = await world.replay(parent.name, { fromStep: n }, patch);
      expect(condition(child, "Succeeded"), `step ${n}`).toMatchObject({ status: "True" });
      expect(child.status.replay, `step ${n}`).toMatchObject({ patchedSteps: n === 1 ? 0 : 1, fromStep: n });
      // One answer or two of gather, two rates and tell: everything else is recorded.
      expect(outside.count().model - before.model, `step ${n}`).toBe((n === 1 ? 2 : 1) + 3);
      expect(outside.count().tool, `step ${n}`).toBe(before.tool);
      await expectVerified(world, child);
    }
  });

  it("counts nothing where what it changes is asked after its cursor only, or not at all", async () => {
    const { world, parent } = recorded;
    const patch: ManifestSpec = { nodes: [{ name: "tell", agent: { ref: "plain", prompt: "tell it" } }] };
    const after = await world.replay(parent.name, { fromStep: 7 }, patch);
    const before = await world.replay(parent.name, { from: { node: "tell", step: 1 } }, patches[0]?.[1]);
    expect([after, before].map(({ status }) => status.replay?.patchedSteps)).toEqual([0, 0]);
    expect(before.live.map(({ place }) => place)).toEqual(["tell 0.0"]);
    await expectVerified(world, after);
    await expectVerified(world, before);
  });

  it("is replayed from a step on itself, patched again or not, as is a strict replay of it", async () => {
    const { world, parent } = recorded;
    const child = await world.replay(parent.name, { fromStep: 7 }, patches[0]?.[1]);
    const strict = await expectVerified(world, child);
    // A strict replay has no record of its own: its parent's is what is forked.
    for (const from of [child, strict]) {
      const again = await world.replay(from.name, { from: { node: "tell", step: 1 } });
      expect(again.live.map(({ place }) => place)).toEqual(["tell 0.0"]);
      expect(placesOf(again)).toEqual(littlePlaces);
      expect(again.status.replay).toMatchObject({
        parentUID: child.uid,
        reusedSteps: littlePlaces.length - 1,
        liveSteps: 1,
      });
      await expectVerified(world, again);
    }
    const more = await world.replay(child.name, { fromStep: 7 }, patches[1]?.[1]);
    expect(more.status.replay).toMatchObject({ patchedSteps: 1 });
    await expectVerified(world, more);
  });

  it("asks nothing again of nodes that it does not run, and neither does its strict replay", async () => {
    const { world, parent } = recorded;
    const untouched: ManifestSpec = {
      // Run again, gather would stop after one answer, rate would have one item and look none.
      agents: [{ name: "armed", model: "m", maxIterations: 1 }],
      nodes: [
        { name: "rate", forEach: { items: '["a"]' } },
        { name: "look", when: "false" },
      ],
    };
    const child = await world.replay(parent.name, { from: { node: "tell", step: 1 } }, untouched);
    expect(child.live.map(({ place }) => place)).toEqual(["tell 0.0"]);
    expect(placesOf(child)).toEqual(littlePlaces);
    expect(child.status.nodes.find(({ name }) => name === "rate")).toMatchObject({ itemCount: 2, state: "Succeeded" });
    await expectVerified(world, child);
    const again = await world.replay(child.name, { from: { node: "tell", step: 1 } });
    await expectVerified(world, again);
    // Where the cursor stands, what was changed is asked.
    const run = await world.replay(parent.name, { from: { node: "gather", step: 5 } }, untouched);
    expect(run.status.nodes.find(({ name }) => name === "look")).toMatchObject({ state: "Skipped" });
  });

  it("answers a tool whose schema was changed from the record, and calls one that was not recorded", async () => {
    const { world, parent, outside } = recorded;
    const before = outside.count().tool;
    const patch: ManifestSpec = { nodes: [{ name: "look", tool: { ref: "search", arguments: { q: "elsewhere" } } }] };
    const child = await world.replay(parent.name, { from: { node: "look", step: 1 } }, patch);
    expect(child.live.filter(({ kind }) => kind === "tool")).toEqual([{ place: "look 0.1", kind: "tool" }]);
    expect(outside.count().tool - before).toBe(1);
    // tell's condition does not hold any more.
    expect(child.status.nodes.find(({ name }) => name === "tell")).toMatchObject({ state: "Skipped" });
    await expectVerified(world, child);
  });

  it("ends with a divergence where a call of the prefix cannot be made any more", async () => {
    const { world, parent } = recorded;
    const child = await world.replay(
      parent.name,
      { fromStep: 7 },
      { agents: [{ name: "armed", model: "m", tools: ["search"] }] },
    );
    expect(child.status.nodes[0]).toMatchObject({ name: "gather", state: "Failed", reason: "Divergence" });
    expect(condition(child, "Succeeded")?.message).toContain("step 3 (node gather): $.call is not there");
    expect(child.status.usage).toMatchObject({ totalTokens: 0, modelCalls: 0 });
  });
});
