/** Real workers killed with SIGKILL at random moments until the node is done; then the journal is read like an auditor would. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { workerExitCodes } from "../../src/api/exit-codes.ts";
import type { ExecutionSpec } from "../../src/api/execution.ts";
import { startMockModel } from "../../src/cli/mock-model/server.ts";
import { readEntry } from "../../src/core/steps/chain.ts";
import { verifyChain } from "../../src/core/trace/chain-check.ts";
import type { IntentEntry, JournalEntry } from "../../src/core/steps/format.ts";
import { stepKey } from "../../src/core/steps/identity.ts";
import type { JournalStore } from "../../src/ports/store.ts";
import { openTestRun, orderFor, stepsOf, type TestRun } from "../support/run-worker.ts";
import type { Random } from "../support/random.ts";

const turns = 6;
const bundle = fileURLToPath(new URL("../../dist/worker.js", import.meta.url));
const sources = fileURLToPath(new URL("../../src/worker/main.ts", import.meta.url));

export interface Tally {
  kills: number;
  runs: number;
  committedRepeated: number;
  lost: number;
}

/** Runs `lanes` nodes side by side, again and again, until at least `kills` workers were killed. */
export async function killUntil(
  store: JournalStore,
  storeUrl: string,
  random: Random,
  kills: number,
  lanes: number,
): Promise<Tally> {
  const world = await startWorld();
  const tally: Tally = { kills: 0, runs: 0, committedRepeated: 0, lost: 0 };
  const lane = async () => {
    while (tally.kills < kills) {
      const run = await openTestRun(store, world.spec);
      await runToEnd(store, run, storeUrl, random, tally);
      await audit(store, run, tally);
      tally.runs += 1;
    }
  };
  try {
    await Promise.all(Array.from({ length: lanes }, lane));
  } finally {
    await world.close();
  }
  return tally;
}

/** One attempt after the other, each killed after a random while, until one gets through. */
async function runToEnd(
  store: JournalStore,
  run: TestRun,
  storeUrl: string,
  random: Random,
  tally: Tally,
): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    const child = spawn(process.execPath, [existsSync(bundle) ? bundle : sources], {
      stdio: "ignore",
      env: {
        PATH: process.env["PATH"],
        OAO_ORDER: JSON.stringify(orderFor(run, "n", attempt)),
        OAO_STORE: storeUrl,
        OAO_BASE_DIR: process.cwd(),
      },
    });
    // From before the first byte of work to past the last step: the range covers a whole undisturbed life.
    const timer = setTimeout(() => child.kill("SIGKILL"), 100 + random.below(1_000));
    const [code, signal] = (await once(child, "exit")) as [number | null, string | null];
    clearTimeout(timer);
    if (code === workerExitCodes.done) return;
    if (signal !== "SIGKILL") {
      const { items } = await store.view(run.uid, [{ node: "n" }]);
      throw new Error(
        `attempt ${attempt} ended with ${code ?? signal} and not by our kill: ${items[0]?.finished ?? "no finish"}`,
      );
    }
    tally.kills += 1;
  }
}

/** J1, J4: the chain holds; each step stands once; no call was begun again after its result was committed; nothing is missing. */
async function audit(store: JournalStore, run: TestRun, tally: Tally): Promise<void> {
  const stored = await store.entries(run.uid, { node: "n" }, 0, 100_000);
  expect(verifyChain(run.uid, { node: "n", entries: stored })).toBeUndefined();
  const { items, execution } = await store.view(run.uid, [{ node: "n" }]);
  expect(items[0]?.length).toBe(stored.length);
  const entries = stored.map(readEntry);
  const steps = stepsOf(entries);
  const committedAt = new Map<string, number>();
  for (const step of steps) {
    const key = keyOf(step);
    if (committedAt.has(key)) tally.committedRepeated += 1;
    committedAt.set(key, step.index);
  }
  for (const intent of entries.filter((entry): entry is IntentEntry => entry.type === "intent")) {
    const committed = committedAt.get(keyOf(intent));
    if (committed !== undefined && committed < intent.index) tally.committedRepeated += 1;
  }
  // turns model calls, each but the last with two tool calls, and three recorded values in one of them.
  const expected = turns + (turns - 1) * 2 + (turns - 1) * 3;
  tally.lost += expected - committedAt.size;
  expect(steps.filter((step) => step.outcome === "Ok").length).toBe(expected);
  const counted = entries.reduce((sum, entry) => sum + ("usage" in entry ? (entry.usage?.counted.total ?? 0) : 0), 0);
  expect(execution?.account.settled.TotalTokens).toBe(counted);
  expect(execution?.account.reserved.TotalTokens).toBe(0);
}

function keyOf(entry: Extract<JournalEntry, { path: readonly number[] }>): string {
  return stepKey(entry.path, entry.kind, entry.requestDigest, entry.occurrence);
}

async function startWorld(): Promise<{ spec: ExecutionSpec; close(): Promise<void> }> {
  const tool = createServer((_request, response) => {
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ hits: ["one", "two"] }));
  });
  tool.listen(0, "127.0.0.1");
  await once(tool, "listening");
  const mock = await startMockModel({
    script: {
      defaults: { tokensPerSecond: 600 },
      rules: [
        ...Array.from({ length: turns - 1 }, (_, turn) => ({
          match: { turn },
          reply: {
            text: `Turn ${turn}: I look at the catalogue and roll the dice, which takes a few words to say.`,
            toolCalls: [
              { name: "search", arguments: { q: `question ${turn}` } },
              { name: "dice", arguments: { sides: 6 } },
            ],
          },
        })),
        { reply: { text: "That is all there is to say about it." } },
      ],
    },
  });
  const spec: ExecutionSpec = {
    task: "t",
    models: [{ name: "m", provider: "openai", model: "mock", baseURL: mock.baseURL }],
    tools: [
      {
        name: "search",
        effect: "ReadOnly",
        http: { method: "GET", url: `http://127.0.0.1:${(tool.address() as AddressInfo).port}/search`, query: ["q"] },
      },
      { name: "dice", effect: "Idempotent", module: { path: "test/golden/tools/dice.mjs", export: "dice" } },
    ],
    agents: [{ name: "a", model: "m", tools: ["search", "dice"] }],
    nodes: [{ name: "n", agent: { ref: "a", prompt: "Go" } }],
  };
  return {
    spec,
    close: async () => {
      tool.closeAllConnections();
      tool.close();
      await mock.close();
    },
  };
}
