/** What a Fork takes over of its parent is nowhere stored, and is read as if it were: by its planner, its workers, and whoever replays it. */
import { expect, it } from "vitest";
import { itemName } from "../../src/core/protocol/names.ts";
import type { NodeKey } from "../../src/core/protocol/types.ts";
import { readEntry } from "../../src/core/steps/chain.ts";
import { verifyChain } from "../../src/core/trace/chain-check.ts";
import { readJournals, readRecord } from "../../src/host/journals.ts";
import type { EndedRun, ReplayWorld } from "../support/replay-world.ts";
import { littleShape } from "./replay-little.ts";
import { expectVerified, expectWhole, recordShape } from "./replay-recorded.ts";
import { base, echo, plain, type ReplayShape } from "./replay-shape.ts";

const gather: NodeKey = { node: "gather" };
const storedKeys = ({ store }: ReplayWorld, { uid }: EndedRun) => [...store.recordsOf(uid).entries.keys()];
const row = ({ status }: EndedRun, name: string) => status.nodes.find((each) => each.name === name);

it("is a journal with a chain of its own, page by page, for as long as the fork has none itself", async () => {
  const { world, parent, close } = await recordShape(littleShape);
  try {
    const fork = await world.replay("parent", { from: { node: "tell", step: 1 } });
    expectWhole(fork);
    expect(storedKeys(world, fork)).toEqual(["/tell"]);
    const { uid } = fork;
    const entries = await world.store.entries(uid, gather, 0, 512);
    expect(entries.map(readEntry).map(({ type }) => type)).toEqual(["start", "finish"]);
    expect(verifyChain(uid, { ...gather, entries })).toBeUndefined();
    for (const [from, limit] of [
      [0, 1],
      [1, 512],
      [2, 512],
      [0, 0],
    ] as const)
      expect(await world.store.entries(uid, gather, from, limit)).toEqual(entries.slice(from, from + limit));
    const [record] = (await world.store.view(uid, [gather])).items;
    expect(record).toMatchObject({ length: 2, head: entries[1]?.hash, steps: 7, claimId: "" });
    const [own] = (await world.store.view(parent.uid, [gather])).items;
    expect(JSON.parse(record?.finished ?? "")).toEqual(JSON.parse(own?.finished ?? ""));
    // What the fork itself would write there comes first.
    await world.store.execute(uid, { op: "release", ...gather, attempt: 2 });
    expect((await world.store.view(uid, [gather])).items[0]).toMatchObject({ attempt: 2, length: 0 });
    expect(await world.store.entries(uid, gather, 0, 512)).toEqual([]);
  } finally {
    await close();
  }
});

it("is found through any number of forks of forks, and changes with nothing that is done to other runs", async () => {
  const { world, outside, parent, close } = await recordShape(littleShape);
  try {
    let last = parent;
    for (let generation = 1; generation <= 12; generation += 1) {
      last = await world.replay(last.name, { from: { node: "tell", step: 1 } });
      expect(storedKeys(world, last)).toEqual(["/tell"]);
      expectWhole(last);
    }
    // From inside of what every generation took over.
    const deep = await world.replay(last.name, { from: { node: "gather", step: 7 } });
    expectWhole(deep);
    expect(deep.status.replay).toMatchObject({ reusedSteps: 7, liveSteps: 4 });
    await outside.stop();
    for (const each of [last, deep]) await expectVerified(world, each);
    const journals = await readJournals(await readRecord(world.store, world.stored(deep.name)));
    expect(journals.map((each) => itemName(each))).toContain("rate[1]");
  } finally {
    await close();
  }
});

/** The second node fails once, and nobody tries it again. */
const failing: ReplayShape = {
  name: "a node that fails beside others",
  spec: (urls) => ({
    ...base(urls, ["search"]),
    nodes: [plain("first", "first"), { name: "work", tool: { ref: "search", arguments: { q: "broken" } } }],
  }),
  script: { rules: [echo] },
  end: ["Failed", "DependencyFailed"],
};

