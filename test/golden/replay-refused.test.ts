/** What cannot be replayed is refused with the reason, before a worker or a token; what is only worth knowing is told. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ManifestSpec } from "../../src/api/execution.ts";
import type { ReplaySpec } from "../../src/api/replay.ts";
import { journalKeysOf, type ReplayWorld } from "../support/replay-world.ts";
import { storedBytes } from "../support/stored-bytes.ts";
import { editJournal } from "./edited-record.ts";
import { condition, expectVerified, type Recorded, recordShape } from "./replay-recorded.ts";
import { armed, base, echo, plain, type ReplayShape, search } from "./replay-shape.ts";

const shape: ReplayShape = {
  name: "small",
  spec: (urls) => ({
    ...base(urls, ["search"]),
    nodes: [
      armed("gather", "gather"),
      { ...plain("rate", "rate $(item)"), dependsOn: ["gather"], forEach: { items: '["a", "b"]' } },
      { ...plain("rare", "rare"), when: "false" },
    ],
  }),
  script: { rules: [{ match: { prompt: "gather", turn: 0 }, reply: search("x") }, echo] },
  end: ["Succeeded", "Succeeded"],
};

let recorded: Recorded;
beforeAll(async () => {
  recorded = await recordShape(shape);
});
afterAll(() => recorded.close());

async function refusal(world: ReplayWorld, parent: string, replay: Partial<ReplaySpec> = {}, own: ManifestSpec = {}) {
  const workers = world.orders.length;
  const child = await world.replay(parent, replay, own);
  expect(world.orders.length).toBe(workers);
  expect(child.live).toEqual([]);
  expect(child.status.phase).toBe("Failed");
  const { status, reason, message } = condition(child, "Succeeded") ?? {};
  expect({ status, reason }).toEqual({ status: "False", reason: "ReplayRefused" });
  return message;
}

describe("a replay is refused", () => {
  it.each([
    [{ fromStep: 6 }, "fromStep 6 is out of range: it has steps 1 to 5"],
    [{ from: { node: "gather", step: 4 } }, "step 4 of gather is out of range: gather has 3"],
    [{ from: { node: "rate", item: 1, step: 2 } }, "step 2 of rate is out of range: rate[0] has 1, rate[1] has 1"],
    [
      { from: { node: "rate", step: 1 } },
      "step 1 of rate is out of range: rate[0] has 1, rate[1] has 1; say which item",
    ],
    [{ from: { node: "rare", step: 1 } }, "it has no recorded steps of a node rare"],
    [{ from: { node: "nobody", step: 1 } }, "it has no recorded steps of a node nobody"],
  ])("where the step is out of range, with the range: %j", async (replay, why) => {
    expect(await refusal(recorded.world, "parent", replay)).toBe(`team-a/parent cannot be replayed: ${why}`);
  });

  it("where its parent is not there, or is in another namespace, or was given its name later", async () => {
    const { world, parent } = recorded;
    const nobody = "there is no Execution of this name in this namespace (a replay stays in its parent's)";
    expect(await refusal(world, "nobody")).toBe(`team-a/nobody cannot be replayed: ${nobody}`);
    world.runs.set("elsewhere", { ...world.stored("parent"), key: { namespace: "team-b", name: "elsewhere" } });
    expect(await refusal(world, "elsewhere", { fromStep: 1 })).toBe(`team-a/elsewhere cannot be replayed: ${nobody}`);
    const executionRef = { name: "parent", uid: "0c7a3a52-0000-4000-8000-000000000001" };
    const other = await world.run("of-another", { replay: { executionRef } });
    expect(condition(other, "Succeeded")?.message).toBe(
      `team-a/parent cannot be replayed: its uid is ${parent.uid}, not ${executionRef.uid}: the name was given to another run`,
    );
  });

  it("where a strict one changes what is hashed as task, agents or tools, with the parts; not for a policy", async () => {
    const { world, parent } = recorded;
    const { models: [model] = [], tools: [tool] = [] } = parent.record.spec;
    if (model === undefined || tool === undefined) throw new Error("the shape has a model and a tool");
    const differ = (parts: string) =>
      `team-a/parent cannot be replayed: what was recorded is changed (${parts}), and a Strict replay proves that nothing has. Leave it out, or try it from a step on: --from-step N (in a manifest mode: Fork with fromStep)`;
    expect(await refusal(world, "parent", {}, { task: "another" })).toBe(differ("task"));
    expect(await refusal(world, "parent", {}, { agents: [{ name: "plain", model: "m", systemPrompt: "No." }] })).toBe(
      differ("agents"),
    );
    const all: ManifestSpec = {
      nodes: [plain("more", "more")],
      models: [{ ...model, model: "other" }],
      tools: [{ ...tool, description: "other" }],
    };
    expect(await refusal(world, "parent", {}, all)).toBe(differ("task, agents, tools"));
    const governed = await world.replay("parent", {}, {}, { policy: { maxTokens: 1 } });
    expect(condition(governed, "ReplayVerified")).toMatchObject({ status: "True" });
  });

  it("where its changes do not fit together", async () => {
    expect(
      await refusal(recorded.world, "parent", { fromStep: 1 }, { agents: [{ name: "plain", model: "less" }] }),
    ).toMatch(/^team-a\/parent cannot be replayed: what its replay changes does not fit together: .*less/);
    // Not every host has an API server that looked at the fields, and none has seen what they are merged with.
    const unfit: readonly (readonly [ManifestSpec, string])[] = [
      [{ nodes: [{ name: "gather", dependsOn: ["rate"] }] }, "the nodes wait for each other: gather → rate → gather"],
      [{ nodes: [{ name: "rare", when: "nodes.nobody.output == 1" }] }, "nobody"],
      [{ parallelism: -4 }, "spec.parallelism: must be at least 1, but is -4"],
    ];
    for (const [own, why] of unfit) {
      const message = await refusal(recorded.world, "parent", { fromStep: 1 }, own);
      expect(message).toContain("what its replay changes does not fit together");
      expect(message).toContain(why);
    }
  });

  it("where its parent has not ended, and no more once it has", async () => {
    const { world, outside, close } = await recordShape({
      ...shape,
      script: { rules: [{ match: { prompt: "slow", times: 1 }, reply: { tokens: 60, stallAfterTokens: 20 } }, echo] },
    });
    try {
      const stalled = new Promise<void>((resolve) => outside.whenStalled(resolve));
      const running = world.run("running", { ...base(outside.urls, []), nodes: [plain("slow", "slow")] });
      await stalled;
      expect(await refusal(world, "running")).toBe(
        "team-a/running cannot be replayed: it has not ended; wait for its end, or set its desiredState to Cancelled",
      );
      world.cancel("running");
      await expectVerified(world, await running);
    } finally {
      await close();
    }
  });

  it("where its parent was refused itself, and so never started", async () => {
    await refusal(recorded.world, "nobody");
    const refused = [...recorded.world.runs.keys()].at(-1) ?? "";
    expect(await refusal(recorded.world, refused)).toBe(
      `team-a/${refused} cannot be replayed: it was never started, so nothing is recorded`,
    );
  });

  it("where only digests were recorded", async () => {
    const { world, outside } = recorded;
    const spec = { ...base(outside.urls, []), nodes: [plain("secret", "secret")] };
    await world.run("digests", spec, { policy: { recording: { content: "DigestOnly" } } });
    const why =
      "a policy let it record digests only (recording.content: DigestOnly), so there are no answers to replay";
    expect(await refusal(world, "digests")).toBe(`team-a/digests cannot be replayed: ${why}`);
    expect(await refusal(world, "digests", { fromStep: 1 })).toBe(`team-a/digests cannot be replayed: ${why}`);
  });

  it("where an entry of its journal was edited, whatever of it would be read", async () => {
    const { world, outside } = recorded;
    const { uid } = await world.run("edited", { ...base(outside.urls, []), nodes: [plain("one", "one")] });
    const { entries } = world.store.recordsOf(uid);
    const [key, [start, ...others]] = [...entries].find(([, held]) => held.length > 1) ?? ["", []];
    if (start === undefined) throw new Error("it has entries");
    entries.set(key, [{ ...start, bytes: start.bytes.replace('"attempt":1', '"attempt":2') }, ...others]);
    for (const replay of [{}, { fromStep: 1 }]) {
      const workers = world.orders.length;
      const child = await world.replay("edited", replay);
      expect(world.orders.length).toBe(workers);
      expect(condition(child, "Succeeded")).toMatchObject({
        status: "False",
        reason: "RecordChanged",
        message:
          "the journal of node one was changed after it was recorded: entry 0: its hash is not the hash of its bytes",
      });
    }
  });

  it("where its journal has expired", async () => {
    const { world, outside } = recorded;
    const spec = { ...base(outside.urls, []), nodes: [plain("gone", "gone")] };
    const { uid } = await world.run("expired", spec);
    await world.store.expire(uid, journalKeysOf(world, "expired"), 0);
    expect(await refusal(world, "expired")).toBe(
      "team-a/expired cannot be replayed: its journal is gone: its retention (journalRetentionSeconds) is over, or it is in another store",
    );
  });
});

describe("a replay is not refused", () => {
  it("where another program recorded its parent, and says so", async () => {
    const { world, parent, close } = await recordShape(shape);
    try {
      editJournal(world, parent.uid, { node: "gather" }, (entry) =>
        entry.type === "start" ? { ...entry, runtime: { ...entry.runtime, version: "0.0.1", node: "v22.1.0" } } : entry,
      );
      editJournal(world, parent.uid, { node: "rate", item: 0 }, (entry) =>
        entry.type === "start" ? { ...entry, runtime: { ...entry.runtime, build: "another" } } : entry,
      );
      const child = await expectVerified(world, parent);
      expect(condition(child, "ReplayVerified")?.message).toMatch(
        /; recorded by OAO 0\.0\.1 on Node v22\.1\.0, another build of OAO [^ ]+$/,
      );
    } finally {
      await close();
    }
  });

  it("where its parent's time is over, or its object is gone, while somebody replays it: what it needs stays", async () => {
    const { world, outside, parent, close } = await recordShape(shape);
    try {
      const fork = await world.replay("parent", { fromStep: 3 });
      const again = await world.replay(fork.name, { fromStep: 4 });
      const strict = await world.replay(again.name);
      await outside.stop();
      for (const each of [parent, fork, again]) await world.store.expire(each.uid, journalKeysOf(world, each.name), 0);
      world.runs.delete("parent");
      world.runs.delete(fork.name);
      for (const each of [again, strict]) await expectVerified(world, await world.ended(each.name));
      expect(outside.connections).toBe(0);
    } finally {
      await close();
    }
  });
});

describe("a replay stores", () => {
  const toolCalls = Array.from({ length: 9 }, (_, n) => ({ name: "search", arguments: { q: `${n}` } }));
  const items = JSON.stringify(
    Array.from({ length: 60 }, (_, n) => `item ${n}, ${"which says a little more. ".repeat(4)}`),
  );
  const besides = Array.from({ length: 30 }, (_, n) => `beside-${n}`);
  /** Long prompts, many nodes, a long list of outputs and a long result: nothing of it is new in a replay. */
  const large: ReplayShape = {
    ...shape,
    spec: (urls) => ({
      ...base(urls, ["search"]),
      nodes: [
        armed("long", `long ${"a long prompt ".repeat(300)}`),
        ...besides.map((name) => plain(name, `${name} ${"of many words ".repeat(30)}`)),
        { ...plain("rate", "rate $(item)"), forEach: { items } },
        { ...plain("last", "last $(nodes.rate.output)"), dependsOn: besides },
      ],
    }),
    script: { rules: [{ match: { prompt: "long", times: 12 }, reply: { toolCalls } }, echo] },
  };

  it("2 KiB at most, whatever the step and however much it reuses: that is read by reference", async () => {
    const recorded = await recordShape(large);
    const { world, parent } = recorded;
    try {
      expect(parent.steps.length).toBe(121 + 30 + 60 + 1);
      const sizes: number[] = [];
      for (const n of [1, 35, 93, 151, 180, parent.steps.length]) {
        const fork = await world.replay("parent", { fromStep: n });
        // All before it, and every node that does not depend on it.
        expect(fork.status.replay?.reusedSteps, `fork at ${n}`).toBeGreaterThanOrEqual(n - 1);
        const { total, ...parts } = storedBytes(world, fork);
        expect(total, JSON.stringify(parts)).toBeLessThanOrEqual(2_048);
        if (n > 30 && n <= 151) sizes.push(total);
        const again = await world.replay(fork.name, { fromStep: n });
        expect(storedBytes(world, again).total).toBeLessThanOrEqual(2_048);
        expect(again.status.traceHash).toBe((await world.replay(again.name)).status.traceHash);
      }
      // Of one node: the step number has a digit or two more.
      expect(sizes).toHaveLength(3);
      expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThan(8);
    } finally {
      await recorded.close();
    }
  });

  it("of a Strict one no more, once it was replayed before", async () => {
    const recorded = await recordShape(large);
    const { world, parent } = recorded;
    try {
      await expectVerified(world, parent);
      const before = world.store.recordsOf(parent.uid).bodies.size;
      const strict = await expectVerified(world, parent);
      expect(storedBytes(world, strict).total).toBeLessThanOrEqual(2_048);
      expect(world.store.recordsOf(parent.uid).bodies.size).toBe(before);
    } finally {
      await recorded.close();
    }
  });

  it("of a change what is changed", async () => {
    const recorded = await recordShape(large);
    const { world } = recorded;
    try {
      const own = { nodes: [{ name: "last", agent: { ref: "plain", prompt: "the last one" } }] };
      const fork = await world.replay("parent", { fromStep: recorded.parent.steps.length }, own);
      expect(fork.status.phase).toBe("Succeeded");
      const { total, ...parts } = storedBytes(world, fork);
      expect(total, JSON.stringify(parts)).toBeLessThanOrEqual(2_048);
      expect(fork.record.snapshot?.spec.nodes.at(-1)).toMatchObject(own.nodes[0] ?? {});
    } finally {
      await recorded.close();
    }
  });
});
