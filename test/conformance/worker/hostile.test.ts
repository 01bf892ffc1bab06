/** Hostile and unlucky surroundings: sizes, figures, texts, clocks and stores that lie, hang or break off. */
import { afterEach, describe, expect, it } from "vitest";
import { MemoryStore } from "../../../src/adapters/store/memory/memory-store.ts";
import type { ExecutionSpec } from "../../../src/api/execution.ts";
import type { ToolSpec } from "../../../src/api/tool.ts";
import { type MockModel, startMockModel } from "../../../src/cli/mock-model/server.ts";
import type { MockScriptInput } from "../../../src/cli/mock-model/script.ts";
import type { Command, Reply } from "../../../src/core/protocol/types.ts";
import type { EffectivePolicy } from "../../../src/core/policy/types.ts";
import type { Finished } from "../../../src/core/steps/format.ts";
import { CallFailure } from "../../../src/ports/step.ts";
import type { JournalStore } from "../../../src/ports/store.ts";
import type { AttemptIo } from "../../../src/worker/attempt.ts";
import type { Tool } from "../../../src/ports/tool.ts";
import { openPolicy } from "../../support/policies.ts";
import { attemptNode, journalOf, openTestRun, orderFor, stepsOf, type TestRun } from "../../support/run-worker.ts";

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function model(script: MockScriptInput): Promise<MockModel> {
  const server = await startMockModel({ script });
  closing.push(() => server.close());
  return server;
}

const probe = (name: string, changes: Partial<ToolSpec> = {}): ToolSpec => ({
  name,
  effect: "Idempotent",
  module: { path: "test/conformance/worker/tools/probe.mjs", export: name },
  ...changes,
});
const toolNode = (tool: ToolSpec, args: Record<string, unknown> = {}): ExecutionSpec => ({
  task: "t",
  tools: [tool],
  nodes: [{ name: "n", tool: { ref: tool.name, arguments: args } }],
});
const agentNode = (baseURL: string, tools: ToolSpec[] = []): ExecutionSpec => ({
  task: "t",
  models: [{ name: "m", provider: "openai", model: "mock", baseURL }],
  tools,
  agents: [{ name: "a", model: "m", tools: tools.map((tool) => tool.name) }],
  nodes: [{ name: "n", agent: { ref: "a", prompt: "Go" } }],
});

const newStore = () => new MemoryStore({ nowMs: () => Date.now() });

async function endOf(store: JournalStore, opened: TestRun) {
  const { execution, items } = await store.view(opened.uid, [{ node: "n" }]);
  return {
    execution,
    finished: JSON.parse(items[0]?.finished ?? "null") as Finished | null,
    entries: await journalOf(store, opened.uid, "n"),
  };
}

async function run(spec: ExecutionSpec, policy: EffectivePolicy = openPolicy(), io: Partial<AttemptIo> = {}) {
  const store = newStore();
  const opened = await openTestRun(store, spec, policy);
  const exit = await attemptNode(store, orderFor(opened, "n", 1), io);
  return { exit, ...(await endOf(store, opened)) };
}

/** Hands every command to `intercept`, which passes it on or does not. */
function intercepted(
  inner: JournalStore,
  intercept: (command: Command, pass: () => Promise<Reply>) => Promise<Reply>,
): JournalStore {
  return new Proxy(inner, {
    get: (target, name) => {
      if (name === "execute")
        return (uid: string, command: Command) => intercept(command, () => inner.execute(uid, command));
      const member: unknown = Reflect.get(target, name);
      return typeof member === "function" ? member.bind(target) : member;
    },
  });
}

