/** A replay whose worker dies at any command of its cursor's node, or of its one worker, ends as one that nobody disturbed. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ManifestSpec } from "../../src/api/execution.ts";
import type { ReplaySpec } from "../../src/api/replay.ts";
import { strictNode } from "../../src/core/replay/strict.ts";
import type { EndedRun } from "../support/replay-world.ts";
import { type Crash, crashingStore } from "./crashing-store.ts";
import { littleShape } from "./replay-little.ts";
import { condition, expectVerified, placesOf, type Recorded, recordShape } from "./replay-recorded.ts";

let recorded: Recorded;
beforeAll(async () => {
  recorded = await recordShape(littleShape);
});
afterAll(() => recorded.close());

interface Asked {
  readonly node: string;
  readonly replay: Partial<ReplaySpec>;
  readonly patch?: ManifestSpec;
}

/** How many commands the first attempt of the node sent, and what became of the run. */
async function replayed({ node, replay, patch }: Asked, crash?: Crash) {
  const { world } = recorded;
  let sent = () => 0;
  world.storeFor = (store, order, kill) => {
    if (order.node !== node || order.attempt > 1) return store;
    const made = crashingStore(store, crash ?? { at: -1, when: "Before" }, kill);
    sent = made.commands;
    return made.store;
  };
  const run = await world.replay("parent", replay, patch);
  world.storeFor = (store) => store;
  return { run, commands: sent() };
}

/** Where calls were made, but for a call that a crash left in doubt and that was made again: once each. */
const callsOf = (run: EndedRun) => [...new Set(run.live.map(({ place }) => place))].sort();

describe.each<Asked>([
  { node: "gather", replay: { fromStep: 2 } },
  { node: "gather", replay: { fromStep: 7 }, patch: { agents: [{ name: "armed", model: "m", systemPrompt: "No." }] } },
])("a fork %j", (asked) => {
  it("goes on from what it had recorded, reuses the same steps and makes no other call", async () => {
    const whole = await replayed(asked);
    expect(whole.commands).toBeGreaterThan(3);
    for (let at = 0; at < whole.commands; at += 1) {
      for (const when of ["Before", "After"] as const) {
        const place = `${when} command ${at}`;
        const { run } = await replayed(asked, { at, when });
        expect(condition(run, "Succeeded"), place).toMatchObject({ status: "True" });
        // Its end was recorded, whatever it was told of it.
        const isOver = when === "After" && at === whole.commands - 1;
        expect(run.status.nodes.find(({ name }) => name === asked.node)?.attempt, place).toBe(isOver ? 1 : 2);
        expect(placesOf(run), place).toEqual(placesOf(whole.run));
        expect(callsOf(run), place).toEqual(callsOf(whole.run));
        const { reusedSteps, liveSteps, patchedSteps } = whole.run.status.replay ?? {};
        expect(run.status.replay, place).toMatchObject({ reusedSteps, liveSteps, patchedSteps });
        if (at % 4 === 0) await expectVerified(recorded.world, run);
      }
    }
  });
});

describe("a strict replay", () => {
  it("is verified all the same", async () => {
    const asked = { node: strictNode, replay: {} };
    const { commands } = await replayed(asked);
    expect(commands).toBeGreaterThan(1);
    for (let at = 0; at < commands; at += 1) {
      for (const when of ["Before", "After"] as const) {
        const { run } = await replayed(asked, { at, when });
        expect(condition(run, "ReplayVerified"), `${when} command ${at}`).toMatchObject({ status: "True" });
        expect(run.status.traceHash).toBe(recorded.parent.status.traceHash);
        expect(run.live).toEqual([]);
      }
    }
  });
});
