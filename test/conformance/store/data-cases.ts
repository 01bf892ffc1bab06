/** Entries, bodies, retention, wake-ups, size. */
import { expect } from "vitest";
import { verifyChain } from "../../../src/core/trace/chain-check.ts";
import { genesis } from "../../../src/core/protocol/names.ts";
import type { StoredEntry, Wake } from "../../../src/core/protocol/types.ts";
import { body, entryAfter, Hand, openCommand, snapshot } from "../../support/journal.ts";
import type { Case, CaseWorld } from "./suite.ts";

async function claimed({ store, uid }: CaseWorld): Promise<Hand> {
  await store.execute(uid, openCommand());
  const hand = new Hand(uid, { node: "a" });
  await hand.claim(store);
  return hand;
}

/** Resolves when a wake-up of that kind arrives; the test's own timeout is the limit. */
function wakes(expected: Wake): { listener: (wake: Wake) => void; arrived: Promise<void> } {
  let listener: (wake: Wake) => void = () => undefined;
  const arrived = new Promise<void>((resolve) => {
    listener = (wake) => {
      if (wake === expected) resolve();
    };
  });
  return { listener, arrived };
}

/** Entries as another store would hand them out. */
function recorded(uid: string, node: string, contents: readonly string[]): StoredEntry[] {
  const entries: StoredEntry[] = [];
  for (const content of contents)
    entries.push(entryAfter(entries.length, entries.at(-1)?.hash ?? genesis(uid, { node }), content));
  return entries;
}
const figures = { attempt: 2, try: 1, steps: 3, finished: '{"outcome":"Succeeded"}' };