describe("an answer of a model", () => {
  it("larger than recording.maxBodyBytes is refused while it streams, whether a budget limits it or not", async () => {
    const server = await model({ rules: [{ reply: { tokens: 1_000_000, ignoreMaxTokens: true } }] });
    const { exit, finished, entries } = await run(
      agentNode(server.baseURL),
      openPolicy({ recording: { content: "Full", redact: [], maxBodyBytes: 20_000 } }),
    );
    expect(exit).toBe("failed");
    expect(finished?.error).toEqual({
      class: "InvalidAnswer",
      message: expect.stringContaining("recording.maxBodyBytes") as unknown,
    });
    expect(stepsOf(entries).map((step) => step.outcome)).toEqual(["Error"]);
    const call = await server.waitForCall((candidate) => candidate.outcome !== "open");
    expect(call.outcome).toBe("clientClosed");
  });

  it("with impossible figures of usage is charged within what numbers can carry, again and again", async () => {
    const usage = { inputTokens: Number.MAX_SAFE_INTEGER, outputTokens: Number.MAX_SAFE_INTEGER };
    const server = await model({
      rules: [
        { match: { turn: 0 }, reply: { toolCalls: [{ name: "echo", arguments: { n: 1 } }], usage } },
        { reply: { text: "fine", usage } },
      ],
    });
    const { exit, execution } = await run(agentNode(server.baseURL, [probe("echo")]));
    expect(exit).toBe("done");
    expect(Number.isSafeInteger(execution?.account.overshoot.TotalTokens)).toBe(true);
    expect(execution?.account.overshoot.TotalTokens).toBeGreaterThan(1_000_000_000);
  });

  it("cut at the cap that a budget put on the provider names that budget and is charged as reported", async () => {
    const server = await model({ rules: [{ reply: { tokens: 1_000_000 } }] });
    const policy = openPolicy({
      limits: { execution: { OutputTokens: 500 }, node: {}, call: {} },
      limitNames: { "Execution/OutputTokens": "standard/out" },
    });
    const { exit, execution, entries } = await run(agentNode(server.baseURL), policy);
    expect(exit).toBe("failed");
    expect(execution?.control.message).toContain("standard/out (Execution OutputTokens), limit 500");
    expect(execution?.control.message).not.toContain("Call");
    const [step] = stepsOf(entries);
    expect(step?.usage?.reported?.output).toBeGreaterThan(0);
    expect(execution?.account.settled.OutputTokens).toBeLessThanOrEqual(500);
  });
});

describe("an answer of a tool", () => {
  it.each([198, 199, 200, 201])(
    "nested %i deep is recorded or refused as the tool's failure, never the worker's",
    async (levels) => {
      const { exit, finished, entries, execution } = await run(toolNode(probe("deep"), { levels }));
      expect(exit === "done" ? "Succeeded" : finished?.error?.class).toBe(
        exit === "done" ? finished?.outcome : "ToolFailure",
      );
      expect(stepsOf(entries).length).toBe(1);
      expect(execution?.account.reserved.Steps).toBe(0);
      expect(execution?.account.lost.TotalTokens).toBe(0);
    },
  );

  it("that is a failure with a text UTF-8 cannot carry still ends the node for good", async () => {
    for (const thrown of [new CallFailure("ToolFailure", "half \ud800"), new Error("half \ud800")]) {
      const spec = toolNode(probe("echo"));
      const tool = { spec: spec.tools?.[0] as ToolSpec, digest: "sha256:0", invoke: () => Promise.reject(thrown) };
      const { exit, finished } = await run(spec, openPolicy(), { createTools: async () => new Map([["echo", tool]]) });
      expect(exit).toBe("failed");
      expect(finished?.error?.message).toMatch(/^half/);
    }
  });
});

