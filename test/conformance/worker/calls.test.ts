/** Retries, gates, doubt, redaction and stopping, through real sockets. */
import { afterEach, describe, expect, it } from "vitest";
import { MemoryStore } from "../../../src/adapters/store/memory/memory-store.ts";
import type { ExecutionSpec } from "../../../src/api/execution.ts";
import type { ToolSpec } from "../../../src/api/tool.ts";
import { type MockModel, startMockModel } from "../../../src/cli/mock-model/server.ts";
import type { MockScriptInput } from "../../../src/cli/mock-model/script.ts";
import type { EffectivePolicy, PolicyRules } from "../../../src/core/policy/types.ts";
import type { Finished } from "../../../src/core/steps/format.ts";
import { openPolicy } from "../../support/policies.ts";
import { attemptNode, journalOf, openTestRun, orderFor, stepsOf } from "../../support/run-worker.ts";
import { startToolServer, toolNode } from "../../support/tool-server.ts";

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function model(script: MockScriptInput): Promise<MockModel> {
  const server = await startMockModel({ script });
  closing.push(() => server.close());
  return server;
}

async function toolServer(answer: Parameters<typeof startToolServer>[0]) {
  const server = await startToolServer(answer);
  closing.push(server.close);
  return server;
}

function agentNode(baseURL: string, tools: ToolSpec[] = []): ExecutionSpec {
  return {
    task: "t",
    models: [{ name: "m", provider: "openai", model: "mock", baseURL }],
    tools,
    agents: [{ name: "a", model: "m", tools: tools.map((tool) => tool.name) }],
    nodes: [{ name: "n", agent: { ref: "a", prompt: "Go" } }],
  };
}

async function run(spec: ExecutionSpec, policy: EffectivePolicy = openPolicy()) {
  const store = new MemoryStore({ nowMs: () => Date.now() });
  const opened = await openTestRun(store, spec, policy);
  const exit = await attemptNode(store, orderFor(opened, "n", 1));
  const { execution, items } = await store.view(opened.uid, [{ node: "n" }]);
  return {
    store,
    opened,
    exit,
    execution,
    finished: JSON.parse(items[0]?.finished ?? "null") as Finished | null,
    entries: await journalOf(store, opened.uid, "n"),
  };
}

const rules = (changes: Partial<PolicyRules>): PolicyRules => ({
  name: "standard",
  enforcement: "Enforce",
  models: {},
  tools: {},
  ...changes,
});

describe("retries of a call", () => {
  it("are journaled and counted, honour Retry-After, and only the call that stands is a step", async () => {
    const server = await toolServer((count) =>
      count < 3 ? { status: 429, body: {}, headers: { "retry-after": "0" } } : { status: 200, body: { ok: true } },
    );
    const { exit, entries, execution } = await run(toolNode(server.url));
    expect(exit).toBe("done");
    expect(entries.map((entry) => entry.type)).toEqual([
      "start",
      "intent",
      "repeat",
      "intent",
      "repeat",
      "intent",
      "step",
      "finish",
    ]);
    expect(execution?.account.settled.ToolCalls).toBe(3);
    expect(execution?.account.settled.Steps).toBe(1);
    expect(new Set(server.seen.map((call) => call.key)).size).toBe(1);
  });

  it("go on after a crash where they were: tries used up stay used up, and the delay is waited out", async () => {
    const at: number[] = [];
    const server = await toolServer(() => {
      at.push(performance.now());
      return { status: 503, body: {} };
    });
    const store = new MemoryStore({ nowMs: () => Date.now() });
    const retry = {
      maxRetries: 1,
      retryDelayMs: 400,
      exponentialBackoff: 1,
      maxDelayMs: 1_000,
      jitter: "None" as const,
      retryOn: ["NetworkFailure" as const],
    };
    const opened = await openTestRun(store, toolNode(server.url), openPolicy({ retry }));
    const terminate = new AbortController();
    const first = attemptNode(store, orderFor(opened, "n", 1), { terminate: terminate.signal });
    await expect
      .poll(async () => (await journalOf(store, opened.uid, "n")).map((entry) => entry.type))
      .toContain("repeat");
    terminate.abort("killed");
    expect(await first).toBe("stopped");
    expect(await attemptNode(store, orderFor(opened, "n", 2))).toBe("failed");
    expect(at.length).toBe(2);
    expect((at[1] ?? 0) - (at[0] ?? 0)).toBeGreaterThanOrEqual(395);
  });

  it("end at maxRetries, and the failure is the step's recorded outcome", async () => {
    const server = await toolServer(() => ({ status: 503, body: {} }));
    const { exit, finished, entries } = await run(toolNode(server.url));
    expect(exit).toBe("failed");
    expect(finished?.error?.class).toBe("NetworkFailure");
    expect(server.seen.length).toBe(4);
    expect(stepsOf(entries).map((step) => step.outcome)).toEqual(["Error"]);
  });

  it("of a model: a stream cut mid-way is charged for what came, and made again", async () => {
    const server = await model({
      rules: [{ match: { times: 1 }, reply: { tokens: 80, cutAfterTokens: 40 } }, { reply: { text: "fine" } }],
    });
    const { exit, entries } = await run(agentNode(server.baseURL));
    expect(exit).toBe("done");
    const repeat = entries.find((entry) => entry.type === "repeat");
    expect(repeat?.type === "repeat" ? repeat.error?.class : undefined).toBe("NetworkFailure");
    expect(repeat?.type === "repeat" ? repeat.usage?.counted.output : 0).toBeGreaterThan(0);
  });

  it("of a model: a clean end without finish reason is no answer", async () => {
    const server = await model({
      rules: [{ match: { times: 1 }, reply: { tokens: 30, endAfterTokens: 10 } }, { reply: { text: "fine" } }],
    });
    const { exit, entries } = await run(agentNode(server.baseURL));
    expect(exit).toBe("done");
    expect(entries.filter((entry) => entry.type === "repeat").length).toBe(1);
  });
});

