// `npm run simulate -- [--schedules N] [--seed S]`: random schedules of the step protocol, as many as asked for, on all cores.
// Ends with a summary; at the first broken invariant it prints seed and schedule and exits with 1.
import { randomInt } from "node:crypto";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { runSchedules, type Summary } from "../test/simulation/run-schedules.ts";

interface Lane {
  readonly seed: number;
  readonly schedules: number;
}

type Message = { readonly done: number } | { readonly summary: Summary } | { readonly broken: string };

const reportEvery = 500;

if (isMainThread) process.exitCode = await main();
else await lane(workerData as Lane);

async function lane({ seed, schedules }: Lane): Promise<void> {
  const tell = (message: Message): void => parentPort?.postMessage(message);
  try {
    tell({ summary: await runSchedules(seed, schedules, (done) => done % reportEvery === 0 && tell({ done })) });
  } catch (error) {
    tell({ broken: error instanceof Error ? error.message : String(error) });
  }
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { schedules: { type: "string", default: "100000" }, seed: { type: "string" } },
  });
  const schedules = Number(values.schedules);
  const seed = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed);
  if (!Number.isSafeInteger(schedules) || schedules < 1 || !Number.isSafeInteger(seed)) {
    console.error("usage: npm run simulate -- [--schedules N] [--seed S], both whole numbers");
    return 2;
  }
  const lanes = Math.min(availableParallelism(), schedules);
  const share = Math.ceil(schedules / lanes);
  console.log(`${schedules} schedules from seed ${seed} on ${lanes} cores`);
  const startedMs = performance.now();
  const progress = Array.from({ length: lanes }, () => 0);
  const show = (place: number, done: number): void => {
    progress[place] = done;
    const total = progress.reduce((sum, part) => sum + part, 0);
    if (total % 10_000 < reportEvery) console.log(`${total} of ${schedules}, ${rate(total, startedMs)} per second`);
  };
  const results = await Promise.all(
    progress.map((_, place) =>
      runLane({ seed: seed + place * share, schedules: Math.min(share, schedules - place * share) }, (done) =>
        show(place, done),
      ),
    ),
  );
  const broken = results.filter((result) => typeof result === "string");
  for (const message of broken) console.error(`BROKEN ${message}`);
  if (broken.length > 0) return 1;
  summarise(
    results.filter((result) => typeof result !== "string"),
    startedMs,
  );
  return 0;
}

function runLane(data: Lane, progress: (done: number) => void): Promise<Summary | string> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: data });
    worker.on("error", reject);
    worker.on("message", (message: Message) => {
      if ("done" in message) progress(message.done);
      else resolve("summary" in message ? message.summary : message.broken);
    });
  });
}

function summarise(summaries: readonly Summary[], startedMs: number): void {
  const happened = new Map<string, number>();
  for (const summary of summaries)
    for (const [what, times] of summary.happened) happened.set(what, (happened.get(what) ?? 0) + times);
  const sum = (of: (summary: Summary) => number): number =>
    summaries.reduce((total, summary) => total + of(summary), 0);
  const schedules = sum((summary) => summary.schedules);
  console.log(
    `\n${schedules} schedules, ${sum((summary) => summary.steps)} steps, ${rate(schedules, startedMs)} schedules per second, no invariant broken`,
  );
  for (const outcome of ["done", "failed", "violated", "cancelled", "lost"] as const)
    console.log(`  ended ${outcome.padEnd(14)} ${sum((summary) => summary.outcomes[outcome])}`);
  for (const [what, times] of [...happened].toSorted((a, b) => b[1] - a[1]))
    console.log(`  ${what.padEnd(20)} in ${times} schedules`);
}

function rate(done: number, startedMs: number): string {
  return (done / ((performance.now() - startedMs) / 1_000)).toFixed(0);
}