describe("recorded values of a tool", () => {
  it("are still given while a suspension lets its call end, so that no NonIdempotent call is left in doubt", async () => {
    const inner = newStore();
    const opened = await openTestRun(
      inner,
      toolNode(probe("flaky", { effect: "NonIdempotent" }), { run: crypto.randomUUID(), failures: 0 }),
    );
    let begun = 0;
    const store = intercepted(inner, async (command, pass) => {
      const isValue = command.op === "begin" && (begun += 1) === 2;
      if (isValue) await inner.execute(opened.uid, { op: "control", to: "Suspended", message: "suspended" });
      return pass();
    });
    const first = await attemptNode(store, orderFor(opened, "n", 1), { suspendGraceMs: 600_000 });
    await inner.execute(opened.uid, { op: "control", to: "Running", message: "" });
    expect([first, await attemptNode(inner, orderFor(opened, "n", 2))]).toEqual(["done", "done"]);
  });

  it("are the same in every try of its call, as they are on a resume", async () => {
    const policy = openPolicy({ retry: { ...openPolicy().retry, retryOn: ["ToolFailure"] } });
    const { exit, entries, finished } = await run(
      toolNode(probe("flaky"), { run: crypto.randomUUID(), failures: 2 }),
      policy,
    );
    expect(finished?.error).toBeNull();
    expect(exit).toBe("done");
    expect(entries.filter((entry) => entry.type === "repeat").length).toBe(2);
    expect(stepsOf(entries).map((step) => step.kind)).toEqual(["value", "tool"]);
  });

  it("beyond maxSteps are a violation of the run, with the tool's step cut", async () => {
    for (const effect of ["Idempotent", "NonIdempotent"] as const) {
      const { exit, execution, entries } = await run(
        toolNode(probe("greedy", { effect })),
        openPolicy({ limits: { execution: { Steps: 4 }, node: {}, call: {} } }),
      );
      expect(exit).toBe("failed");
      expect(execution?.control.state).toBe("Violated");
      expect(execution?.control.message).toMatch(/^PolicyViolation: Max Steps Exceeded/);
      expect(stepsOf(entries).map((step) => `${step.kind} ${step.outcome}`)).toEqual([
        "value Ok",
        "value Ok",
        "value Ok",
        "tool Cut",
      ]);
    }
  });
});

describe("the journal", () => {
  it("ends with finish, though siblings of the call that broke the policy were in flight and do not listen", async () => {
    const toolCalls = ["stubborn", "greedy", "echo"].map((name) => ({
      name,
      arguments: name === "echo" ? { n: 1 } : {},
    }));
    const server = await model({ rules: [{ reply: { toolCalls } }] });
    const store = newStore();
    const opened = await openTestRun(
      store,
      agentNode(server.baseURL, [probe("stubborn"), probe("greedy"), probe("echo")]),
      openPolicy({ limits: { execution: { Steps: 12 }, node: {}, call: {} } }),
    );
    expect(await attemptNode(store, orderFor(opened, "n", 1))).toBe("failed");
    const { entries, execution, finished } = await endOf(store, opened);
    expect(finished?.error?.message).toMatch(/^PolicyViolation: Max Steps Exceeded/);
    expect(entries.at(-1)?.type).toBe("finish");
    expect(execution?.account.reserved.Steps).toBe(0);
    expect(
      stepsOf(entries)
        .filter((step) => step.name === "stubborn")
        .map((step) => step.outcome),
    ).toEqual(["Cut"]);
    await (globalThis as { stubborn?: Promise<unknown> }).stubborn;
    expect((await journalOf(store, opened.uid, "n")).length).toBe(entries.length);
  });

  it("begins with the start entry also when the first call is refused", async () => {
    const server = await model({ rules: [{ reply: { text: "never" } }] });
    const { exit, entries } = await run(
      agentNode(server.baseURL),
      openPolicy({ limits: { execution: { TotalTokens: 1 }, node: {}, call: {} } }),
    );
    expect(exit).toBe("failed");
    expect(entries.map((entry) => entry.type)).toEqual(["start", "violation", "step", "finish"]);
  });

  it("keeps an audit finding that came with the last reply before a stop", async () => {
    const server = await model({
      rules: [
        { match: { turn: 0 }, reply: { toolCalls: [{ name: "echo", arguments: { n: 1 } }], firstTokenDelayMs: 50 } },
        { reply: { text: "end" } },
      ],
    });
    const store = newStore();
    const opened = await openTestRun(
      store,
      agentNode(server.baseURL, [probe("echo")]),
      openPolicy({ auditLimits: { execution: { TotalTokens: 5 }, node: {}, call: {} } }),
    );
    const first = attemptNode(store, orderFor(opened, "n", 1), { suspendGraceMs: 60_000 });
    await server.waitForCall(() => true);
    await store.execute(opened.uid, { op: "control", to: "Suspended", message: "suspended by a test" });
    expect(await first).toBe("stopped");
    const { entries } = await endOf(store, opened);
    expect(entries.filter((entry) => entry.type === "violation" && entry.enforcement === "Audit").length).toBe(1);
  });

  it("holds a finding when one call passes an audit limit of scope Call, and the call goes on", async () => {
    const server = await model({ rules: [{ reply: { tokens: 200 } }] });
    const { exit, entries } = await run(
      agentNode(server.baseURL),
      openPolicy({ auditLimits: { execution: {}, node: {}, call: { OutputTokens: 100 } } }),
    );
    expect(exit).toBe("done");
    const found = entries.filter((entry) => entry.type === "violation");
    expect(found.map((entry) => entry.type === "violation" && [entry.enforcement, entry.path])).toEqual([
      ["Audit", "Call/OutputTokens"],
    ]);
  });
});

