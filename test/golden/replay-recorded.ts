/** A recorded shape with the world that it was recorded in, and what every replay of it is held to. */
import { expect } from "vitest";
import type { ReplaySpec } from "../../src/api/replay.ts";
import { canonicalLines, traceHash } from "../../src/core/trace/canonical.ts";
import { type EndedRun, placeOf, ReplayWorld } from "../support/replay-world.ts";
import { Outside } from "./replay-outside.ts";
import type { ReplayShape } from "./replay-shape.ts";

export interface Recorded {
  readonly world: ReplayWorld;
  readonly outside: Outside;
  readonly parent: EndedRun;
  readonly close: () => Promise<void>;
}

export async function recordShape(
  shape: ReplayShape,
  options?: ConstructorParameters<typeof ReplayWorld>[0],
): Promise<Recorded> {
  const world = new ReplayWorld(options);
  const outside = await Outside.start(shape.script);
  shape.disturb?.(world, outside, "parent");
  const parent = await world.run("parent", shape.spec(outside.urls), { policy: shape.policy });
  return {
    world,
    outside,
    parent,
    close: async () => {
      await world.close();
      await outside.close();
    },
  };
}

export function condition({ status }: EndedRun, type: string) {
  return status.conditions.find((each) => each.type === type);
}

/** How a run ended, without its times. */
export function endOf(run: EndedRun) {
  const { reason, message } = condition(run, "Succeeded") ?? {};
  return { phase: run.status.phase, reason, message, result: run.status.result?.digest };
}

export function placesOf(run: EndedRun): string[] {
  return run.steps.map(({ journal, entry }) => placeOf(journal, entry.path));
}

/** What is true of every run that has ended, whatever it replays. */
export function expectWhole(run: EndedRun): void {
  expect(run.status.traceHash).toBe(traceHash(canonicalLines(run.steps)));
  expect(run.status.steps).toBe(run.steps.length);
  const { replay } = run.status;
  if (replay !== undefined) expect((replay.reusedSteps ?? 0) + (replay.liveSteps ?? 0)).toBe(run.steps.length);
}

/** The same trace and the same end, without a call or a token. */
export async function expectVerified(world: ReplayWorld, parent: EndedRun): Promise<EndedRun> {
  const run = await world.replay(parent.name);
  expect(condition(run, "ReplayVerified")).toMatchObject({ status: "True", reason: "Verified" });
  expect(run.status.traceHash).toBe(parent.status.traceHash);
  expect(run.status.steps).toBe(parent.status.steps);
  expect(endOf(run)).toMatchObject({ ...endOf(parent), result: run.status.result?.digest });
  expect(run.status.usage).toMatchObject({ totalTokens: 0, lostTokens: 0, modelCalls: 0, toolCalls: 0 });
  expect(run.live).toEqual([]);
  return run;
}

/** Of a fork: tokens and calls of its own journals alone. */
export function expectChargedForLiveCallsOnly(run: EndedRun): void {
  const own = run.steps.filter(({ journal, entry }) => journal.uid === run.uid && entry.from === undefined);
  const tokens = own.reduce((sum, { entry }) => sum + (entry.usage?.counted.total ?? 0), 0);
  const overshoot = own.reduce((sum, { entry }) => sum + (entry.usage?.overshoot ?? 0), 0);
  const count = (kind: string) => run.live.filter((call) => call.kind === kind).length;
  expect(run.status.usage).toMatchObject({
    totalTokens: tokens,
    overshootTokens: overshoot,
    lostTokens: 0,
    modelCalls: count("model"),
    toolCalls: count("tool"),
  });
  expect(run.status.replay?.liveSteps).toBe(own.length);
}

export type Cursor = Pick<ReplaySpec, "fromStep" | "from" | "toolOutputs">;