export const dataCases: readonly Case[] = [
  [
    "entries are restored as they were, in parts and repeatedly, and nobody may go on with them",
    async ({ store, other, uid }) => {
      const entries = recorded(uid, "a", ["one", "two", "three", "four"]);
      await store.restoreEntries(uid, { node: "a" }, entries.slice(0, 2), { ...figures, finished: undefined });
      await other.restoreEntries(uid, { node: "a" }, entries.slice(1), figures);
      await store.restoreEntries(uid, { node: "a" }, entries, figures);
      await store.restoreEntries(uid, { node: "a" }, entries.slice(0, 2), figures);
      expect(await store.entries(uid, { node: "a" }, 0, 100)).toEqual(entries);
      const [item] = (await other.view(uid, [{ node: "a" }])).items;
      expect(item).toMatchObject({ ...figures, claimId: "", length: 4, head: entries.at(-1)?.hash });
      const hand = new Hand(uid, { node: "a" });
      expect((await store.execute(uid, hand.claimCommand)).code).toBe("NOT_OPEN");
    },
  ],
  [
    "no entry is restored beside another one, after a gap, or into a run that was opened here",
    async (world) => {
      const { store, uid } = world;
      const entries = recorded(uid, "a", ["one", "two", "three", "four"]);
      const restore = (some: readonly StoredEntry[]) => store.restoreEntries(uid, { node: "a" }, some, figures);
      const refused = { code: "OAO_PROTOCOL" };
      await expect(restore(entries.slice(1))).rejects.toMatchObject(refused);
      await restore(entries.slice(0, 2));
      await expect(restore(entries.slice(3))).rejects.toMatchObject(refused);
      await expect(restore(recorded(uid, "a", ["one", "other", "three"]))).rejects.toMatchObject(refused);
      await expect(restore(recorded(uid, "b", ["one"]))).rejects.toMatchObject(refused);
      // The first of these would follow; the second does not.
      await expect(
        restore([...entries.slice(2, 3), ...entries.slice(2, 3).map((entry) => ({ ...entry, index: 3 }))]),
      ).rejects.toMatchObject(refused);
      expect(await store.entries(uid, { node: "a" }, 0, 100)).toEqual(entries.slice(0, 2));
      await store.execute(uid, openCommand());
      await expect(restore(entries)).rejects.toMatchObject(refused);
    },
  ],
  [
    "entries come back as they were written, page by page, and hold together",
    async (world) => {
      const hand = await claimed(world);
      const { store, uid, other } = world;
      await hand.run(store, hand.begin());
      for (let round = 0; round < 4; round += 1) await hand.run(store, hand.commit({}, { entries: 3 }));
      const whole = await store.entries(uid, { node: "a" }, 0, 100);
      expect(whole).toHaveLength(13);
      expect(verifyChain(uid, { node: "a", entries: whole })).toBeUndefined();
      expect(whole.at(-1)?.hash).toBe(hand.head);
      const paged = [];
      for (let from = 0; from < 13; from += 5) paged.push(...(await other.entries(uid, { node: "a" }, from, 5)));
      expect(paged).toEqual(whole);
      expect(await store.entries(uid, { node: "a" }, 13, 5)).toEqual([]);
      expect(await store.entries(uid, { node: "a" }, 3, 0)).toEqual([]);
      expect(await store.entries(uid, { node: "b" }, 0, 5)).toEqual([]);
    },
  ],
  [
    "bodies are stored once by digest, unchanged whatever they hold, and a missing one is absent",
    async (world) => {
      const hand = await claimed(world);
      const { store, uid, other } = world;
      const bodies = [
        body("[]"),
        body("{}"),
        body("9007199254740993"),
        body("line\nline \u0000 \u{1f600} é"),
        body("x".repeat(300_000)),
      ];
      await hand.run(store, hand.commit({}, { bodies }));
      await store.putBodies(uid, [body("apart"), body("[]")]);
      await store.putBodies(uid, []);
      const digests = [...bodies, body("apart"), body("missing")].map(({ digest }) => digest);
      const found = await other.bodies(uid, digests);
      expect(found.size).toBe(6);
      for (const { digest, bytes } of [...bodies, body("apart")]) expect(found.get(digest)).toBe(bytes);
      expect((await store.bodies(uid, [])).size).toBe(0);
    },
  ],
  [
    "a refused command stores no body",
    async (world) => {
      const hand = await claimed(world);
      await world.store.execute(world.uid, { ...hand.commit({}, { bodies: [body("refused")] }), seq: 5 });
      expect((await world.store.bodies(world.uid, [body("refused").digest])).size).toBe(0);
    },
  ],
  [
    "dropBodies keeps what it is told to keep and nothing else, and the journal stays",
    async (world) => {
      const hand = await claimed(world);
      const { store, uid } = world;
      await hand.run(store, hand.commit({}, { bodies: [body("kept"), body("dropped")] }));
      const keep = [body("kept").digest, body("never stored").digest];
      await store.dropBodies(uid, keep);
      await store.dropBodies(uid, keep);
      expect([...(await store.bodies(uid, [body("kept").digest, body("dropped").digest])).values()]).toEqual(["kept"]);
      await store.dropBodies(uid, []);
      expect((await store.bodies(uid, keep)).size).toBe(0);
      expect(await store.entries(uid, { node: "a" }, 0, 9)).toHaveLength(1);
    },
  ],
  [
    "expire later keeps everything for now, expire now forgets the run, also where another process holds it",
    async (world) => {
      const hand = await claimed(world);
      const { store, uid, other } = world;
      await hand.run(store, hand.commit({}, { bodies: [body("gone")] }));
      expect((await other.view(uid, [{ node: "a" }])).items[0]?.length).toBe(1);
      await store.expire(uid, [{ node: "a" }], 3_600);
      expect((await store.view(uid, [{ node: "a" }])).items[0]?.length).toBe(1);
      await store.expire(uid, [{ node: "a" }], 0);
      await store.expire(uid, [{ node: "a" }], 0);
      for (const seen of [store, other]) {
        expect(await seen.view(uid, [{ node: "a" }])).toEqual({ execution: undefined, items: [undefined] });
        expect(await seen.entries(uid, { node: "a" }, 0, 9)).toEqual([]);
        expect((await seen.bodies(uid, [body("gone").digest])).size).toBe(0);
        expect(await seen.nodeAccount(uid, "a")).toBeUndefined();
      }
      expect(await store.execute(uid, openCommand())).toMatchObject({ code: "OK" });
    },
  ],
  [
    "a journal that is kept for a replay does not expire, whatever is asked before or after",
    async (world) => {
      const hand = await claimed(world);
      const { store, uid, other } = world;
      await hand.run(store, hand.commit({}, { bodies: [body("kept")] }));
      const items = [{ node: "a" }];
      await store.expire(uid, items, 60);
      await store.keep(uid, items, 3_600);
      await store.keep(uid, items, 1);
      await other.expire(uid, items, 0);
      for (const seen of [store, other]) {
        expect((await seen.view(uid, items)).items[0]?.length).toBe(1);
        expect(await seen.entries(uid, { node: "a" }, 0, 9)).toHaveLength(1);
        expect((await seen.bodies(uid, [body("kept").digest])).size).toBe(1);
      }
      await store.keep("00000000-0000-4000-8000-000000000000", items, 60);
      expect((await store.view("00000000-0000-4000-8000-000000000000", items)).execution).toBeUndefined();
    },
  ],
  [
    "a watcher hears of control, of a settle and of progress, also from another process, until it stops watching",
    async (world) => {
      const hand = await claimed(world);
      const { store, uid, other } = world;
      for (const [expected, act] of [
        ["settled", () => hand.run(store, hand.commit({}, { overshoot: { TotalTokens: 1 } }))],
        ["control", () => store.execute(uid, { op: "control", to: "Suspended", message: "" })],
      ] as const) {
        const [near, far] = [wakes(expected), wakes(expected)];
        const unwatch = [await store.watch(uid, near.listener), await other.watch(uid, far.listener)];
        await act();
        await Promise.all([near.arrived, far.arrived]);
        for (const stop of unwatch) await stop();
      }
      const progress = wakes("progress");
      const unwatch = await other.watch(uid, progress.listener);
      await hand.run(store, hand.finish());
      await expect(progress.arrived).resolves.toBeUndefined();
      await unwatch();
      await unwatch();
    },
  ],
  [
    "a run with 1,000 items is claimed, worked on and read in one view",
    async ({ store, uid }) => {
      await store.execute(uid, openCommand({ ToolCalls: 1_000 }));
      const keys = Array.from({ length: 1_000 }, (_, item) => ({ node: "rate", item }));
      for (const key of keys) {
        const hand = new Hand(uid, key);
        await hand.claim(store);
        await hand.run(store, hand.begin({ settled: { ToolCalls: 1 } }));
      }
      const view = await store.view(uid, keys);
      expect(view.items.every((item) => item?.length === 1)).toBe(true);
      expect(view.execution?.account.settled.ToolCalls).toBe(1_000);
      const late = new Hand(uid, { node: "late" });
      await late.claim(store);
      expect(await store.execute(uid, late.begin({ settled: { ToolCalls: 1 } }))).toMatchObject({ code: "BUDGET" });
    },
  ],
  [
    "a run keeps its snapshot's name and its store's identity",
    async ({ store, uid, other }) => {
      await store.execute(uid, openCommand());
      expect((await other.view(uid, [])).execution?.snapshot).toBe(snapshot);
      expect(await store.runId()).toMatch(/./);
      expect(await store.runId()).toBe(await other.runId());
      expect(await store.durability()).toEqual({ durable: true, reasons: [], unfit: [] });
    },
  ],
];