describe("a node whose tools cannot be made", () => {
  it("fails with the reason instead of being restarted", async () => {
    const missing = await run(
      toolNode(probe("echo", { module: { path: "test/conformance/worker/tools/absent.mjs" } })),
    );
    expect(missing.exit).toBe("failed");
    expect(missing.finished?.error?.class).toBe("InvalidSpec");
    const secret: ToolSpec = {
      name: "call",
      effect: "ReadOnly",
      http: {
        method: "GET",
        url: "http://127.0.0.1:1/x",
        headers: [{ name: "x-key", secretKeyRef: { name: "crm", key: "token" } }],
      },
    };
    const unset = await run(toolNode(secret));
    expect(unset.exit).toBe("failed");
    expect(unset.finished?.error?.class).toBe("MissingSecret");
    expect(unset.entries.map((entry) => entry.type)).toEqual(["start", "finish"]);
  });

  it("or changed since the last attempt, too", async () => {
    const spec = toolNode(probe("echo"), { n: 1 });
    const store = newStore();
    const opened = await openTestRun(store, spec);
    const made = (digest: string, invoke: Tool["invoke"]) => ({
      createTools: async () => new Map([["echo", { spec: spec.tools?.[0] as ToolSpec, digest, invoke }]]),
    });
    const terminate = new AbortController();
    const cut: Tool["invoke"] = (_args, { signal }) =>
      new Promise((_, reject) => {
        signal.addEventListener("abort", () => reject(new CallFailure("ToolFailure", "stopped")));
        terminate.abort("killed");
      });
    expect(
      await attemptNode(store, orderFor(opened, "n", 1), { ...made("sha256:a", cut), terminate: terminate.signal }),
    ).toBe("stopped");
    expect(
      await attemptNode(
        store,
        orderFor(opened, "n", 2),
        made("sha256:b", async () => 1),
      ),
    ).toBe("failed");
    expect((await endOf(store, opened)).finished?.error).toEqual({
      class: "SnapshotMismatch",
      message: expect.stringContaining("tool echo changed") as unknown,
    });
  });
});

