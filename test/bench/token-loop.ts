/**
 * Bar c: from the chunk that crosses the budget to the closed socket and to Execution Failed, against a bare client that
 * aborts at a chunk. The server writes one token each 2 ms and notes on the monotonic clock when its client went away.
 * Run: npm run bench -- token-loop
 */
import { fork } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { systemClock } from "../../src/adapters/clock/system-clock.ts";
import { FileStore } from "../../src/adapters/store/file/file-store.ts";
import { openPolicy } from "../support/policies.ts";
import { attemptNode, openTestRun, orderFor } from "../support/run-worker.ts";
import type { EndedCall } from "./runaway-server.ts";
import { percentile, printTable, summary } from "./table.ts";

const rounds = Number(process.env["OAO_BENCH_ROUNDS"] ?? 31);
const budget = 400;
const msPerToken = 2;

const directory = mkdtempSync(join(tmpdir(), "oao-bench-"));
const store = new FileStore(directory, systemClock);
const server = fork(new URL("./runaway-server.ts", import.meta.url), [String(budget), String(msPerToken)], {
  stdio: ["ignore", "pipe", "inherit", "ipc"],
});
const lines = createInterface({ input: server.stdout as Readable })[Symbol.asyncIterator]();
const nextLine = async () => String((await lines.next()).value);
const baseURL = await nextLine();
const now = () => performance.timeOrigin + performance.now();

async function governed(): Promise<{ ms: number; failedMs: number; overspend: number; beyond: number }> {
  const policy = openPolicy({ limits: { execution: { OutputTokens: budget }, node: {}, call: {} } });
  const run = await openTestRun(
    store,
    {
      task: "t",
      models: [{ name: "m", provider: "openai", model: "mock", baseURL }],
      agents: [{ name: "a", model: "m" }],
      nodes: [{ name: "n", agent: { ref: "a", prompt: "go" } }],
    },
    policy,
  );
  const exit = await attemptNode(store, orderFor(run, "n", 1));
  const recordedAt = now();
  if (exit !== "failed") throw new Error(`the runaway ended ${exit}`);
  const { crossedAt, closedAt, tokens } = JSON.parse(await nextLine()) as EndedCall;
  const account = (await store.view(run.uid, [])).execution?.account;
  const counted = (account?.settled.OutputTokens ?? 0) + (account?.lost.OutputTokens ?? 0);
  return {
    ms: closedAt - crossedAt,
    failedMs: recordedAt - crossedAt,
    overspend: Math.max(0, counted - budget),
    beyond: tokens - budget,
  };
}

async function bare(): Promise<number> {
  const abort = new AbortController();
  const response = await fetch(`${baseURL}/chat/completions`, {
    method: "POST",
    signal: abort.signal,
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "mock", stream: true, messages: [{ role: "user", content: "go" }] }),
  });
  let tokens = 0;
  try {
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      tokens += Buffer.from(chunk).toString().split('"content":"').length - 1;
      if (tokens > budget + 1) abort.abort(); // the first chunk carries the role and an empty content
    }
  } catch {
    // aborted
  }
  const { crossedAt, closedAt } = JSON.parse(await nextLine()) as EndedCall;
  return closedAt - crossedAt;
}

const ours: Awaited<ReturnType<typeof governed>>[] = [];
const floor: number[] = [];
for (let round = -2; round < rounds; round += 1) {
  const [governedRound, bareRound] = [await governed(), await bare()];
  if (round < 0) continue; // warm-up
  ours.push(governedRound);
  floor.push(bareRound);
}
const row = (name: string, values: readonly number[], ratio: string) => [
  name,
  summary(values, 2).text,
  percentile(values, 0.99).toFixed(2),
  ratio,
];
const ratio = (values: readonly number[]) => (summary(values, 2).median / summary(floor, 2).median).toFixed(2);
const cut = ours.map(({ ms }) => ms);
const failed = ours.map(({ failedMs }) => failedMs);
printTable(
  `c. Budget-crossing chunk to … (ms, ${rounds} rounds, one token each ${msPerToken} ms)`,
  ["case", "median (min–max)", "p99", "× bare abort"],
  [
    row("bare fetch: socket closed", floor, "1"),
    row("OAO: socket closed", cut, ratio(cut)),
    row("OAO: violation and finish durable (worker in process, file store)", failed, ratio(failed)),
  ],
);
printTable(
  "c. Tokens",
  ["figure", "worst of all rounds"],
  [
    ["counted beyond the budget", String(Math.max(...ours.map(({ overspend }) => overspend)))],
    ["written by the server beyond the budget", String(Math.max(...ours.map(({ beyond }) => beyond)))],
  ],
);
await store.close();
server.disconnect();
rmSync(directory, { recursive: true, force: true });
