/** Replays as a cluster makes them: applied as Executions that name another, run in worker processes with users of their own in Redis. */
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { secretName } from "../../../src/adapters/kube/names.ts";
import { resourcePath, resources } from "../../../src/adapters/kube/resources.ts";
import type { KubeExecution } from "../../../src/adapters/kube/stored.ts";
import { runKeys } from "../../../src/adapters/store/redis/keys.ts";
import { script as storeScript } from "../../../src/adapters/store/redis/scripts.ts";
import { sample } from "../../cli/harness.ts";
import { countCalls, type CountingProxy } from "../../support/counting-proxy.ts";
import { eventually } from "../../support/patience.ts";
import { type Gate, gateBefore } from "./gate.ts";
import { ended, type Field, openField } from "./harness.ts";

/** Two branches at once, calls of a tool side by side, a call that fails at first, a forEach, a node that is skipped, a last answer. */
const script = `
defaults: { tokensPerSecond: 0 }
rules:
  - match: { prompt: demand, turn: 0, times: 1 }
    reply: { status: 503 }
  - match: { system: researcher, turn: 0 }
    reply:
      toolCalls:
        - { name: search, arguments: { q: "$PROMPT, now" } }
        - { name: search, arguments: { q: "$PROMPT, next year" } }
  - match: { prompt: demand }
    reply: { structured: { facts: [Orders grew by 14 percent., A plant pays for itself in four years.] } }
  - match: { prompt: rivals }
    reply: { structured: { facts: [Three makers hold half of the market.] } }
  - match: { system: slow writer }
    reply: { tokens: 400, tokensPerSecond: 40 }
  - match: { system: writer }
    reply: { text: "A brief. It was asked: $PROMPT" }
`;

let field: Field;
let model: CountingProxy;
let catalogue: CountingProxy;
let modelGate: Gate;
let toolGate: Gate;
let parent: KubeExecution;

const path = (name?: string) =>
  resourcePath(resources.executions, { namespace: field.namespace, ...(name === undefined ? {} : { name }) });
const create = async (name: string, spec: object) => {
  const body = { apiVersion: "oao.dev/v1alpha1", kind: "Execution", metadata: { name }, spec };
  return field.admin.request<KubeExecution>({ method: "POST", path: path(), body });
};
const condition = (run: KubeExecution, type: string) => run.status?.conditions.find((each) => each.type === type);
const calls = () => [model.calls.length, catalogue.calls.length];

function parentSpec() {
  return {
    task: "A brief on $(input.topic)",
    input: { topic: "heat pumps" },
    policyRef: { name: "replays" },
    models: [{ name: "main", provider: "openai", model: "gpt-5-mini", baseURL: modelGate.url }],
    tools: [
      {
        name: "search",
        effect: "ReadOnly",
        http: { method: "GET", url: toolGate.url, query: ["q"], inputSchema: { type: "object" } },
      },
      { name: "score", effect: "ReadOnly", module: { path: "tools/facts.mjs", export: "score" } },
    ],
    agents: [
      {
        name: "researcher",
        model: "main",
        systemPrompt: "You are a researcher.",
        tools: ["search"],
        outputSchema: {
          type: "object",
          required: ["facts"],
          properties: { facts: { type: "array", items: { type: "string" } } },
        },
      },
      writer("You are a writer."),
    ],
    nodes: [
      { name: "demand", agent: { ref: "researcher", prompt: "demand for $(input.topic)" } },
      { name: "rivals", agent: { ref: "researcher", prompt: "rivals in $(input.topic)" } },
      {
        name: "rate",
        dependsOn: ["demand", "rivals"],
        forEach: { items: "nodes.demand.output.facts + nodes.rivals.output.facts", maxParallel: 2 },
        tool: { ref: "score", arguments: { fact: "$(item)" } },
      },
      { name: "never", dependsOn: ["rate"], when: "size(nodes.rate.output) > 9", tool: { ref: "score" } },
      { name: "write", dependsOn: ["rate"], agent: { ref: "writer", prompt: "Write on $(nodes.rate.output)" } },
    ],
  };
}
const writer = (systemPrompt: string) => ({ name: "writer", model: "main", systemPrompt });

