/**
 * Bar d: from the start of a worker's process to its first durable intent, and to its end, against the same node doing nothing.
 * Interleaved rounds; medians with the spread, and the memory at its highest. Run: npm run bench -- cold-start
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../src/adapters/clock/system-clock.ts";
import { FileStore } from "../../src/adapters/store/file/file-store.ts";
import type { ExecutionSpec } from "../../src/api/execution.ts";
import { startMockModel } from "../../src/cli/mock-model/server.ts";
import { openTestRun, orderFor } from "../support/run-worker.ts";
import { peakMiBOf } from "./memory.ts";
import { printTable, summary } from "./table.ts";

const rounds = Number(process.env["OAO_BENCH_ROUNDS"] ?? 11);
const directory = mkdtempSync(join(tmpdir(), "oao-bench-"));
const store = new FileStore(directory, systemClock);
const mock = await startMockModel({ script: { rules: [{ reply: { text: "ok" } }] } });

const toolSpec: ExecutionSpec = {
  task: "t",
  tools: [{ name: "dice", effect: "ReadOnly", module: { path: "test/golden/tools/dice.mjs", export: "dice" } }],
  nodes: [{ name: "n", tool: { ref: "dice", arguments: { sides: 6 } } }],
};
const agentSpec: ExecutionSpec = {
  task: "t",
  models: [{ name: "m", provider: "openai", model: "mock", baseURL: mock.baseURL }],
  agents: [{ name: "a", model: "m" }],
  nodes: [{ name: "n", agent: { ref: "a", prompt: "hi" } }],
};

interface Measured {
  readonly first: number;
  readonly whole: number;
  readonly peakMiB: number;
}

async function worker(entry: readonly string[], spec: ExecutionSpec): Promise<Measured> {
  const run = await openTestRun(store, spec);
  const started = performance.now();
  const child = spawn(process.execPath, entry, {
    stdio: "ignore",
    env: {
      PATH: process.env["PATH"],
      OAO_ORDER: JSON.stringify(orderFor(run, "n", 1)),
      OAO_STORE: `file:${directory}`,
      OAO_BASE_DIR: process.cwd(),
    },
  });
  const code = new Promise<number | null>((resolve) => child.once("exit", resolve));
  let first = Number.NaN;
  // The journal file is the witness: the first entries are the start and the intent, in one durable command.
  while (Number.isNaN(first)) {
    const entries = await store.entries(run.uid, { node: "n" }, 0, 1);
    if (entries.length > 0) first = performance.now() - started;
    else if (child.exitCode !== null) throw new Error(`the worker ended with ${child.exitCode} before its first entry`);
    else await systemClock.sleep(1);
  }
  // From here on only: looking would cost the time to the first entry.
  const peakMiB = await peakMiBOf(child);
  const exit = await code;
  if (exit !== 0) throw new Error(`the worker ended with ${exit}`);
  return { first, whole: performance.now() - started, peakMiB };
}

async function bare(): Promise<number> {
  const started = performance.now();
  const child = spawn(process.execPath, ["-e", "0"], { stdio: "ignore" });
  await new Promise((resolve) => child.once("exit", resolve));
  return performance.now() - started;
}

const cases = {
  "node -e 0": async () => ({ first: Number.NaN, whole: await bare(), peakMiB: Number.NaN }),
  "tool node, bundle": () => worker(["dist/worker.js"], toolSpec),
  "agent node, bundle": () => worker(["dist/worker.js"], agentSpec),
  "agent node, sources": () => worker(["src/worker/main.ts"], agentSpec),
};
const samples = new Map<string, { first: number[]; whole: number[]; peak: number[] }>(
  Object.keys(cases).map((name) => [name, { first: [], whole: [], peak: [] }]),
);
for (let round = -1; round < rounds; round += 1) {
  for (const [name, measure] of Object.entries(cases)) {
    const { first, whole, peakMiB } = await measure();
    if (round < 0) continue; // warm-up
    samples.get(name)?.first.push(first);
    samples.get(name)?.whole.push(whole);
    samples.get(name)?.peak.push(peakMiB);
  }
}
const floor = summary(samples.get("node -e 0")?.whole ?? []).median;
const unbundled = summary(samples.get("agent node, sources")?.first ?? []).median;
printTable(
  "d. Worker start (ms, medians of interleaved rounds, min–max)",
  ["case", "to first durable entry", "whole process", "× node -e 0", "÷ unbundled", "MiB at most"],
  [...samples].map(([name, { first, whole, peak }]) => [
    name,
    Number.isNaN(first[0]) ? "-" : summary(first).text,
    summary(whole).text,
    (summary(whole).median / floor).toFixed(2),
    Number.isNaN(first[0]) ? "-" : (summary(first).median / unbundled).toFixed(2),
    Number.isNaN(peak[0]) ? "-" : Math.max(...peak).toFixed(0),
  ]),
);
await store.close();
await mock.close();
rmSync(directory, { recursive: true, force: true });
