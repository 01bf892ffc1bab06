/**
 * Bar i: eight nodes race one budget through the real meter, a new seed each time.
 * Run: npm run bench -- budget-race   (OAO_BENCH_RACES races, default 1,000; OAO_SEED the first seed)
 */
import { runRace } from "../simulation/race.ts";
import { baseSeed } from "../support/random.ts";
import { printTable, summary } from "./table.ts";

const races = Number(process.env["OAO_BENCH_RACES"] ?? 1_000);
const first = baseSeed();
const used: number[] = [];
const commandsPerBlock: number[] = [];
let overspent = 0;
let starved = 0;
for (let seed = first; seed < first + races; seed += 1) {
  const race = await runRace(seed);
  used.push((100 * race.counted) / race.limit);
  commandsPerBlock.push(race.delivered / race.commands);
  overspent += Math.max(0, race.counted - race.limit);
  if (Math.min(...race.byNode) === 0) starved += 1;
}
printTable(
  `i. Eight nodes race one budget, ${races} seeds from ${first}`,
  ["figure", "value"],
  [
    ["counted tokens over budget, all races", String(overspent)],
    ["budget used, %: median (min–max)", summary(used).text],
    ["races in which a node got nothing", String(starved)],
    ["tokens delivered per store command: median (min–max)", summary(commandsPerBlock).text],
  ],
);