beforeAll(async () => {
  field = await openField();
  model = await countCalls(await field.script("replays.yaml", script));
  catalogue = await countCalls(await field.place.serve([sample("catalog.mjs"), "0"]));
  [modelGate, toolGate] = [await gateBefore(model.url), await gateBefore(catalogue.url)];
  await field.startOperator();
  const body = {
    apiVersion: "oao.dev/v1alpha1",
    kind: "GovernancePolicy",
    metadata: { name: "replays" },
    spec: {
      retry: { maxRetries: 3, retryDelaySeconds: 0 },
      tools: { hosts: [{ host: "127.0.0.1:*" }], modules: ["tools/*"] },
      // As many at once as this machine has room for: the others are Queued.
      limits: { maxConcurrentExecutions: 4 },
    },
  };
  const policies = resourcePath(resources.policies, { namespace: field.namespace });
  await field.admin.request({ method: "POST", path: policies, body });
  await create("parent", parentSpec());
  parent = await field.until("parent", ended);
});
afterAll(async () => {
  await Promise.all([modelGate, toolGate, model, catalogue].map((each) => each.close()));
  await field.end();
});

test("the parent of these tests went through what they are about", () => {
  expect(parent.status).toMatchObject({ phase: "Succeeded", progress: "5/5" });
  // Two branches with two answers each, one asked twice; the brief.
  expect(calls()).toEqual([6, 4]);
});

test("a hundred Strict replays make a hundred times the same trace, with no connection to a model or a tool", async () => {
  modelGate.shut();
  toolGate.shut();
  const names = Array.from({ length: 100 }, (_, place) => `strict-${place}`);
  for (const name of names) await create(name, { replay: { executionRef: { name: "parent" } } });
  const hashes = new Set<string | undefined>();
  for (const name of names) {
    const run = await field.until(name, ended);
    expect(condition(run, "ReplayVerified"), name).toMatchObject({ status: "True" });
    expect(run.status, name).toMatchObject({
      phase: "Succeeded",
      usage: { modelCalls: 0, toolCalls: 0, totalTokens: 0 },
    });
    hashes.add(run.status?.traceHash);
  }
  expect([...hashes]).toEqual([parent.status?.traceHash]);
  expect(modelGate.refused + toolGate.refused).toBe(0);
  modelGate.open();
  toolGate.open();
});

