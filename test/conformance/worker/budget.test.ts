/** B1 mid-stream: the meter charges while streaming, cuts the socket itself, and no lie of a provider gets past it. */
import { afterEach, describe, expect, it } from "vitest";
import { MemoryStore } from "../../../src/adapters/store/memory/memory-store.ts";
import type { ExecutionSpec } from "../../../src/api/execution.ts";
import { type MockModel, startMockModel } from "../../../src/cli/mock-model/server.ts";
import type { MockScriptInput } from "../../../src/cli/mock-model/script.ts";
import type { Limits } from "../../../src/core/protocol/types.ts";
import { openPolicy } from "../../support/policies.ts";
import { attemptNode, journalOf, openTestRun, orderFor, stepsOf } from "../../support/run-worker.ts";

let mock: MockModel | undefined;
afterEach(async () => {
  await mock?.close();
  mock = undefined;
});

function oneAgent(baseURL: string, nodes = 1, parameters?: Record<string, unknown>): ExecutionSpec {
  return {
    task: "t",
    models: [
      { name: "m", provider: "openai", model: "mock", baseURL, ...(parameters === undefined ? {} : { parameters }) },
    ],
    agents: [{ name: "a", model: "m" }],
    nodes: Array.from({ length: nodes }, (_, index) => ({
      name: `n${index}`,
      agent: { ref: "a", prompt: `Write a lot about subject ${index}` },
    })),
  };
}

async function start(script: MockScriptInput) {
  mock = await startMockModel({ script });
  return mock;
}

function limited(execution: Limits, call: Limits = {}) {
  return openPolicy({
    limits: { execution, node: {}, call },
    limitNames: { "Execution/TotalTokens": "standard/maxTokens" },
  });
}

const runaway = (more: object = {}): MockScriptInput => ({
  rules: [{ reply: { tokens: 1_000_000, ignoreMaxTokens: true, ...more } }],
});

describe("a runaway stream", () => {
  it("is cut mid-stream with the exact reason, the socket is closed, and counted spend stays within the budget", async () => {
    const server = await start(runaway({ delayMsPerToken: 0.2 }));
    const store = new MemoryStore({ nowMs: () => Date.now() });
    const run = await openTestRun(store, oneAgent(server.baseURL), limited({ TotalTokens: 2_000 }));
    expect(await attemptNode(store, orderFor(run, "n0", 1))).toBe("failed");
    const call = await server.waitForCall((candidate) => candidate.outcome === "clientClosed");
    expect(call.tokensAtClose).toBeLessThan(1_000_000);
    const { execution } = await store.view(run.uid, []);
    expect(execution?.control.state).toBe("Violated");
    expect(execution?.control.message).toMatch(
      /^PolicyViolation: Max Token Limit Exceeded: budget standard\/maxTokens \(Execution TotalTokens\), limit 2000, spent /,
    );
    const { settled, lost, reserved } = execution?.account ?? {
      settled: undefined,
      lost: undefined,
      reserved: undefined,
    };
    expect((settled?.TotalTokens ?? 0) + (lost?.TotalTokens ?? 0)).toBeLessThanOrEqual(2_000);
    expect(settled?.TotalTokens).toBeGreaterThan(1_900);
    expect(reserved?.TotalTokens).toBe(0);
    const entries = await journalOf(store, run.uid, "n0");
    expect(entries.flatMap((entry) => (entry.type === "violation" ? [entry.path] : []))).toEqual([
      "Execution/TotalTokens",
    ]);
    const steps = stepsOf(entries);
    expect(steps.map((step) => step.outcome)).toEqual(["Cut"]);
    expect(steps[0]?.error?.class).toBe("PolicyViolation");
  });

  it.each([
    ["sends no usage", { usage: "Missing" }],
    ["reports zero", { usage: "Zero" }],
    ["reports too little", { usage: "Low" }],
  ] as const)("of a provider that %s is cut all the same", async (_name, behaviour) => {
    const server = await start(runaway(behaviour));
    const store = new MemoryStore({ nowMs: () => Date.now() });
    const run = await openTestRun(store, oneAgent(server.baseURL), limited({ OutputTokens: 1_000 }));
    expect(await attemptNode(store, orderFor(run, "n0", 1))).toBe("failed");
    const { execution } = await store.view(run.uid, []);
    expect(execution?.control.message).toMatch(/^PolicyViolation: Max Token Limit Exceeded/);
    expect(execution?.account.settled.OutputTokens).toBeLessThanOrEqual(1_000);
    expect(execution?.account.settled.OutputTokens).toBeGreaterThan(900);
  });

  it.each([
    ["OutputTokens", 1],
    ["OutputTokens", 40],
    ["OutputTokens", 77],
    ["OutputTokens", 500],
    ["TotalTokens", 500],
  ] as const)("is never charged more than a Call budget of %s %i, and all of it can be used", async (unit, limit) => {
    const server = await start(runaway());
    const store = new MemoryStore({ nowMs: () => Date.now() });
    const run = await openTestRun(store, oneAgent(server.baseURL), limited({}, { [unit]: limit }));
    expect(await attemptNode(store, orderFor(run, "n0", 1))).toBe("failed");
    const usage = stepsOf(await journalOf(store, run.uid, "n0"))[0]?.usage;
    expect(unit === "OutputTokens" ? usage?.counted.output : usage?.counted.total).toBe(limit);
    const { execution } = await store.view(run.uid, []);
    expect(execution?.account.settled[unit]).toBe(limit);
  });

  it("is cut by a Call budget though the execution has room", async () => {
    const server = await start(runaway());
    const store = new MemoryStore({ nowMs: () => Date.now() });
    const run = await openTestRun(store, oneAgent(server.baseURL), limited({}, { OutputTokens: 300 }));
    expect(await attemptNode(store, orderFor(run, "n0", 1))).toBe("failed");
    expect((await store.view(run.uid, [])).execution?.control.message).toMatch(
      /^PolicyViolation: Max Token Limit Exceeded: budget of scope Call, unit OutputTokens, limit 300, one call needs 301/,
    );
  });
});