it("may be a failure: the fork tries it again only as its own spec says, in a journal of its own", async () => {
  const { world, outside, close } = await recordShape(failing);
  try {
    const plainly = await world.replay("parent", { from: { node: "first", step: 1 } });
    expect(row(plainly, "work")).toMatchObject({ state: "Failed", attempt: 1 });
    expect(storedKeys(world, plainly)).toEqual(["/first"]);
    expectWhole(plainly);
    const before = outside.count().tool;
    const retry = { maxRetries: 1, retryOn: ["ToolFailure" as const], retryDelaySeconds: 0 };
    const own = { nodes: [{ name: "work", retry }] };
    const again = await world.replay("parent", { from: { node: "first", step: 1 } }, own);
    expect(row(again, "work")).toMatchObject({ state: "Failed", attempt: 2, try: 2 });
    expect(outside.count().tool).toBeGreaterThan(before);
    expectWhole(again);
    const entries = await world.store.entries(again.uid, { node: "work" }, 0, 512);
    expect(entries.map(readEntry).map((entry) => entry.try)).toEqual(entries.map(() => 2));
    await outside.stop();
    for (const each of [plainly, again]) await expectVerified(world, each);
  } finally {
    await close();
  }
});

/** One item at a time, of which the second can be held. */
const listed: ReplayShape = {
  name: "a list whose items come one after the other",
  spec: (urls) => ({
    ...base(urls, ["search"]),
    nodes: [
      { ...plain("each", "each $(item)"), forEach: { items: '["a", "b", "c", "d"]', maxParallel: 1 } },
      plain("beside", "beside"),
    ],
  }),
  script: {
    rules: [
      { match: { prompt: "each b", times: 1 }, reply: { text: "b" } },
      { match: { prompt: "each b" }, reply: { text: "b", stallAfterTokens: 0 } },
      echo,
    ],
  },
  end: ["Succeeded", "Succeeded"],
};

it("is part of a fork that is cancelled, wherever in a list it is", async () => {
  const { world, outside, close } = await recordShape(listed);
  try {
    world.onStatus((status, name) => {
      const items = status.nodes.find((each) => each.name === "each")?.items ?? [];
      if (name !== "parent" && items.some(({ state }) => state === "Running")) world.cancel(name);
    });
    const forks: EndedRun[] = [];
    // Also where the list is another one now: it is not asked for again, by the fork or by a Strict replay of it.
    for (const items of [[], [{ name: "each", forEach: { items: '["w", "b", "y", "z"]', maxParallel: 1 } }]]) {
      const own = items.length === 0 ? {} : { nodes: items };
      const fork = await world.replay("parent", { from: { node: "each", item: 1, step: 1 } }, own);
      expect(fork.status.phase).toBe("Cancelled");
      expectWhole(fork);
      expect(fork.steps.map(({ journal }) => itemName(journal))).toEqual(
        expect.arrayContaining(["each[0]", "each[2]", "each[3]", "beside"]),
      );
      forks.push(fork);
    }
    await outside.stop();
    for (const fork of forks) await expectVerified(world, fork);
  } finally {
    await close();
  }
});

it("cannot be replayed without the journal that it was taken from, which is named", async () => {
  const { world, parent, close } = await recordShape(littleShape);
  try {
    const fork = await world.replay("parent", { from: { node: "tell", step: 1 } });
    const { bodies } = world.store.recordsOf(parent.uid);
    bodies.clear();
    const refused = await world.replay(fork.name);
    expect(refused.status.conditions.find(({ type }) => type === "Succeeded")).toMatchObject({
      reason: "ReplayRefused",
      message: expect.stringContaining(
        `${fork.name} cannot be replayed: the journal of parent, which it replays, is gone`,
      ),
    });
  } finally {
    await close();
  }
});

it("is lost with its parent's journal, and not run again in silence", async () => {
  const { world, parent, close } = await recordShape(littleShape);
  try {
    const before = parent.live.length;
    world.storeFor = (store) => {
      // The pin of the fork holds in a store that keeps its word.
      world.store.recordsOf(parent.uid).items.clear();
      return store;
    };
    const fork = await world.replay("parent", { from: { node: "tell", step: 1 } });
    expect(fork.status.phase).toBe("Failed");
    expect(fork.status.conditions.find(({ type }) => type === "Succeeded")).toMatchObject({ reason: "DurabilityLost" });
    expect(parent.live.length).toBe(before);
    expect(world.orders.filter(({ uid }) => uid === fork.uid).map(({ node }) => node)).not.toContain("gather");
  } finally {
    await close();
  }
});
