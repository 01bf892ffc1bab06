/**
 * Bars f and s1: what a replayed step costs beside one range read of its record, what it costs with an agent's code around it, what
 * a fork at any step adds to the store and takes, and 100 separate strict replays with the servers stopped.
 * Run: npm run bench -- replay   (OAO_BENCH_STEPS steps of the longest parent, default 10,000; OAO_BENCH_ROUNDS, default 9)
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { systemClock } from "../../src/adapters/clock/system-clock.ts";
import { FileStore } from "../../src/adapters/store/file/file-store.ts";
import type { ExecutionSpec } from "../../src/api/execution.ts";
import { type MockModel, startMockModel } from "../../src/cli/mock-model/server.ts";
import { type EndedRun, ReplayWorld } from "../support/replay-world.ts";
import { storedBytes } from "../support/stored-bytes.ts";
import { readSteps, recordSteps, replaySteps } from "./replay-record.ts";
import { printTable, type Summary, summary } from "./table.ts";

const rounds = Number(process.env["OAO_BENCH_ROUNDS"] ?? 9);
const most = Number(process.env["OAO_BENCH_STEPS"] ?? 10_000);
const replays = 100;
/** Of one agent: this many times a model's answer asks for as many tools, and then it has finished. */
const turns = 50;
const toolsPerTurn = 9;
const stepsPerNode = turns * (1 + toolsPerTurn) + 1;
const raw: Record<string, unknown> = { rounds };

process.chdir(fileURLToPath(new URL("../..", import.meta.url)));

function specOf(nodes: number, model: MockModel): ExecutionSpec {
  const echo = { path: "test/bench/ground/echo.mjs", export: "echo" };
  return {
    task: "bench",
    models: [{ name: "m", provider: "openai", model: "mock", baseURL: model.baseURL }],
    tools: [{ name: "echo", effect: "ReadOnly", module: echo }],
    agents: [{ name: "a", model: "m", tools: ["echo"], maxIterations: turns + 1 }],
    nodes: Array.from({ length: nodes }, (_, n) => ({ name: `n${n}`, agent: { ref: "a", prompt: `Go, ${n}.` } })),
  };
}

/** Recorded by the real worker code. */
async function record(world: ReplayWorld, nodes: number): Promise<EndedRun> {
  const toolCalls = Array.from({ length: toolsPerTurn }, (_, n) => ({ name: "echo", arguments: { n } }));
  const asking = Array.from({ length: nodes }, (_, n) => ({
    match: { prompt: `Go, ${n}.`, times: turns },
    reply: { toolCalls },
  }));
  const model = await startMockModel({ script: { rules: [...asking, { reply: { text: "done" } }] } });
  models.push(model);
  const run = await world.run(`parent-${nodes}`, specOf(nodes, model));
  if (run.status.phase !== "Succeeded")
    throw new Error(`it was not recorded: ${JSON.stringify(run.status.conditions)}`);
  return run;
}
const models: MockModel[] = [];

async function timedUs(work: () => Promise<unknown>, steps: number): Promise<number> {
  const started = performance.now();
  await work();
  return ((performance.now() - started) * 1_000) / steps;
}

/** Record and floor in the same rounds. */
async function ownShare(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "oao-replay-"));
  const store = new FileStore(folder, systemClock);
  const rows: string[][] = [];
  const medians: number[] = [];
  for (const steps of [Math.round(most / 10), most]) {
    const uid = crypto.randomUUID();
    await recordSteps(store, uid, steps);
    const [replayed, read]: [number[], number[]] = [[], []];
    for (let round = 0; round < rounds; round += 1) {
      read.push(await timedUs(() => readSteps(store, uid), steps));
      replayed.push(await timedUs(() => replaySteps(store, uid, steps), steps));
    }
    const [own, floor] = [summary(replayed), summary(read)];
    medians.push(own.median);
    rows.push([String(steps), own.text, floor.text, `${(own.median / floor.median).toFixed(2)} ×`]);
    raw[`own-${steps}`] = { replayed, read };
  }
  await store.close();
  rmSync(folder, { recursive: true });
  printTable(
    "f. A replayed step of a strict replay without an agent's code, file store, µs: median (min–max)",
    ["steps", "replayed", "read and parsed", "ratio"],
    rows,
  );
  const [few = 0, many = 0] = medians;
  console.log(`a step of the longer parent costs ${(many / few).toFixed(2)} × one of the shorter`);
}