describe("a Fork", () => {
  test("asks for what comes after its cursor, is charged for that alone, and reads its parent's journal with a user of its own that cannot write it", async () => {
    const before = calls();
    const replay = { executionRef: { name: "parent", uid: parent.metadata.uid }, from: { node: "write", step: 1 } };
    await create("fork", { replay, agents: [parentSpec().agents[0], writer("You are a slow writer.")] });
    const run = await field.untilAtWork("fork", "write");
    const { uid } = run.metadata;
    const secret = await field.admin.request<{ data: { password: string } }>({
      path: resourcePath(resources.secrets, { namespace: field.namespace, name: secretName(uid) }),
    });
    const redis = new Redis({
      host: "127.0.0.1",
      port: field.redis.port,
      username: `oao-${uid}`,
      password: Buffer.from(secret.data.password, "base64").toString(),
      enableReadyCheck: false,
    });
    const kept = runKeys(parent.metadata.uid);
    const unrelated = runKeys((await field.get("strict-0")).metadata.uid);
    expect(await redis.lrange(kept.entries({ node: "demand" }), 0, -1)).not.toEqual([]);
    const view = [storeScript("view").sha, "1"] as const;
    expect(await redis.evalsha_ro(...view, kept.item({ node: "demand" }))).toMatchObject([
      expect.arrayContaining(["fin"]),
    ]);
    for (const [command, ...args] of [
      ["RPUSH", kept.entries({ node: "demand" }), "{}"],
      ["DEL", kept.entries({ node: "demand" })],
      ["HSET", kept.bodies, "x", "y"],
      ["EXPIRE", kept.execution, "1"],
      ["HGETALL", unrelated.execution],
      ["EVALSHA", ...view, kept.item({ node: "demand" })],
      ["EVALSHA_RO", ...view, unrelated.item({ node: "demand" })],
    ] as const)
      await expect(redis.call(command, ...args), command).rejects.toThrow(/NOPERM/);
    redis.disconnect();
    const last = await field.until("fork", ended);
    expect(last.status).toMatchObject({
      phase: "Succeeded",
      progress: "5/5",
      replay: { mode: "Fork", parentUID: parent.metadata.uid, liveSteps: 1 },
      usage: { modelCalls: 1, toolCalls: 0 },
    });
    expect(calls()).toEqual([(before[0] ?? 0) + 1, before[1]]);
    // Of what it takes over it stores nothing.
    for (const node of ["demand", "rivals"])
      expect(await field.redis.command("EXISTS", runKeys(uid).item({ node }))).toMatch(/:0/);
  });

  test("of a fork goes on from inside a node that this one took over itself", async () => {
    await create("deeper", { replay: { executionRef: { name: "fork" }, from: { node: "demand", step: 4 } } });
    const run = await field.until("deeper", ended);
    // Both rivals' answers and searches, three steps of demand, and the scores.
    expect(run.status).toMatchObject({
      phase: "Succeeded",
      replay: { mode: "Fork", liveSteps: 2 },
      usage: { modelCalls: 2, toolCalls: 0 },
    });
    expect(run.status?.steps).toBe((await field.get("fork")).status?.steps);
  });

  test("and what it is made of outlive their parent: it is replayed after that one is deleted", async () => {
    await field.admin.request({ method: "DELETE", path: path("parent") });
    await eventually(() => expect(field.get("parent")).rejects.toThrow("not found"));
    modelGate.shut();
    toolGate.shut();
    await create("again", { replay: { executionRef: { name: "fork" } } });
    const run = await field.until("again", ended);
    expect(condition(run, "ReplayVerified")).toMatchObject({ status: "True" });
    expect(run.status?.traceHash).toBe((await field.get("fork")).status?.traceHash);
    expect(modelGate.refused + toolGate.refused).toBe(0);
    modelGate.open();
    toolGate.open();
  });
});

test("a replay that cannot be made is Failed at once, and says why and what would do", async () => {
  await create("runs-on", { ...parentSpec(), agents: [parentSpec().agents[0], writer("You are a slow writer.")] });
  await field.untilAtWork("runs-on", "demand");
  const refused: readonly (readonly [string, object, RegExp])[] = [
    ["no-parent", { executionRef: { name: "nobody" } }, /nobody/],
    ["other-parent", { executionRef: { name: "fork", uid: "another" } }, /uid/],
    ["too-soon", { executionRef: { name: "runs-on" } }, /has not ended|still/],
    ["changed", { executionRef: { name: "fork" }, mode: "Strict" }, /agents/],
    ["out-of-range", { executionRef: { name: "fork" }, fromStep: 999 }, /999.*\b1\b.*\d/s],
  ];
  for (const [name, replay] of refused)
    await create(name, { replay, ...(name === "changed" ? { agents: parentSpec().agents } : {}) });
  for (const [name, , why] of refused) {
    const run = await field.until(name, (each) => each.status?.completedAt !== undefined);
    expect(condition(run, "Succeeded"), name).toMatchObject({ status: "False", reason: "ReplayRefused" });
    expect(condition(run, "Succeeded")?.message, name).toMatch(why);
  }
  await field.patch("runs-on", { spec: { desiredState: "Cancelled" } });
});