describe("NonIdempotent tools", () => {
  it("are not called again after an answer that leaves doubt", async () => {
    const server = await toolServer(() => ({ status: 503, body: {} }));
    const { exit, finished } = await run(toolNode(server.url, { effect: "NonIdempotent" }));
    expect(exit).toBe("failed");
    expect(server.seen.length).toBe(1);
    expect(finished?.final).toBe(true);
  });

  it.each([
    { onInDoubt: "Fail", exit: "failed", calls: 1, error: { class: "InDoubt", message: /onInDoubt/ } },
    { onInDoubt: "Retry", exit: "done", calls: 2, error: undefined },
  ] as const)(
    "are in doubt after a crash: $onInDoubt ends in $exit after $calls calls, all with one key",
    async (row) => {
      const server = await toolServer((count) =>
        count === 1 ? { status: 200, body: {}, hang: true } : { status: 200, body: { ok: true } },
      );
      const store = new MemoryStore({ nowMs: () => Date.now() });
      const policy = openPolicy({ onInDoubt: row.onInDoubt });
      const opened = await openTestRun(store, toolNode(server.url, { effect: "NonIdempotent" }), policy);
      const terminate = new AbortController();
      const first = attemptNode(store, orderFor(opened, "n", 1), { terminate: terminate.signal });
      await expect.poll(() => server.seen.length).toBe(1);
      terminate.abort("killed");
      expect(await first).toBe("stopped");
      expect(await attemptNode(store, orderFor(opened, "n", 2))).toBe(row.exit);
      const finished = JSON.parse(
        (await store.view(opened.uid, [{ node: "n" }])).items[0]?.finished ?? "null",
      ) as Finished;
      expect(finished.error?.class).toBe(row.error?.class);
      expect(finished.error?.message ?? "").toMatch(row.error?.message ?? /^$/);
      expect(server.seen.length).toBe(row.calls);
      expect(new Set(server.seen.map((call) => call.key)).size).toBe(1);
    },
  );
});

describe("policies before the call", () => {
  it("refuse a denied model: no request leaves, the step is Refused, the run is Violated", async () => {
    const server = await model({ rules: [{ reply: { text: "never" } }] });
    const { exit, execution, entries } = await run(
      agentNode(server.baseURL),
      openPolicy({ rules: [rules({ models: { deny: ["openai/*"] } })] }),
    );
    expect(exit).toBe("failed");
    expect(server.calls().length).toBe(0);
    expect(entries.flatMap((entry) => (entry.type === "violation" ? [entry.path] : []))).toEqual(["spec.models.deny"]);
    expect(execution?.control.message).toBe(
      "PolicyViolation: Model Denied: openai/mock (policy standard, spec.models.deny)",
    );
    expect(stepsOf(entries)[0]?.outcome).toBe("Refused");
  });

  it("refuse a tool that is not allowed, and Audit only records it", async () => {
    const server = await toolServer(() => ({ status: 200, body: { ok: true } }));
    const denied = await run(toolNode(server.url), openPolicy({ rules: [rules({ tools: { allow: ["other"] } })] }));
    expect(denied.exit).toBe("failed");
    expect(server.seen.length).toBe(0);
    const audited = await run(
      toolNode(server.url),
      openPolicy({ rules: [rules({ enforcement: "Audit", tools: { allow: ["other"] } })] }),
    );
    expect(audited.exit).toBe("done");
    expect(audited.entries.filter((entry) => entry.type === "violation").length).toBe(1);
    expect(audited.finished).toMatchObject({
      audited: [expect.stringMatching(/^PolicyViolation: Tool Not Allowed: call is not in the allow list/)],
    });
    expect(audited.execution?.control.state).toBe("Running");
  });

  it("stop a loop: the same call more often than sameCall", async () => {
    const tool = await toolServer(() => ({ status: 200, body: { ok: true } }));
    const server = await model({ rules: [{ reply: { toolCalls: [{ name: "call", arguments: { same: true } }] } }] });
    const spec = agentNode(server.baseURL, toolNode(tool.url).tools ?? []);
    const { exit, execution } = await run(spec, openPolicy({ sameCall: { limit: 3, enforcement: "Enforce" } }));
    expect(exit).toBe("failed");
    expect(tool.seen.length).toBe(3);
    expect(execution?.control.message).toMatch(
      /^PolicyViolation: Loop Detected: node n made the same tool call \(call\) 4 times, limit 3/,
    );
  });

  it("stop at maxSteps", async () => {
    const tool = await toolServer((count) => ({ status: 200, body: { count } }));
    const server = await model({ rules: [{ reply: { toolCalls: [{ name: "call", arguments: {} }] } }] });
    const spec = agentNode(server.baseURL, toolNode(tool.url).tools ?? []);
    const { exit, execution } = await run(
      spec,
      openPolicy({ limits: { execution: { Steps: 5 }, node: {}, call: {} } }),
    );
    expect(exit).toBe("failed");
    expect(execution?.account.settled.Steps).toBe(5);
    expect(execution?.control.message).toMatch(/^PolicyViolation: Max Steps Exceeded/);
  });
});