/** Both parents in the same rounds. */
async function withAgent(world: ReplayWorld, parents: readonly EndedRun[]): Promise<void> {
  const taken = parents.map((): number[] => []);
  for (let round = 0; round < rounds; round += 1)
    for (const [place, parent] of parents.entries())
      taken[place]?.push(
        await timedUs(async () => verified(await world.replay(parent.name), parent), parent.steps.length),
      );
  const rows = parents.map((parent, place) => {
    const samples = taken[place] ?? [];
    raw[`agent-${parent.steps.length}`] = samples;
    return [String(parent.steps.length), String(parent.status.nodes.length), summary(samples, 0).text];
  });
  printTable(
    "f. The same with an agent's code (LangChain) run again, whole Execution, µs a step: median (min–max)",
    ["steps", "nodes", "replayed"],
    rows,
  );
}

function verified(run: EndedRun, parent: EndedRun): void {
  const isSame = run.status.traceHash === parent.status.traceHash && run.status.phase === parent.status.phase;
  if (!isSame || run.live.length > 0) throw new Error(`it was not verified: ${JSON.stringify(run.status.replay)}`);
}

async function forks(world: ReplayWorld, parents: readonly EndedRun[]): Promise<void> {
  const rows: string[][] = [];
  for (const parent of parents) {
    const { length } = parent.steps;
    for (const n of [1, Math.round(length / 2), length]) {
      const taken: number[] = [];
      let last = parent;
      for (let round = 0; round < Math.min(rounds, 5); round += 1) {
        const started = performance.now();
        last = await world.replay(parent.name, { fromStep: n });
        taken.push(performance.now() - started);
      }
      if (last.status.phase !== "Succeeded") throw new Error(JSON.stringify(last.status.conditions));
      const stored = storedBytes(world, last);
      rows.push([
        String(length),
        String(n),
        String(stored.total),
        String(stored.snapshot),
        String(stored.entries),
        String(stored.bodies),
        summary(taken, 0).text,
        String(last.live.length),
      ]);
      raw[`fork-${length}-${n}`] = { ...stored, taken };
    }
  }
  printTable(
    "f. A fork at step n: bytes that it stores but for its live calls, and milliseconds to its end: median (min–max)",
    ["steps", "n", "bytes", "snapshot", "entries", "bodies", "ms", "live calls"],
    rows,
  );
}

async function separateReplays(world: ReplayWorld, parent: EndedRun): Promise<void> {
  for (const model of models) await model.close();
  const before = world.orders.length;
  const traces = new Set<string | undefined>();
  const taken: number[] = [];
  for (let count = 0; count < replays; count += 1) {
    const started = performance.now();
    const run = await world.replay(parent.name);
    taken.push(performance.now() - started);
    verified(run, parent);
    traces.add(run.status.traceHash);
  }
  const all: Summary = summary(taken, 0);
  raw["s1"] = taken;
  printTable(
    `s1. ${replays} separate strict replays of ${parent.steps.length} steps in ${parent.status.nodes.length} parallel branches, model server stopped`,
    ["figure", "value"],
    [
      ["different traces, their parent's among them", String(traces.add(parent.status.traceHash).size)],
      ["workers started", String(world.orders.length - before)],
      ["ms each: median (min–max)", all.text],
    ],
  );
}

await ownShare();
const world = new ReplayWorld();
try {
  const parents = [
    await record(world, Math.max(2, Math.round(most / 10 / stepsPerNode))),
    await record(world, Math.round(most / stepsPerNode)),
  ];
  await withAgent(world, parents);
  await forks(world, parents);
  const [small] = parents;
  if (small !== undefined) await separateReplays(world, small);
} finally {
  await world.close();
  for (const model of models) await model.close().catch(() => undefined);
}
const folder = process.env["OAO_BENCH_JSON"];
if (folder !== undefined) {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "replay.json"), JSON.stringify(raw));
}