describe("a later attempt", () => {
  const killedOnce = async () => {
    const spec = toolNode(probe("echo"), { n: 1 });
    const store = newStore();
    const opened = await openTestRun(store, spec);
    const terminate = new AbortController();
    const invoke: Tool["invoke"] = (_args, { signal }) =>
      new Promise((_, reject) => {
        signal.addEventListener("abort", () => reject(new CallFailure("ToolFailure", "stopped")));
        terminate.abort("killed");
      });
    const createTools = async () =>
      new Map([["echo", { spec: spec.tools?.[0] as ToolSpec, digest: "sha256:a", invoke }]]);
    const first = { createTools, terminate: terminate.signal, build: "sha256:one", version: "1.0.0" };
    expect(await attemptNode(store, orderFor(opened, "n", 1), first)).toBe("stopped");
    const again = (changes: { build: string; version: string }) =>
      attemptNode(store, orderFor(opened, "n", 2), {
        ...changes,
        createTools: async () =>
          new Map([["echo", { spec: spec.tools?.[0] as ToolSpec, digest: "sha256:a", invoke: async () => 1 }]]),
      });
    return { store, opened, again };
  };

  it("of another build of OAO refuses to go on: what the journal holds was made by another program", async () => {
    const { store, opened, again } = await killedOnce();
    expect(await again({ build: "sha256:two", version: "1.1.0" })).toBe("failed");
    expect((await endOf(store, opened)).finished?.error).toEqual({
      class: "SnapshotMismatch",
      message: expect.stringContaining("another build of OAO (1.1.0, sha256:two)") as unknown,
    });
  });

  it("of the same build goes on, and both have noted which it was", async () => {
    const { store, opened, again } = await killedOnce();
    expect(await again({ build: "sha256:one", version: "1.0.0" })).toBe("done");
    const starts = (await journalOf(store, opened.uid, "n")).filter((entry) => entry.type === "start");
    expect(starts.map(({ runtime }) => runtime)).toEqual(
      [1, 2].map(() => ({ format: 1, version: "1.0.0", node: process.version, build: "sha256:one" })),
    );
  });
});

describe("a resume", () => {
  it("finds the answers of many parallel tools, in whatever order they are read", async () => {
    const calls = Array.from({ length: 150 }, (_, n) => ({ name: "echo", arguments: { n } }));
    const server = await model({
      rules: [
        { match: { turn: 0 }, reply: { toolCalls: calls } },
        { match: { turn: 1, times: 1 }, reply: { text: "late", headerDelayMs: 600_000 } },
        { reply: { text: "end" } },
      ],
    });
    const store = newStore();
    const opened = await openTestRun(store, agentNode(server.baseURL, [probe("echo")]));
    const terminate = new AbortController();
    const first = attemptNode(store, orderFor(opened, "n", 1), { terminate: terminate.signal });
    await server.waitForCall((call) => call.index === 1);
    terminate.abort("killed");
    expect(await first).toBe("stopped");
    expect(await attemptNode(store, orderFor(opened, "n", 2))).toBe("done");
    expect(server.calls().length).toBe(3);
  });

  it("hands a tool its arguments in the order in which the first attempt did (J7)", async () => {
    const told: string[] = [];
    for (const crashes of [false, true]) {
      const server = await model({
        rules: [
          { match: { turn: 0 }, reply: { toolCalls: [{ name: "order", arguments: { b: 1, a: { d: 2, c: 3 } } }] } },
          { reply: { text: "$LAST_TOOL_RESULT" } },
        ],
      });
      const inner = newStore();
      const opened = await openTestRun(inner, agentNode(server.baseURL, [probe("order")]));
      const terminate = new AbortController();
      let begun = 0;
      const store = intercepted(inner, async (command, pass) => {
        if (command.op === "begin") begun += 1;
        if (crashes && begun > 1) terminate.abort("killed");
        return pass();
      });
      const exits: string[] = [];
      if (crashes) exits.push(await attemptNode(store, orderFor(opened, "n", 1), { terminate: terminate.signal }));
      exits.push(await attemptNode(inner, orderFor(opened, "n", 2)));
      expect(exits).toEqual(crashes ? ["stopped", "done"] : ["done"]);
      const output = (await endOf(inner, opened)).finished?.output ?? "";
      told.push((await inner.bodies(opened.uid, [output])).get(output) ?? "");
    }
    expect(told[0]).toContain("c");
    expect(told[1]).toBe(told[0]);
  });

  it("of a cancelled run is stopped, not taken for a violation", async () => {
    const spec = toolNode(probe("echo"), { n: 1 });
    const store = newStore();
    const opened = await openTestRun(store, spec);
    const invoke = async () => {
      await store.execute(opened.uid, { op: "control", to: "Cancelled", message: "cancelled by a test" });
      return new Promise<never>(() => undefined);
    };
    const untilStopped = {
      spec: spec.tools?.[0] as ToolSpec,
      digest: "sha256:a",
      invoke: (_args: unknown, { signal }: { signal: AbortSignal }) =>
        Promise.race([
          invoke(),
          new Promise<never>((_, reject) =>
            signal.addEventListener("abort", () => reject(new CallFailure("ToolFailure", "stopped"))),
          ),
        ]),
    };
    const io = { createTools: async () => new Map([["echo", untilStopped]]) };
    expect(await attemptNode(store, orderFor(opened, "n", 1), io)).toBe("stopped");
    expect(stepsOf(await journalOf(store, opened.uid, "n")).map((step) => step.outcome)).toEqual(["Cut"]);
    expect(await attemptNode(store, orderFor(opened, "n", 2), io)).toBe("stopped");
    expect((await endOf(store, opened)).finished).toBeNull();
  });
});

