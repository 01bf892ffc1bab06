import { expect, test } from "vitest";
import { baseSeed } from "../support/random.ts";
import { runRace } from "./race.ts";

const races = 300;

test("B1: eight nodes that race one budget never overspend it, use 90 % of it, and each gets its share", {
  timeout: 300_000,
}, async () => {
  const first = baseSeed();
  let waits = 0;
  for (let seed = first; seed < first + races; seed += 1) {
    const race = await runRace(seed).catch((error: unknown) => {
      throw new Error(`seed ${seed}`, { cause: error });
    });
    waits += race.waits;
    expect(race.counted, `seed ${seed}: counted of ${race.limit}`).toBeLessThanOrEqual(race.limit);
    expect(race.counted / race.limit, `seed ${seed}: ${JSON.stringify(race)}`).toBeGreaterThanOrEqual(0.9);
    expect(Math.min(...race.byNode), `seed ${seed}: ${JSON.stringify(race.byNode)}`).toBeGreaterThan(0);
  }
  expect(waits).toBeGreaterThan(0);
});
