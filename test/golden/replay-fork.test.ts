/** A fork at step n makes the calls at and after n that depend on it, and no other; what comes before is neither made nor charged. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ExecutionSpec } from "../../src/api/execution.ts";
import { type EndedRun, placeOf } from "../support/replay-world.ts";
import {
  type Cursor,
  endOf,
  expectChargedForLiveCallsOnly,
  expectVerified,
  expectWhole,
  placesOf,
  type Recorded,
  recordShape,
} from "./replay-recorded.ts";
import { replayShapes } from "./replay-shapes.ts";

describe.each(replayShapes)("$name", (shape) => {
  let recorded: Recorded;
  /** The same run with nothing in its way. */
  let whole: EndedRun;
  beforeAll(async () => {
    recorded = await recordShape(shape);
    const { world, parent } = recorded;
    const { wholePolicy } = shape;
    whole = wholePolicy === undefined ? parent : await world.run("whole", parent.record.spec, { policy: wholePolicy });
  });
  afterAll(() => recorded.close());

  it("has a whole run to be compared with", () => {
    expect([endOf(whole).phase, recorded.outside.connections]).toEqual([
      shape.wholePolicy === undefined ? shape.end[0] : "Succeeded",
      0,
    ]);
  });

  it.each(["Recorded", "Live"] as const)(
    "forked at every step with toolOutputs %s asks again exactly what depends on that step, and its fork replays strictly",
    async (toolOutputs) => {
      const { world, outside, parent } = recorded;
      for (const n of parent.steps.keys()) {
        const cursor = n % 2 === 0 ? { fromStep: n + 1 } : placedCursor(parent, n);
        const place = `fork at step ${n + 1} (${placesOf(parent)[n]}), ${JSON.stringify(cursor)}`;
        const before = outside.count();
        const child = await world.replay(
          parent.name,
          { ...cursor, toolOutputs },
          {},
          { policy: shape.wholePolicy ?? shape.policy },
        );
        const { mendedAt } = shape;
        const goal = mendedAt === undefined || mendedAt === parent.steps[n]?.journal.node ? whole : parent;
        const expected = expectedCalls(parent, goal, n, toolOutputs);
        const live = (kind: string) => child.live.filter((call) => call.kind === kind).map((call) => call.place);
        expect(live("model").sort(), place).toEqual(expected.model);
        expect(live("tool").sort(), place).toEqual(expected.tool);
        expect(outside.count().model - before.model, place).toBe(expected.model.length);
        expect(madeSteps(child, toolOutputs), place).toEqual(madeSteps(goal, toolOutputs));
        expectWhole(child);
        expectChargedForLiveCallsOnly(child);
        expect(child.status.replay, place).toMatchObject({ fromStep: n + 1, patchedSteps: 0, parentUID: parent.uid });
        expect(comparable(child, toolOutputs), place).toEqual(comparable(goal, toolOutputs));
        await expectVerified(world, child);
      }
      expect(world.failures).toEqual([]);
    },
  );
});

/** What tools say when they are called again is another text. How a worker was lost is of the run, and not of its record. */
function comparable(run: EndedRun, toolOutputs: "Recorded" | "Live") {
  const { phase, reason, message = "", result } = endOf(run);
  const said = message.replace(/its worker was lost \(.*?\): /, "").slice(0, 200);
  return toolOutputs === "Live" ? { phase, reason } : { phase, reason, said, result };
}

/** A tool that is called again is not in doubt, so nobody is asked about it. */
function madeSteps({ steps }: EndedRun, toolOutputs: "Recorded" | "Live"): string[] {
  return steps
    .filter(({ entry }) => toolOutputs === "Recorded" || entry.kind !== "approval" || entry.path.length === 2)
    .map(({ journal, entry }) => placeOf(journal, entry.path));
}

/** `from` for the same step. */
function placedCursor({ steps }: EndedRun, n: number): Cursor {
  const journal = steps[n]?.journal;
  if (journal === undefined) throw new Error(`there is no step ${n + 1}`);
  const { node, item } = journal;
  const first = steps.findIndex(({ journal }) => journal.node === node && journal.item === item);
  return { from: { node, ...(item === undefined ? {} : { item }), step: n - first + 1 } };
}

/** From the graph and the steps alone. `whole`: what the fork comes to do in all. */
function expectedCalls(parent: EndedRun, whole: EndedRun, n: number, toolOutputs: "Recorded" | "Live") {
  const cursor = parent.steps[n];
  if (cursor === undefined) throw new Error(`there is no step ${n + 1}`);
  const after = nodesAfter(parent.record.spec, cursor.journal.node);
  const isSameItem = (one: EndedRun["steps"][number], other: EndedRun["steps"][number]) =>
    one.journal.node === other.journal.node && one.journal.item === other.journal.item;
  const reused = new Set<string>();
  const answered = new Set<string>();
  for (const [place, step] of parent.steps.entries()) {
    const { entry, journal } = step;
    const name = placeOf(journal, entry.path);
    // Of a node that did not come to its end, what stands before its first cut.
    const isCut = parent.steps
      .slice(0, place + 1)
      .some((other) => isSameItem(other, step) && other.entry.outcome === "Cut");
    const isDependent = after.has(journal.node) || (isSameItem(cursor, step) && place >= n);
    if (!isDependent && !isCut) reused.add(name);
    if (entry.kind === "tool" && entry.outcome === "Ok") answered.add(name);
  }
  const left = (kind: string) =>
    whole.steps
      .filter(({ entry }) => entry.kind === kind)
      .map(({ journal, entry }) => placeOf(journal, entry.path))
      .filter((place) => !reused.has(place))
      .sort();
  return {
    model: left("model"),
    tool: left("tool").filter((place) => toolOutputs === "Live" || !answered.has(place)),
  };
}

/** Nodes that wait for `node`, in as many steps as it takes: by dependsOn, by naming its output, and finally by all. */
function nodesAfter(spec: ExecutionSpec, node: string): ReadonlySet<string> {
  const last = spec.finally ?? [];
  const waitsFor = (each: ExecutionSpec["nodes"][number], name: string) =>
    each.dependsOn?.includes(name) === true || JSON.stringify(each).includes(`nodes.${name}.output`);
  const after = new Set<string>();
  for (let before = -1; before < after.size; ) {
    before = after.size;
    for (const each of [...spec.nodes, ...last])
      if ([node, ...after].some((name) => waitsFor(each, name))) after.add(each.name);
    if (spec.nodes.some(({ name }) => name === node)) for (const { name } of last) after.add(name);
  }
  return after;
}