describe("a store that hangs", () => {
  it("does not keep a worker from ending its calls before the lease runs out", async () => {
    const server = await model({ rules: [{ reply: { tokens: 1_000_000, tokensPerSecond: 200 } }] });
    const inner = newStore();
    const opened = await openTestRun(inner, agentNode(server.baseURL));
    const store = intercepted(inner, (command, pass) =>
      command.op === "heartbeat" ? new Promise<never>(() => undefined) : pass(),
    );
    expect(await attemptNode(store, orderFor(opened, "n", 1), { leaseTtlMs: 600, heartbeatIntervalMs: 100 })).toBe(
      "infrastructure",
    );
    expect((await server.waitForCall((call) => call.outcome !== "open")).outcome).toBe("clientClosed");
  });
});

describe("an end that is asked for while the store is away", () => {
  it("is a stop, not a fault of the protocol", async () => {
    const { StoreUnavailable } = await import("../../../src/ports/store-errors.ts");
    const inner = newStore();
    const opened = await openTestRun(inner, toolNode(probe("echo"), { n: 1 }));
    const terminate = new AbortController();
    const store = intercepted(inner, (command, pass) => {
      if (command.op !== "begin") return pass();
      terminate.abort("received SIGTERM");
      return Promise.reject(new StoreUnavailable("away"));
    });
    expect(await attemptNode(store, orderFor(opened, "n", 1), { terminate: terminate.signal })).toBe("stopped");
  });
});

describe("an expression that gives what UTF-8 cannot carry", () => {
  it.each(["tool", "agent"] as const)("ends a node with %s at once, as the author's mistake", async (kind) => {
    const server = await model({ rules: [{ reply: { text: "never" } }] });
    const half = "$(input.face.substring(0, 1))";
    const base = kind === "tool" ? toolNode(probe("echo"), { n: half }) : agentNode(server.baseURL);
    const [node] = base.nodes;
    if (node === undefined) throw new Error("there is no node");
    const spec: ExecutionSpec = {
      ...base,
      input: { face: "\u{1f600}" },
      nodes: [kind === "tool" ? node : { ...node, agent: { ref: "a", prompt: `Draw ${half}` } }],
    };
    const { exit, finished } = await run(spec);
    expect(exit).toBe("failed");
    expect(finished?.error?.class).not.toBe("WorkerError");
    expect(server.calls().length).toBe(0);
  });
});
