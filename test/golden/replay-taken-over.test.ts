/** What a Fork takes over of its parent is nowhere stored, and is read as if it were: by its planner, its workers, and whoever replays it. */
import { expect, it, vi } from "vitest";
import { canonicalJson, sha256Hex } from "../../src/core/digest/digest.ts";
import { itemName } from "../../src/core/protocol/names.ts";
import type { NodeKey } from "../../src/core/protocol/types.ts";
import { readEntry } from "../../src/core/steps/chain.ts";
import { verifyChain } from "../../src/core/trace/chain-check.ts";
import type { ItemJournal } from "../../src/core/trace/journal.ts";
import { grownJournal, lineageOf, readJournals, readRecord } from "../../src/host/journals.ts";
import type { EndedRun, ReplayWorld } from "../support/replay-world.ts";
import { storedBytes } from "../support/stored-bytes.ts";
import { reusing } from "./edited-record.ts";
import { littleShape } from "./replay-little.ts";
import { condition, expectVerified, expectWhole, recordShape } from "./replay-recorded.ts";
import { base, echo, plain, type ReplayShape } from "./replay-shape.ts";

const gather: NodeKey = { node: "gather" };
const lineage = (world: ReplayWorld, { uid, record, status }: EndedRun) =>
  lineageOf(world.store, { uid, status }, record.snapshot) ?? expect.fail("it was not opened");
const storedKeys = ({ store }: ReplayWorld, { uid }: EndedRun) => [...store.recordsOf(uid).entries.keys()];
const row = ({ status }: EndedRun, name: string) => status.nodes.find((each) => each.name === name);

