/** Begin, grow, commit, finish and heal: chain, sequence, first replies. */
import { expect } from "vitest";
import { body, entryAfter, Hand, openCommand } from "../../support/journal.ts";
import type { Limits } from "../../../src/core/protocol/types.ts";
import type { Case, CaseWorld } from "./suite.ts";

async function claimed({ store, uid }: CaseWorld, limits: Limits = {}): Promise<Hand> {
  await store.execute(uid, openCommand(limits));
  const hand = new Hand(uid, { node: "a" });
  await hand.claim(store);
  return hand;
}

export const sequenceCases: readonly Case[] = [
  [
    "J6: repeating a sequenced command gives its first reply and changes nothing, whatever happened to the run since",
    async (world) => {
      const hand = await claimed(world, { TotalTokens: 100 });
      const { store, uid, other } = world;
      for (const make of [
        () => hand.begin({ reserved: { TotalTokens: 10 } }),
        () => hand.grow({ TotalTokens: 5 }),
        () => hand.commit({ TotalTokens: 12 }, { violation: "a\nreason" }),
        () => hand.finish(),
      ]) {
        const command = make();
        const first = await hand.run(store, command);
        expect(first).toMatchObject({ code: "OK" });
        if (command.op === "begin") await store.execute(uid, { op: "control", to: "Suspended", message: "later" });
        const before = await store.view(uid, [{ node: "a" }]);
        expect(await other.execute(uid, structuredClone(command)), command.op).toEqual(first);
        expect(await store.view(uid, [{ node: "a" }])).toEqual(before);
      }
    },
  ],
  [
    "the same sequence with other content, and any older one, is INVALID",
    async (world) => {
      const hand = await claimed(world);
      const { store, uid } = world;
      const first = hand.begin();
      await hand.run(store, first);
      expect(await store.execute(uid, { ...first, digest: "other" })).toMatchObject({ code: "INVALID" });
      await hand.run(store, hand.commit());
      expect(await store.execute(uid, first)).toMatchObject({ code: "INVALID" });
    },
  ],
  [
    "J1: a sequence or an entry that does not follow is a GAP, and nothing is applied",
    async (world) => {
      const hand = await claimed(world);
      const { store, uid } = world;
      await hand.run(store, hand.begin());
      const gap = { code: "GAP", seq: 1, length: 1, head: hand.head };
      expect(await store.execute(uid, { ...hand.commit(), seq: 3 })).toEqual(gap);
      expect(await store.execute(uid, { ...hand.commit(), entries: [entryAfter(2, hand.head, "skips one")] })).toEqual(
        gap,
      );
      expect(await store.execute(uid, { ...hand.commit(), entries: [entryAfter(0, hand.head, "again")] })).toEqual(gap);
      expect(await store.execute(uid, { ...hand.commit(), entries: [entryAfter(1, "00", "another chain")] })).toEqual(
        gap,
      );
      const two = entryAfter(1, hand.head, "one");
      expect(
        await store.execute(uid, { ...hand.commit(), entries: [two, entryAfter(2, "00", "broken inside")] }),
      ).toEqual(gap);
      expect(await store.entries(uid, { node: "a" }, 0, 9)).toHaveLength(1);
    },
  ],
  [
    "WAIT is not remembered and consumes no sequence",
    async (world) => {
      const hand = await claimed(world, { TotalTokens: 100 });
      const { store, uid } = world;
      const sibling = new Hand(uid, { node: "b" });
      await sibling.claim(store);
      await sibling.run(store, sibling.begin({ reserved: { TotalTokens: 60 } }));
      const command = hand.begin({ reserved: { TotalTokens: 50 } });
      const refusal = { scope: "Execution", unit: "TotalTokens", limit: 100, spent: 0, reserved: 60, need: 50 };
      expect(await store.execute(uid, command)).toEqual({ code: "WAIT", refusal });
      expect(await store.execute(uid, command)).toEqual({ code: "WAIT", refusal });
      expect((await store.view(uid, [{ node: "a" }])).items[0]).toMatchObject({ seq: 0, length: 0 });
      await sibling.run(store, sibling.commit({ TotalTokens: 20 }));
      expect(await store.execute(uid, command)).toMatchObject({ code: "OK", length: 1 });
    },
  ],
  [
    "STOPPED admits no new call, but what is in flight may still be bought, committed and finished",
    async (world) => {
      const hand = await claimed(world);
      const { store, uid } = world;
      await hand.run(store, hand.begin({ reserved: { TotalTokens: 1 } }));
      await store.execute(uid, { op: "control", to: "Cancelled", message: "by hand" });
      expect(await store.execute(uid, hand.begin())).toEqual({
        code: "STOPPED",
        control: { state: "Cancelled", revision: 2, message: "by hand" },
      });
      expect(await hand.run(store, hand.grow({ TotalTokens: 1 }))).toMatchObject({ code: "OK" });
      expect(await hand.run(store, hand.commit({ TotalTokens: 2 }))).toMatchObject({
        code: "OK",
        control: { state: "Cancelled" },
      });
      expect(await hand.run(store, hand.finish())).toMatchObject({ code: "OK" });
    },
  ],
  [
    "a finally node is admitted under Finalizing only, every other under Running only",
    async (world) => {
      const hand = await claimed(world);
      const { store, uid } = world;
      expect(await store.execute(uid, hand.begin({}, { phase: "Finally" }))).toMatchObject({ code: "STOPPED" });
      await store.execute(uid, { op: "control", to: "Finalizing", message: "" });
      expect(await store.execute(uid, hand.begin())).toMatchObject({ code: "STOPPED" });
      expect(await store.execute(uid, hand.begin({}, { phase: "Finally" }))).toMatchObject({ code: "OK" });
    },
  ],
  [
    "the first violation moves the control state and its reason stays",
    async (world) => {
      const hand = await claimed(world);
      const { store } = world;
      await hand.run(store, hand.begin());
      expect(await hand.run(store, hand.commit({}, { violation: "first" }))).toMatchObject({
        control: { state: "Violated", revision: 2, message: "first" },
      });
      expect(await hand.run(store, hand.commit({}, { violation: "second" }))).toMatchObject({
        control: { state: "Violated", revision: 2, message: "first" },
      });
      expect(await hand.run(store, hand.finish("{}", "third"))).toMatchObject({ control: { message: "first" } });
    },
  ],
  [
    "a finished item takes no further command",
    async (world) => {
      const hand = await claimed(world);
      const { store, uid } = world;
      await hand.run(store, hand.finish("text\nwith lines"));
      for (const command of [hand.begin(), hand.grow({}), hand.commit(), hand.finish()]) {
        expect(await store.execute(uid, command), command.op).toEqual({
          code: "FINISHED",
          finished: "text\nwith lines",
        });
      }
    },
  ],
  [
    "heal appends a lost tail behind a gap in the sequence, repeats as any command, and never goes back",
    async (world) => {
      const hand = await claimed(world, { TotalTokens: 50 });
      const { store, uid } = world;
      await hand.run(store, hand.begin({ reserved: { TotalTokens: 5 } }));
      const position = { length: hand.length, head: hand.head };
      const one = entryAfter(1, hand.head, "one");
      const two = entryAfter(2, one.hash, "two");
      hand.seq = 7;
      const command = hand.heal([one, two], position, { bodies: [body("healed")], steps: 4 });
      const first = await hand.run(store, command);
      expect(first).toMatchObject({ code: "OK", length: 3, head: two.hash, left: -1 });
      expect(await store.execute(uid, command)).toEqual(first);
      expect((await store.bodies(uid, [body("healed").digest])).size).toBe(1);
      await hand.run(store, hand.commit({ TotalTokens: 5 }));
      const before = await store.view(uid, [{ node: "a" }]);
      expect(await store.execute(uid, command)).toMatchObject({ code: "INVALID" });
      expect(await store.execute(uid, hand.heal([], position))).toMatchObject({ code: "GAP", length: 4 });
      expect(await store.execute(uid, hand.heal([], { length: 4, head: "00" }))).toMatchObject({
        code: "GAP",
        length: 4,
      });
      expect(await store.view(uid, [{ node: "a" }])).toEqual(before);
      expect(before.items[0]).toMatchObject({ steps: 5, seq: 9 });
    },
  ],
  [
    "B1: heal is refused when others have taken the room in the meantime",
    async (world) => {
      const hand = await claimed(world, { TotalTokens: 100 });
      const { store, uid } = world;
      const sibling = new Hand(uid, { node: "b" });
      await sibling.claim(store);
      await sibling.run(store, sibling.begin({ reserved: { TotalTokens: 80 } }));
      hand.seq = 4;
      const ledger = { ...hand.ledger, settled: { ...hand.ledger.settled, TotalTokens: 60 } };
      expect(await store.execute(uid, hand.heal([], { length: 0, head: "" }, { ledger }))).toMatchObject({
        code: "BUDGET",
        refusal: { spent: 0, reserved: 80, need: 60 },
      });
    },
  ],
];
