/** The test of the test: each broken rule must be caught within a few hundred schedules. */
import { expect, test } from "vitest";
import { baseSeed } from "../support/random.ts";
import { mutants } from "./mutants.ts";
import { runSchedule } from "./schedule.ts";

const schedulesMax = 1_500;

test.for(Object.entries(mutants))(
  "a protocol with this fault is caught: %s",
  { timeout: 300_000 },
  async ([, rules]) => {
    const first = baseSeed();
    let caught: unknown;
    for (let seed = first; caught === undefined && seed < first + schedulesMax; seed += 1) {
      await runSchedule(seed, rules).catch((error: unknown) => {
        caught = error;
      });
    }
    expect(caught).toBeInstanceOf(Error);
    expect((caught as Error).message).toMatch(/^seed \d+: /);
  },
);