it("is a journal with a chain of its own, page by page, for as long as the fork has none itself", async () => {
  const { world, parent, close } = await recordShape(littleShape);
  try {
    const fork = await world.replay("parent", { from: { node: "tell", step: 1 } });
    expectWhole(fork);
    expect(storedKeys(world, fork)).toEqual(["/tell"]);
    const { uid } = fork;
    const read = lineage(world, fork);
    const entries = await read.entries(uid, gather, 0, 512);
    expect(entries.map(readEntry).map(({ type }) => type)).toEqual(["start", "finish"]);
    expect(verifyChain(uid, { ...gather, entries })).toBeUndefined();
    for (const [from, limit] of [
      [0, 1],
      [1, 512],
      [2, 512],
      [0, 0],
    ] as const)
      expect(await read.entries(uid, gather, from, limit)).toEqual(entries.slice(from, from + limit));
    const [record] = (await read.view(uid, [gather])).items;
    expect(record).toMatchObject({ length: 2, head: entries[1]?.hash, steps: 7, claimId: "" });
    const [own] = (await world.store.view(parent.uid, [gather])).items;
    expect(JSON.parse(record?.finished ?? "")).toEqual(JSON.parse(own?.finished ?? ""));
    // What the fork itself would write there comes first.
    await world.store.execute(uid, { op: "release", ...gather, attempt: 2 });
    expect((await read.view(uid, [gather])).items[0]).toMatchObject({ attempt: 2, length: 0 });
    expect(await read.entries(uid, gather, 0, 512)).toEqual([]);
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

it("gives way to a journal of the fork's own, also for whoever has read it before", async () => {
  const { world, close } = await recordShape(failing);
  try {
    let reading: Promise<ItemJournal> | undefined;
    world.onStatus((status, name) => {
      if (!status.nodes.some((each) => each.name === "work" && each.state === "Retrying")) return;
      const record = readRecord(world.store, world.stored(name));
      reading ??= record.then((found) => grownJournal(found, { node: "work" }));
    });
    const retry = { maxRetries: 1, retryOn: ["ToolFailure" as const], retryDelaySeconds: 1 };
    const broken = { name: "work", retry, tool: { ref: "search", arguments: { q: "$(int('x'))" } } };
    const fork = await world.replay("parent", { from: { node: "first", step: 1 } }, { nodes: [broken] });
    const known = await reading;
    const record = await readRecord(world.store, world.stored(fork.name));
    const now = await grownJournal(record, { node: "work" });
    expect(known?.entries.map(readEntry).map((entry) => entry.try)).toEqual([1, 1]);
    expect(now.entries.map(readEntry).map((entry) => entry.try)).toEqual([2, 2]);
    expect((await grownJournal(record, { node: "work" }, known)).entries).toEqual(now.entries);
    expect(await grownJournal(record, { node: "first" }, await grownJournal(record, { node: "first" }))).toBeDefined();
    expectWhole(fork);
  } finally {
    await close();
  }
});

/** As a worker writes it that wants to read more than its own. */
function forge(world: ReplayWorld, run: EndedRun, victim: EndedRun): void {
  const replay = { mode: "Fork", lineage: [victim.uid], at: "now", cursor: { step: 1, node: "first", before: 0 } };
  const bytes = canonicalJson({ v: 1, uid: run.uid, spec: { nodes: [{ name: "first" }, { name: "work" }] }, replay });
  const records = world.store.recordsOf(run.uid) as unknown as { execution: object; bodies: Map<string, string> };
  records.bodies.set(sha256Hex(bytes), bytes);
  records.execution = { ...records.execution, snapshot: sha256Hex(bytes) };
}

it("is what the status's own snapshot says, never what a worker writes of another run's (S1)", async () => {
  const { world, outside, parent: victim, close } = await recordShape(failing);
  try {
    const attacker = await world.run("attacker", failing.spec(outside.urls));
    world.store.recordsOf(attacker.uid).items.clear();
    (world.store.recordsOf(attacker.uid).entries as Map<string, unknown>).clear();
    forge(world, attacker, victim);
    const read = lineage(world, attacker);
    await expect(read.view(attacker.uid, [{ node: "work" }])).rejects.toThrow("it was opened with another snapshot");
    expect(await read.entries(attacker.uid, { node: "work" }, 0, 9)).toEqual([]);
    expect(read.mayReuse(attacker.uid, victim.uid)).toBe(false);
    // Nor by an entry that says that it reuses steps of another run.
    const entries = reusing(attacker.uid, { node: "work" }, victim.uid);
    await expect(attacker.record.linked({ node: "work" }, entries)).rejects.toThrow(
      `it reuses steps of run ${victim.uid}, which is none that its run replays`,
    );
  } finally {
    await close();
  }
});

it("ends a run whose worker gave it another snapshot as changed", async () => {
  const { world, outside, parent: victim, close } = await recordShape(failing);
  try {
    world.storeFor = (store, order) => {
      if (order.node === "first") queueMicrotask(() => forge(world, { uid: order.uid } as EndedRun, victim));
      return store;
    };
    const run = await world.run("attacker", failing.spec(outside.urls));
    expect(run.status.phase).toBe("Failed");
    expect(condition(run, "Succeeded")).toMatchObject({
      reason: "RecordChanged",
      message: expect.stringContaining("it was opened with another snapshot"),
    });
  } finally {
    await close();
  }
});

it("waits where it is a failure for what comes before it, however few run at once", async () => {
  const shape: ReplayShape = {
    name: "a list that fails behind a node which takes its time",
    spec: (urls) => ({
      ...base(urls, ["search"]),
      nodes: [
        plain("ahead", "ahead"),
        {
          name: "each",
          tool: { ref: "search", arguments: { q: "$(item)" } },
          forEach: { items: '["a", "broken"]' },
        },
      ],
    }),
    script: { rules: [{ match: { prompt: "ahead", times: 1 }, reply: { text: "b", stallAfterTokens: 0 } }, echo] },
    disturb: (world) =>
      world.onStatus((status, name) => {
        const hasFailed = status.nodes.some((each) => each.name === "each" && each.state === "Failed");
        if (name === "parent" && hasFailed && status.completedAt === undefined) world.cancel(name);
      }),
    end: ["Cancelled", "Cancelled"],
  };
  const { world, close } = await recordShape(shape);
  try {
    for (const parallelism of [10, 1]) {
      const at = { from: { node: "each", item: 0, step: 1 }, toolOutputs: "Live" as const };
      const fork = await world.replay("parent", at, { parallelism });
      expect(fork.live.map(({ place }) => place).sort()).toEqual(["ahead 0.0", "each[0] 0.1"]);
      expectWhole(fork);
    }
  } finally {
    await close();
  }
});

it("may be an end that a worker wrote as nobody could carry it on", async () => {
  const { world, parent, close } = await recordShape(failing);
  try {
    const items = world.store.recordsOf(parent.uid).items as Map<string, { finished: string }>;
    for (const [key, item] of items)
      if (key.endsWith("/work"))
        items.set(key, {
          ...item,
          finished: '{"outcome":"Failed","output":null,"error":{"class":"X","message":"\\ud800"}}',
        });
    const fork = await world.replay("parent", { from: { node: "first", step: 1 } });
    expect(row(fork, "work")).toMatchObject({ state: "Failed", reason: "X", message: "\ufffd" });
    expectWhole(fork);
  } finally {
    await close();
  }
});

it("leaves a gap in a list, behind which nothing of a fork expires while it is needed", async () => {
  const items = JSON.stringify(Array.from({ length: 150 }, (_, n) => `${n}`));
  const long: ReplayShape = {
    name: "a long list",
    spec: (urls) => ({
      ...base(urls, ["search"]),
      nodes: [{ ...plain("each", "each $(item)"), forEach: { items } }, plain("constructor", "beside")],
    }),
    script: { rules: [echo] },
    end: ["Succeeded", "Succeeded"],
  };
  const { world, close } = await recordShape(long);
  try {
    const first = await world.replay("parent", { from: { node: "each", item: 140, step: 1 } });
    expect(storedKeys(world, first)).toEqual(["140/each"]);
    const kept = vi.spyOn(world.store, "keep");
    // A name that objects have by themselves is one like any other.
    const second = await world.replay(first.name, { from: { node: "each", item: 3, step: 1 } });
    const asked = kept.mock.calls.filter(([uid]) => uid === first.uid);
    expect(asked.length).toBeGreaterThan(0);
    for (const [, keys] of asked) expect(keys).toContainEqual({ node: "each", item: 140 });
    expect(storedKeys(world, second)).toEqual(["3/each"]);
    expect(row(second, "constructor")).toMatchObject({ state: "Succeeded", reason: "Reused" });
    expectWhole(second);
  } finally {
    await close();
  }
});

it("costs few look-ups and no more bytes, however deep forks of forks go", async () => {
  const { world, parent, close } = await recordShape(littleShape);
  try {
    let last = parent;
    const depth = 16;
    const sizes: number[] = [];
    for (let at = 0; at < depth; at += 1) {
      last = await world.replay(last.name, { from: { node: "tell", step: 1 } });
      sizes.push(storedBytes(world, last).total);
    }
    // The first adds what it replays to its spec, the others change it; a name has a letter or two more.
    const [, ...later] = sizes;
    expect(Math.max(...later) - Math.min(...later), sizes.join()).toBeLessThan(16);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(2_048);
    expect(last.record.snapshot?.replay?.lineage).toHaveLength(depth);
    const counts = { bodies: 0, view: 0, entries: 0 };
    const counted = new Proxy(world.store, {
      get: (target, name) => {
        const member: unknown = Reflect.get(target, name);
        if (typeof member !== "function") return member;
        return (...args: unknown[]): unknown => {
          if (name === "bodies" || name === "view" || name === "entries") counts[name] += 1;
          return Reflect.apply(member, target, args);
        };
      },
    });
    const record = await readRecord(counted, world.stored(last.name));
    // One body for each generation.
    expect(counts).toEqual({ bodies: depth + 1, view: 0, entries: 0 });
    expect((await readJournals(record)).length).toBe(5);
    expect(counts.bodies).toBeLessThanOrEqual(4 * depth);
    expect(counts.view + counts.entries).toBeLessThanOrEqual(5 * 6 * depth);
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
    expect(condition(refused, "Succeeded")).toMatchObject({
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
    expect(condition(fork, "Succeeded")).toMatchObject({ reason: "DurabilityLost" });
    expect(parent.live.length).toBe(before);
    expect(world.orders.filter(({ uid }) => uid === fork.uid).map(({ node }) => node)).not.toContain("gather");
  } finally {
    await close();
  }
});