describe("an honest answer", () => {
  it("keeps the estimate and the reported figure apart, and a high report beyond the reservation is overshoot", async () => {
    const server = await start({ rules: [{ reply: { tokens: 50, usage: "High" } }] });
    const store = new MemoryStore({ nowMs: () => Date.now() });
    const run = await openTestRun(store, oneAgent(server.baseURL), limited({ TotalTokens: 100_000 }));
    expect(await attemptNode(store, orderFor(run, "n0", 1))).toBe("done");
    const usage = stepsOf(await journalOf(store, run.uid, "n0"))[0]?.usage;
    expect(usage?.estimated.output).toBe(50);
    expect(usage?.reported?.output).toBeGreaterThan(50);
    const { execution } = await store.view(run.uid, []);
    const reported = usage?.reported?.total ?? 0;
    expect(
      (execution?.account.settled.TotalTokens ?? 0) + (execution?.account.overshoot.TotalTokens ?? 0),
    ).toBeGreaterThanOrEqual(reported);
    expect(usage?.overshoot).toBe(execution?.account.overshoot.TotalTokens);
  });

  it("that ends at the cap which the budget put on the provider is a budget stop, not an answer", async () => {
    const server = await start({ rules: [{ reply: { tokens: 1_000_000 } }] });
    const store = new MemoryStore({ nowMs: () => Date.now() });
    const run = await openTestRun(store, oneAgent(server.baseURL), limited({ OutputTokens: 500 }));
    expect(await attemptNode(store, orderFor(run, "n0", 1))).toBe("failed");
    expect(server.calls()[0]?.maxTokens).toBeLessThanOrEqual(500);
    expect((await store.view(run.uid, [])).execution?.control.message).toMatch(
      /^PolicyViolation: Max Token Limit Exceeded/,
    );
  });
});

describe("siblings", () => {
  it("are cut by push when one breaks the budget, and together they never pass it", async () => {
    const server = await start(runaway({ delayMsPerToken: 0.5 }));
    const store = new MemoryStore({ nowMs: () => Date.now() });
    const run = await openTestRun(store, oneAgent(server.baseURL, 4), limited({ TotalTokens: 4_000 }));
    // A heartbeat every ten minutes: only the push can be what stops them in time.
    const exits = await Promise.all(
      [0, 1, 2, 3].map((index) =>
        attemptNode(store, orderFor(run, `n${index}`, 1), { heartbeatIntervalMs: 600_000, leaseTtlMs: 6_000_000 }),
      ),
    );
    expect(exits.filter((exit) => exit === "failed").length).toBeGreaterThanOrEqual(1);
    expect(exits.every((exit) => exit === "failed" || exit === "stopped")).toBe(true);
    const { execution } = await store.view(run.uid, []);
    expect(
      (execution?.account.settled.TotalTokens ?? 0) + (execution?.account.lost.TotalTokens ?? 0),
    ).toBeLessThanOrEqual(4_000);
    for (const { index } of server.calls())
      expect((await server.waitForCall((call) => call.index === index && call.outcome !== "open")).outcome).toBe(
        "clientClosed",
      );
  });

  it("that fit one after the other wait for each other instead of failing (WAIT)", async () => {
    const server = await start({ rules: [{ reply: { tokens: 300, ignoreMaxTokens: true } }] });
    const store = new MemoryStore({ nowMs: () => Date.now() });
    // Input bounds of about 20 each: all eight fit the budget, but not with eight large blocks held at once.
    const run = await openTestRun(store, oneAgent(server.baseURL, 8), limited({ TotalTokens: 3_200 }));
    const exits = await Promise.all(
      Array.from({ length: 8 }, (_, index) => attemptNode(store, orderFor(run, `n${index}`, 1))),
    );
    const { execution } = await store.view(run.uid, []);
    expect(exits).toEqual(Array.from({ length: 8 }, () => "done"));
    expect(execution?.account.settled.TotalTokens).toBeLessThanOrEqual(3_200);
    expect(execution?.control.state).toBe("Running");
  });
});
