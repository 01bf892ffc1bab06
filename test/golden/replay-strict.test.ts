/** A strict replay makes no call and comes to the recorded end, whatever that was. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { expectVerified, expectWhole, endOf, type Recorded, recordShape } from "./replay-recorded.ts";
import { replayShapes } from "./replay-shapes.ts";

describe.each(replayShapes)("$name", (shape) => {
  let recorded: Recorded;
  beforeAll(async () => {
    recorded = await recordShape(shape);
  });
  afterAll(() => recorded.close());

  it("ends as it is meant to, with all of its steps counted", () => {
    const { parent } = recorded;
    const { phase, reason } = endOf(parent);
    expect([phase, reason]).toEqual(shape.end);
    expectWhole(parent);
  });

  const times = shape === replayShapes[0] ? 100 : 5;
  it(`is verified ${times} times without a connection or a token, with one trace and the same end; so is a replay of a replay`, async () => {
    const { world, outside, parent } = recorded;
    await outside.stop();
    let last = parent;
    for (let count = 0; count < times; count += 1) last = await expectVerified(world, count % 3 === 2 ? last : parent);
    expect(outside.connections).toBe(0);
    expect(world.failures).toEqual([]);
  });
});