describe("what is recorded", () => {
  it("holds neither redacted paths nor secret values, and neither does what the agent sees", async () => {
    const tool = await toolServer(() => ({
      status: 200,
      body: { user: { password: "hunter2!", name: "Ann" }, echo: "the key is s3cr3t-value" },
    }));
    const server = await model({
      rules: [
        { match: { turn: 0 }, reply: { toolCalls: [{ name: "call", arguments: {} }] } },
        { reply: { text: "$LAST_TOOL_RESULT" } },
      ],
    });
    const store = new MemoryStore({ nowMs: () => Date.now() });
    const opened = await openTestRun(
      store,
      agentNode(server.baseURL, toolNode(tool.url).tools ?? []),
      openPolicy({ recording: { content: "Full", redact: ["$.user.password"], maxBodyBytes: 1_000_000 } }),
    );
    const logged: string[] = [];
    const exit = await attemptNode(store, orderFor(opened, "n", 1), {
      mask: (text) => text.replaceAll("s3cr3t-value", "[secret]"),
      log: (_level, message, fields) => logged.push(JSON.stringify([message, fields])),
    });
    expect(exit).toBe("done");
    const everything =
      JSON.stringify(store.snapshotOf(opened.uid), (_key, value: unknown) =>
        value instanceof Map ? [...value] : value,
      ) + logged.join("");
    expect(everything).not.toContain("hunter2!");
    expect(everything).not.toContain("s3cr3t-value");
    expect(everything).toContain("[REDACTED]");
    expect(everything).toContain("Ann");
  });
});

describe("control", () => {
  it("Cancelled cuts a running stream and no call begins after it", async () => {
    const server = await model({ rules: [{ reply: { tokens: 100_000, tokensPerSecond: 500 } }] });
    const store = new MemoryStore({ nowMs: () => Date.now() });
    const opened = await openTestRun(store, agentNode(server.baseURL));
    const first = attemptNode(store, orderFor(opened, "n", 1));
    await server.waitForCall((call) => call.tokens > 20);
    await store.execute(opened.uid, { op: "control", to: "Cancelled", message: "cancelled by a test" });
    expect(await first).toBe("stopped");
    expect((await server.waitForCall((call) => call.outcome !== "open")).outcome).toBe("clientClosed");
    expect(await attemptNode(store, orderFor(opened, "n", 2))).toBe("stopped");
    expect(server.calls().length).toBe(1);
  });

  it("Suspended lets a short call end, refuses the next, and Running resumes without asking again", async () => {
    const tool = await toolServer(() => ({ status: 200, body: { ok: true } }));
    const server = await model({
      rules: [
        { match: { turn: 0 }, reply: { toolCalls: [{ name: "call", arguments: {} }], firstTokenDelayMs: 50 } },
        { reply: { text: "end" } },
      ],
    });
    const store = new MemoryStore({ nowMs: () => Date.now() });
    const opened = await openTestRun(store, agentNode(server.baseURL, toolNode(tool.url).tools ?? []));
    const first = attemptNode(store, orderFor(opened, "n", 1));
    await server.waitForCall(() => true);
    await store.execute(opened.uid, { op: "control", to: "Suspended", message: "suspended by a test" });
    expect(await first).toBe("stopped");
    expect(tool.seen.length).toBe(0);
    await store.execute(opened.uid, { op: "control", to: "Running", message: "" });
    expect(await attemptNode(store, orderFor(opened, "n", 2))).toBe("done");
    expect(server.calls().length).toBe(2);
    expect((await store.view(opened.uid, [])).execution?.account.lost.TotalTokens).toBe(0);
  });
});
