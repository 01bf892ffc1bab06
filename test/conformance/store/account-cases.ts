/** Budgets: admission, settlement, lost tokens, audits. */
import { expect } from "vitest";
import { amounts, Hand, openCommand } from "../../support/journal.ts";
import type { Limits, NodeKey } from "../../../src/core/protocol/types.ts";
import type { Case, CaseWorld } from "./suite.ts";

async function claimed(
  { store, uid }: CaseWorld,
  limits: Limits,
  nodeLimits: Limits = {},
  audits: { run?: Limits; node?: Limits } = {},
  key: NodeKey = { node: "a" },
): Promise<Hand> {
  await store.execute(uid, openCommand(limits, audits.run));
  const hand = new Hand(uid, key, { limits: nodeLimits, auditLimits: audits.node ?? {} });
  await hand.claim(store);
  return hand;
}

async function account({ store, uid }: CaseWorld) {
  return (await store.view(uid, [])).execution?.account;
}

export const accountCases: readonly Case[] = [
  [
    "B1: what does not fit beside what is spent is BUDGET, and Steps is LIMIT",
    async (world) => {
      const hand = await claimed(world, { TotalTokens: 100, Steps: 1, ModelCalls: 2 });
      const { store, uid } = world;
      expect(await store.execute(uid, hand.begin({ reserved: { TotalTokens: 101 } }))).toEqual({
        code: "BUDGET",
        refusal: { scope: "Execution", unit: "TotalTokens", limit: 100, spent: 0, reserved: 0, need: 101 },
      });
      expect(await store.execute(uid, hand.begin({ settled: { ModelCalls: 3 } }))).toMatchObject({
        code: "BUDGET",
        refusal: { unit: "ModelCalls" },
      });
      expect(await store.execute(uid, hand.begin({ reserved: { Steps: 2 } }))).toMatchObject({
        code: "LIMIT",
        refusal: { unit: "Steps", limit: 1, need: 2 },
      });
      expect(
        await hand.run(store, hand.begin({ settled: { ModelCalls: 2 }, reserved: { TotalTokens: 100, Steps: 1 } })),
      ).toMatchObject({ code: "OK", left: 0 });
    },
  ],
  [
    "Steps that are only held are LIMIT too: a tool must not wait for its own inner call",
    async (world) => {
      const hand = await claimed(world, { Steps: 1 });
      await hand.run(world.store, hand.begin({ reserved: { Steps: 1 } }));
      expect(await world.store.execute(world.uid, hand.begin({ settled: { Steps: 1 } }))).toMatchObject({
        code: "LIMIT",
        refusal: { spent: 0, reserved: 1 },
      });
    },
  ],
  [
    "grow never waits: what siblings hold refuses it at once",
    async (world) => {
      const hand = await claimed(world, { OutputTokens: 100 });
      const { store, uid } = world;
      const sibling = new Hand(uid, { node: "b" });
      await sibling.claim(store);
      await sibling.run(store, sibling.begin({ reserved: { OutputTokens: 60 } }));
      await hand.run(store, hand.begin({ reserved: { OutputTokens: 40 } }));
      expect(await store.execute(uid, hand.grow({ OutputTokens: 1 }))).toMatchObject({
        code: "BUDGET",
        refusal: { reserved: 100, need: 1 },
      });
    },
  ],
  [
    "the wider scope is reported first, a final refusal before one that may wait",
    async (world) => {
      const hand = await claimed(world, { TotalTokens: 100 }, { TotalTokens: 50 });
      const { store, uid } = world;
      expect(await store.execute(uid, hand.begin({ reserved: { TotalTokens: 200 } }))).toMatchObject({
        code: "BUDGET",
        refusal: { scope: "Execution" },
      });
      expect(await store.execute(uid, hand.begin({ reserved: { TotalTokens: 60 } }))).toMatchObject({
        code: "BUDGET",
        refusal: { scope: "Node", limit: 50 },
      });
      const sibling = new Hand(uid, { node: "b" });
      await sibling.claim(store);
      await sibling.run(store, sibling.begin({ reserved: { TotalTokens: 90 } }));
      expect(await store.execute(uid, hand.begin({ reserved: { TotalTokens: 60 } }))).toMatchObject({
        code: "BUDGET",
        refusal: { scope: "Node" },
      });
      expect(await store.execute(uid, hand.begin({ reserved: { TotalTokens: 20 } }))).toMatchObject({
        code: "WAIT",
        refusal: { scope: "Execution" },
      });
    },
  ],
  [
    "a node's budget counts over all its items",
    async (world) => {
      const first = await claimed(world, {}, { TotalTokens: 10 }, {}, { node: "rate", item: 0 });
      const { store, uid } = world;
      await first.run(store, first.begin({ reserved: { TotalTokens: 6 } }));
      await first.run(store, first.commit({ TotalTokens: 6 }));
      const second = new Hand(uid, { node: "rate", item: 1 });
      await second.claim(store);
      expect(await store.execute(uid, second.begin({ reserved: { TotalTokens: 5 } }))).toMatchObject({
        code: "BUDGET",
        refusal: { scope: "Node", spent: 6 },
      });
      expect(await store.nodeAccount(uid, "rate")).toMatchObject({
        settled: { TotalTokens: 6 },
        limits: { TotalTokens: 10 },
      });
    },
  ],
  [
    "left is what could still be bought, over both scopes and both token budgets",
    async (world) => {
      const hand = await claimed(world, { TotalTokens: 100 }, { OutputTokens: 30 });
      const { store } = world;
      expect(await hand.run(store, hand.begin({ reserved: { TotalTokens: 10, OutputTokens: 4 } }))).toMatchObject({
        left: 26,
      });
      expect(await hand.run(store, hand.grow({ TotalTokens: 20 }))).toMatchObject({ left: 26 });
      expect(await hand.run(store, hand.grow({ TotalTokens: 60 }))).toMatchObject({ left: 10 });
      expect(await hand.run(store, hand.commit())).toMatchObject({ left: -1 });
    },
  ],
  [
    "B1, B2: a ledger that counts more than it held, takes back, frees early or is no whole number is INVALID",
    async (world) => {
      const hand = await claimed(world, { TotalTokens: 100 });
      const { store, uid } = world;
      await hand.run(store, hand.begin({ reserved: { TotalTokens: 10 } }));
      const before = await store.view(uid, [{ node: "a" }]);
      const spoilt = [
        hand.commit({ TotalTokens: 11 }),
        hand.commit({ TotalTokens: 5 }, { free: amounts({ TotalTokens: 4 }) }),
        hand.commit({}, { free: amounts({ TotalTokens: 11 }) }),
        hand.commit({}, { overshoot: { TotalTokens: -1 } }),
        hand.commit({ TotalTokens: -1 }),
        hand.begin({ settled: { TotalTokens: 5 }, reserved: { TotalTokens: -5 } }),
        hand.grow({ TotalTokens: -1 }),
        hand.grow({ TotalTokens: 0.5 }),
        hand.grow({ TotalTokens: Number.NaN }),
        hand.grow({ ToolCalls: 2 ** 60 }),
      ];
      for (const command of spoilt)
        expect(await store.execute(uid, command), JSON.stringify(command.ledger)).toMatchObject({ code: "INVALID" });
      expect(await store.view(uid, [{ node: "a" }])).toEqual(before);
      expect(await hand.run(store, hand.commit({ TotalTokens: 10 }))).toMatchObject({ code: "OK" });
    },
  ],
  [
    "overshoot is no part of B1 but counts for later admissions",
    async (world) => {
      const hand = await claimed(world, { TotalTokens: 100 });
      const { store, uid } = world;
      await hand.run(store, hand.begin({ reserved: { TotalTokens: 60 } }));
      await hand.run(store, hand.commit({ TotalTokens: 60 }, { overshoot: { TotalTokens: 70 } }));
      expect(await account(world)).toMatchObject({
        settled: { TotalTokens: 60 },
        overshoot: { TotalTokens: 70 },
        reserved: { TotalTokens: 0 },
      });
      expect(await store.execute(uid, hand.begin({ reserved: { TotalTokens: 1 } }))).toMatchObject({
        code: "BUDGET",
        refusal: { spent: 130 },
      });
    },
  ],
  [
    "what a dead attempt held is lost on both accounts, but for its steps: by claim, by release, by finish",
    async (world) => {
      const hand = await claimed(world, { TotalTokens: 100 });
      const { store, uid } = world;
      await hand.run(store, hand.begin({ settled: { ModelCalls: 1 }, reserved: { TotalTokens: 10, Steps: 1 } }));
      const second = new Hand(uid, { node: "a" }, { attempt: 2 });
      await second.claim(store);
      const lost = {
        settled: { TotalTokens: 0, ModelCalls: 1 },
        lost: { TotalTokens: 10, Steps: 0, ModelCalls: 0 },
        reserved: { TotalTokens: 0, Steps: 0 },
      };
      expect(await account(world)).toMatchObject(lost);
      expect(await store.nodeAccount(uid, "a")).toMatchObject(lost);
      await second.run(store, second.begin({ reserved: { TotalTokens: 7 } }));
      await store.execute(uid, { op: "release", node: "a", attempt: 2 });
      expect(await account(world)).toMatchObject({ lost: { TotalTokens: 17 }, reserved: { TotalTokens: 0 } });
      const third = new Hand(uid, { node: "a" }, { attempt: 3 });
      await third.claim(store);
      await third.run(store, third.begin({ reserved: { TotalTokens: 5, Steps: 1 } }));
      await third.run(store, third.finish());
      expect(await account(world)).toMatchObject({
        lost: { TotalTokens: 22, Steps: 0 },
        reserved: { TotalTokens: 0, Steps: 0 },
      });
      await store.execute(uid, { op: "release", node: "a", attempt: 3 });
      expect(await account(world)).toMatchObject({ lost: { TotalTokens: 22 } });
      const [item] = (await store.view(uid, [{ node: "a" }])).items;
      expect(item?.finished).toBeDefined();
    },
  ],
  [
    "an audit limit is reported by the command that passes it, once, and refuses nothing",
    async (world) => {
      const hand = await claimed(world, {}, {}, { run: { TotalTokens: 10, ModelCalls: 1 }, node: { TotalTokens: 15 } });
      const { store } = world;
      expect(
        await hand.run(store, hand.begin({ settled: { ModelCalls: 2 }, reserved: { TotalTokens: 30 } })),
      ).toMatchObject({ crossed: ["Execution/ModelCalls"] });
      expect(
        await hand.run(store, hand.commit({ TotalTokens: 10 }, { free: amounts({ TotalTokens: 10 }) })),
      ).toMatchObject({ crossed: [] });
      expect(
        await hand.run(store, hand.commit({ TotalTokens: 10 }, { free: amounts({ TotalTokens: 10 }) })),
      ).toMatchObject({ crossed: ["Execution/TotalTokens", "Node/TotalTokens"] });
      expect(await hand.run(store, hand.commit({ TotalTokens: 10 }))).toMatchObject({ crossed: [] });
    },
  ],
  [
    "an audit limit that only lost tokens pass is reported by claim, release or finish",
    async (world) => {
      const { store, uid } = world;
      await store.execute(uid, openCommand({}, { TotalTokens: 10, InputTokens: 10, OutputTokens: 10 }));
      const hands = [1, 2, 3].map((attempt) => new Hand(uid, { node: "a" }, { attempt }));
      const [first, second, third] = hands as [Hand, Hand, Hand];
      await first.claim(store);
      await first.run(store, first.begin({ reserved: { TotalTokens: 11 } }));
      expect(await second.claim(store)).toMatchObject({ code: "OK", crossed: ["Execution/TotalTokens"] });
      await second.run(store, second.begin({ reserved: { InputTokens: 11 } }));
      expect(await store.execute(uid, { op: "release", node: "a", attempt: 2 })).toMatchObject({
        crossed: ["Execution/InputTokens"],
      });
      await third.claim(store);
      await third.run(store, third.begin({ reserved: { OutputTokens: 11 } }));
      expect(await third.run(store, third.finish())).toMatchObject({ crossed: ["Execution/OutputTokens"] });
    },
  ],
  [
    "numbers stay exact up to 2^53",
    async (world) => {
      const huge = Number.MAX_SAFE_INTEGER;
      const hand = await claimed(world, { TotalTokens: huge });
      const { store } = world;
      expect(await hand.run(store, hand.begin({ reserved: { TotalTokens: huge - 1 } }))).toMatchObject({ left: 1 });
      await hand.run(store, hand.commit({ TotalTokens: huge - 1 }));
      expect(await account(world)).toMatchObject({ settled: { TotalTokens: huge - 1 }, limits: { TotalTokens: huge } });
      expect(await hand.run(store, hand.begin({ reserved: { TotalTokens: 2 } }))).toMatchObject({
        code: "BUDGET",
        refusal: { limit: huge, spent: huge - 1 },
      });
    },
  ],
];
