/** Opening, claiming, fencing, releasing, controlling. */
import { expect } from "vitest";
import type { ControlState } from "../../../src/core/protocol/types.ts";
import { Hand, openCommand, snapshot } from "../../support/journal.ts";
import type { Case, CaseWorld } from "./suite.ts";

async function claimed({ store, uid }: CaseWorld, attempt = 1): Promise<Hand> {
  await store.execute(uid, openCommand());
  const hand = new Hand(uid, { node: "a" }, { attempt });
  expect(await hand.claim(store)).toMatchObject({ code: "OK" });
  return hand;
}

export const claimCases: readonly Case[] = [
  [
    "a run that was never opened is NOT_OPEN to every command",
    async ({ store, uid }) => {
      const hand = new Hand(uid, { node: "a" });
      const heartbeat = { op: "heartbeat", node: "a", attempt: 1, claimId: "x", live: "", leaseTtlMs: 1 } as const;
      const commands = [
        hand.claimCommand,
        hand.begin(),
        hand.grow({}),
        hand.commit(),
        hand.finish(),
        hand.heal([], { length: 0, head: "" }),
        heartbeat,
      ] as const;
      for (const command of [
        ...commands,
        { op: "release", node: "a", attempt: 1 } as const,
        { op: "control", to: "Cancelled", message: "" } as const,
      ]) {
        expect(await store.execute(uid, command), command.op).toEqual({ code: "NOT_OPEN" });
      }
      expect(await store.view(uid, [{ node: "a" }])).toEqual({ execution: undefined, items: [undefined] });
    },
  ],
  [
    "opening twice is one run, opening with another snapshot is INVALID",
    async ({ store, uid }) => {
      const control = { state: "Running", revision: 1, message: "" };
      const first = await store.execute(uid, openCommand({ TotalTokens: 5 }, { Steps: 2 }));
      expect(first).toEqual({ code: "OK", length: 0, head: "", control, crossed: [], left: -1 });
      expect(await store.execute(uid, openCommand({ TotalTokens: 5 }, { Steps: 2 }))).toEqual(first);
      expect(await store.execute(uid, { ...openCommand(), snapshot: "other" })).toMatchObject({ code: "INVALID" });
      const { execution } = await store.view(uid, []);
      expect(execution).toMatchObject({
        snapshot,
        control,
        account: { limits: { TotalTokens: 5 }, auditLimits: { Steps: 2 } },
      });
    },
  ],
  [
    "J2: a claim repeats, a copied pod with another claim id is CLAIMED, a lower attempt is FENCED",
    async (world) => {
      const hand = await claimed(world, 3);
      const { store, uid } = world;
      expect(await hand.claim(store)).toMatchObject({ code: "OK", length: 0 });
      expect(await store.execute(uid, { ...hand.claimCommand, claimId: "copy" })).toEqual({
        code: "CLAIMED",
        attempt: 3,
      });
      expect(await store.execute(uid, { ...hand.claimCommand, attempt: 2, claimId: "old" })).toEqual({
        code: "FENCED",
        attempt: 3,
      });
    },
  ],
  [
    "J2: after a takeover the zombie's every command is FENCED and changes nothing",
    async (world) => {
      const zombie = await claimed(world, 1);
      const { store, uid } = world;
      await zombie.run(store, zombie.begin({ reserved: { TotalTokens: 10 } }));
      const next = new Hand(uid, { node: "a" }, { attempt: 2 });
      expect(await next.claim(store)).toMatchObject({ code: "OK", length: 1, head: zombie.head });
      const before = await store.view(uid, [{ node: "a" }]);
      const position = { length: 1, head: zombie.head };
      for (const command of [
        zombie.begin(),
        zombie.grow({ TotalTokens: 1 }),
        zombie.commit(),
        zombie.finish(),
        zombie.heal([], position),
      ]) {
        expect(await store.execute(uid, command), command.op).toEqual({ code: "FENCED", attempt: 2 });
      }
      expect(
        await store.execute(uid, {
          op: "heartbeat",
          node: "a",
          attempt: 1,
          claimId: "claim-1",
          live: "",
          leaseTtlMs: 1,
        }),
      ).toEqual({ code: "FENCED", attempt: 2 });
      expect(await store.execute(uid, { op: "release", node: "a", attempt: 1 })).toEqual({
        code: "FENCED",
        attempt: 2,
      });
      expect(await store.view(uid, [{ node: "a" }])).toEqual(before);
    },
  ],
  [
    "a worker whose fence is above the store's is told to RECLAIM",
    async (world) => {
      await claimed(world, 1);
      const ahead = new Hand(world.uid, { node: "a" }, { attempt: 2 });
      expect(await world.store.execute(world.uid, ahead.begin())).toEqual({ code: "RECLAIM", attempt: 1 });
      const unknown = new Hand(world.uid, { node: "b" });
      expect(await world.store.execute(world.uid, unknown.commit())).toEqual({ code: "RECLAIM", attempt: 0 });
      expect(
        await world.store.execute(world.uid, {
          op: "heartbeat",
          node: "b",
          attempt: 1,
          claimId: "x",
          live: "",
          leaseTtlMs: 1,
        }),
      ).toEqual({ code: "RECLAIM", attempt: 0 });
    },
  ],
  [
    "a released attempt is nobody's: its worker is FENCED, its claim is CLAIMED, an empty claim id is INVALID",
    async (world) => {
      const hand = await claimed(world);
      const { store, uid } = world;
      const released = await store.execute(uid, { op: "release", node: "a", attempt: 1 });
      expect(released).toMatchObject({ code: "OK" });
      expect(await store.execute(uid, { op: "release", node: "a", attempt: 1 })).toEqual(released);
      expect(await store.execute(uid, hand.begin())).toEqual({ code: "FENCED", attempt: 1 });
      expect(await hand.claim(store)).toEqual({ code: "CLAIMED", attempt: 1 });
      expect(await store.execute(uid, { ...hand.claimCommand, claimId: "" })).toMatchObject({ code: "INVALID" });
      const nobody = new Hand(uid, { node: "a" }, { claimId: "" });
      expect(await store.execute(uid, nobody.begin())).toEqual({ code: "FENCED", attempt: 1 });
      const [item] = (await store.view(uid, [{ node: "a" }])).items;
      expect(item).toMatchObject({ claimId: "", leaseUntilMs: 0 });
    },
  ],
  [
    "releasing an attempt that never claimed fences it",
    async ({ store, uid }) => {
      await store.execute(uid, openCommand());
      expect(await store.execute(uid, { op: "release", node: "a", attempt: 2 })).toMatchObject({
        code: "OK",
        length: 0,
        head: "",
      });
      expect(await new Hand(uid, { node: "a" }, { attempt: 2 }).claim(store)).toEqual({ code: "CLAIMED", attempt: 2 });
      expect(await store.nodeAccount(uid, "a")).toBeUndefined();
      expect(await new Hand(uid, { node: "a" }, { attempt: 3 }).claim(store)).toMatchObject({ code: "OK" });
    },
  ],
  [
    "a claim that knows more than the store is ROLLED_BACK, also when only the hash differs",
    async (world) => {
      const hand = await claimed(world);
      const { store, uid } = world;
      await hand.run(store, hand.begin());
      const claim = { ...hand.claimCommand, attempt: 2, claimId: "n" };
      expect(await store.execute(uid, { ...claim, known: { length: 2, head: "ff" } })).toEqual({
        code: "ROLLED_BACK",
        length: 1,
        head: hand.head,
      });
      expect(await store.execute(uid, { ...claim, known: { length: 1, head: "ff" } })).toEqual({
        code: "ROLLED_BACK",
        length: 1,
        head: hand.head,
      });
      expect(await store.execute(uid, { ...claim, known: { length: 1, head: hand.head } })).toMatchObject({
        code: "OK",
        length: 1,
      });
    },
  ],
  [
    "a finished try is FINISHED for later attempts, a new try takes over with its own step count",
    async (world) => {
      const hand = await claimed(world);
      const { store, uid } = world;
      await hand.run(store, hand.begin());
      await hand.run(store, hand.commit());
      expect(await hand.run(store, hand.finish("{}"))).toMatchObject({ code: "OK", length: 3 });
      const next = { ...hand.claimCommand, attempt: 2, claimId: "n" };
      expect(await store.execute(uid, next)).toEqual({ code: "FINISHED", finished: "{}" });
      expect(await store.execute(uid, { ...next, try: 2 })).toMatchObject({ code: "OK", length: 3 });
      const [item] = (await store.view(uid, [{ node: "a" }])).items;
      expect(item).toMatchObject({
        attempt: 2,
        try: 2,
        steps: 0,
        finished: undefined,
        length: 3,
        seq: 0,
        reply: undefined,
      });
    },
  ],
  [
    "a node's items are apart, and so is a node that is called like an item",
    async ({ store, uid }) => {
      await store.execute(uid, openCommand());
      const keys = [
        { node: "rate" },
        { node: "rate", item: 0 },
        { node: "rate", item: 1 },
        { node: "rate[0]" },
        { node: "0/rate" },
        { node: "__proto__" },
        { node: "*:}{\u0000\n'" },
        { node: "é" },
        { node: "e\u0301" },
      ];
      for (const [place, key] of keys.entries()) {
        const hand = new Hand(uid, key, { attempt: place + 1 });
        expect(await hand.claim(store)).toMatchObject({ code: "OK" });
        expect(await hand.run(store, hand.begin())).toMatchObject({ code: "OK", length: 1 });
      }
      const { items } = await store.view(uid, keys);
      expect(items.map((item) => item?.attempt)).toEqual(keys.map((_, place) => place + 1));
      for (const key of keys) expect(await store.entries(uid, key, 0, 9)).toHaveLength(1);
    },
  ],
  [
    "a text that is no uid is refused before anything is touched",
    async ({ store }) => {
      for (const uid of ["", "..", "a/b", "{a}", "*", "a".repeat(65), "a\u0000", "a b", "../../etc/passwd"]) {
        await expect(store.execute(uid, openCommand()), JSON.stringify(uid)).rejects.toMatchObject({
          code: "OAO_PROTOCOL",
        });
        await expect(store.view(uid, [])).rejects.toMatchObject({ code: "OAO_PROTOCOL" });
      }
    },
  ],
  [
    "the control table: each listed transition moves, repeats change nothing, all others are REFUSED",
    async ({ store, uid }) => {
      const states: readonly ControlState[] = ["Running", "Suspended", "Cancelled", "Violated", "Finalizing"];
      const listed: Record<ControlState, readonly ControlState[]> = {
        Running: ["Suspended", "Cancelled", "Violated", "Finalizing"],
        Suspended: ["Running", "Cancelled", "Violated", "Finalizing"],
        Cancelled: ["Finalizing"],
        Violated: ["Finalizing"],
        Finalizing: [],
      };
      for (const [row, from] of states.entries()) {
        for (const [column, to] of states.entries()) {
          const run = `${uid.slice(0, 30)}-${row}-${column}`;
          await store.execute(run, openCommand());
          if (from !== "Running") await store.execute(run, { op: "control", to: from, message: "first\nreason" });
          const revision = from === "Running" ? 1 : 2;
          const message = from === "Running" ? "" : "first\nreason";
          const reply = await store.execute(run, { op: "control", to, message: "second" });
          if (from === to) expect(reply).toMatchObject({ code: "OK", control: { state: to, revision, message } });
          else if (listed[from].includes(to))
            expect(reply).toMatchObject({
              code: "OK",
              control: { state: to, revision: revision + 1, message: "second" },
            });
          else expect(reply).toEqual({ code: "REFUSED", state: from });
        }
      }
    },
  ],
  [
    "a heartbeat renews the lease, shows live figures and learns the control state",
    async (world) => {
      await claimed(world);
      const { store, uid } = world;
      const view = async () => (await store.view(uid, [{ node: "a" }])).items[0];
      const before = (await view())?.leaseUntilMs ?? 0;
      await store.execute(uid, { op: "control", to: "Suspended", message: "by hand" });
      const reply = await store.execute(uid, {
        op: "heartbeat",
        node: "a",
        attempt: 1,
        claimId: "claim-1",
        live: `{"tokens":3}`,
        leaseTtlMs: 60_000,
      });
      expect(reply).toMatchObject({ code: "OK", control: { state: "Suspended", revision: 2, message: "by hand" } });
      const after = await view();
      expect(after?.live).toBe(`{"tokens":3}`);
      expect(after?.leaseUntilMs).toBeGreaterThan(before);
      expect(after?.seq).toBe(0);
    },
  ],
];
