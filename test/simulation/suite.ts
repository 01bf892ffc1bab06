/** Half of the schedules of `npm test`; two files, so that two cores share them. `npm run simulate` runs as many as asked for. */
import { expect, test } from "vitest";
import { baseSeed } from "../support/random.ts";
import { runSchedules } from "./run-schedules.ts";

const schedules = 10_000;

/** Everything a schedule may meet must have been met, else the simulation has become too kind. */
const met = [
  "crash",
  "takeover",
  "pause",
  "wake",
  "copy",
  "suspend",
  "cancel",
  "rollback",
  "healed",
  "lost request",
  "lost reply",
];
const replies = [
  "OK",
  "WAIT",
  "BUDGET",
  "LIMIT",
  "STOPPED",
  "FENCED",
  "CLAIMED",
  "RECLAIM",
  "GAP",
  "ROLLED_BACK",
  "FINISHED",
];
const exits = ["exit done", "exit failed", "exit stopped", "exit fenced", "exit lost"];

export function simulate(half: number): void {
  test(`${schedules} random schedules of crash, copy, lost reply, zombie and rollback keep J1-J4, J6, B1 and B2 (half ${half})`, {
    timeout: 900_000,
  }, async () => {
    const first = baseSeed() + half * 100_000_000;
    console.log(
      `simulation: ${schedules} schedules from seed ${first} (npm run simulate -- --schedules 1 --seed S repeats one)`,
    );
    const { happened } = await runSchedules(first, schedules);
    const missing = [...met, ...replies, ...exits].filter((what) => !happened.has(what));
    expect(missing).toEqual([]);
  });
}
