/** What the API server refuses, and in which words: every rule of the schemas, tried on the real one. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { KubeClient } from "../../src/adapters/kube/client.ts";
import { type Resource, resourcePath, resources } from "../../src/adapters/kube/resources.ts";
import { immutableFields } from "../../src/api/execution-update-rules.ts";
import { adminClient, installKinds } from "./adapter/api-server.ts";

let admin: KubeClient;
beforeAll(async () => {
  admin = adminClient();
  await installKinds(admin);
});
afterAll(() => admin.close());

const base = {
  task: "t",
  models: [{ name: "main", provider: "openai", model: "m" }],
  tools: [{ name: "look", http: { method: "GET", url: "https://x.example/" } }],
  agents: [{ name: "a", model: "main", tools: ["look"] }],
  nodes: [{ name: "n", agent: { ref: "a", prompt: "p" } }],
};
const node = (more: object) => ({ nodes: [{ name: "n", tool: { ref: "look" }, ...more }] });
const two = (...more: object[]) => ({
  nodes: more.map((each, i) => ({ name: `n${i}`, tool: { ref: "look" }, ...each })),
});
const tool = (more: object) => ({ tools: [{ name: "look", ...more }] });
const http = (more: object) => tool({ http: { method: "GET", url: "https://x.example/", ...more } });
const approval = (more: object) => ({ nodes: [{ name: "n", approval: { message: "m" }, ...more }] });
const image = (text: string) => node({ image: text });
const name64 = "x".repeat(64);
const pattern = "in body should match";

async function refusal(resource: Resource, kind: string, spec: unknown, metadata: object = {}): Promise<string> {
  const body = { apiVersion: "oao.dev/v1alpha1", kind, metadata: { name: "bad", ...metadata }, spec };
  const query = { dryRun: "All", fieldValidation: "Strict" };
  try {
    await admin.request({ method: "POST", path: resourcePath(resource, { namespace: "default" }), query, body });
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  return "it was taken";
}

const replay = (spec: object) => ({ replay: { executionRef: { name: "earlier" }, ...spec } });

/** [what, change of a good spec, field, message] */
const executions: readonly (readonly [string, object, string, string])[] = [
  ["an unknown field", { tusk: "t" }, "spec.tusk", "unknown field"],
  ["an unknown field of a node", node({ dependOn: [] }), "spec.nodes[0].dependOn", "unknown field"],
  [
    "an unknown field of an agent",
    { agents: [{ name: "a", model: "main", prompt: "p" }] },
    "spec.agents[0].prompt",
    "unknown field",
  ],
  ["no task", { task: undefined }, "spec.nodes", "task and nodes are required, unless replay names"],
  ["no nodes field", { nodes: undefined }, "spec.nodes", "task and nodes are required, unless replay names"],
  ["a replay of nothing", { replay: {} }, "spec.replay.executionRef", "Required value"],
  ["a replay of a run without a name", replay({ executionRef: {} }), "spec.replay.executionRef.name", "Required value"],
  [
    "a replay from a step and from a node",
    replay({ fromStep: 2, from: { node: "n", step: 1 } }),
    "spec.replay.from",
    "At most one",
  ],
  ["a replay from step 0", replay({ fromStep: 0 }), "spec.replay.fromStep", "greater than or equal to 1"],
  ["a Strict replay from a step", replay({ mode: "Strict", fromStep: 2 }), "spec.replay.mode", "makes no calls"],
  [
    "a Fork that is made twice",
    replay({ mode: "Fork", times: 2 }),
    "spec.replay.times",
    "times is for a Strict replay",
  ],
  ["a replay in an unknown mode", replay({ mode: "Loose" }), "spec.replay.mode", "supported values"],
  ["an empty task", { task: "" }, "spec.task", "should be at least 1 chars long"],
  ["a task as a number", { task: 3 }, "spec.task", "must be of type string"],
  ["a task that is too long", { task: "x".repeat(65_537) }, "spec.task", "may not be more than 65536 bytes"],
  ["an input that is no object", { input: "x" }, "spec.input", "must be of type object"],
  ["no nodes", { nodes: [] }, "spec.nodes", "should have at least 1 items"],
  [
    "1,001 nodes",
    { nodes: Array.from({ length: 1_001 }, (_, i) => ({ name: `n${i}`, tool: { ref: "look" } })) },
    "spec.nodes",
    "must have at most 1000 items",
  ],
  ["a node without a name", { nodes: [{ tool: { ref: "look" } }] }, "spec.nodes[0].name", "Required value"],
  ["a node name in capitals", node({ name: "N" }), "spec.nodes[0].name", pattern],
  ["a node name that is too long", node({ name: name64 }), "spec.nodes[0].name", "may not be more than 63 bytes"],
  ["a node name with a dot", node({ name: "a.b" }), "spec.nodes[0].name", pattern],
  ["two nodes of one name", two({ name: "n" }, { name: "n" }), "spec.nodes[1]", "Duplicate value"],
  [
    "a node of no kind",
    { nodes: [{ name: "n" }] },
    "spec.nodes[0]",
    "Exactly one of agent, tool and approval must be set.",
  ],
  [
    "a node of two kinds",
    node({ agent: { ref: "a", prompt: "p" } }),
    "spec.nodes[0]",
    "Exactly one of agent, tool and approval must be set.",
  ],
  [
    "an unknown agent",
    { nodes: [{ name: "n", agent: { ref: "b", prompt: "p" } }] },
    "spec.nodes",
    "Every agent.ref in nodes must name an entry of agents.",
  ],
  [
    "an unknown tool",
    node({ tool: { ref: "nope" } }),
    "spec.nodes",
    "Every tool.ref in nodes must name an entry of tools.",
  ],
  [
    "an agent without a prompt",
    { nodes: [{ name: "n", agent: { ref: "a" } }] },
    "spec.nodes[0].agent.prompt",
    "Required value",
  ],
  [
    "an unknown dependency",
    node({ dependsOn: ["x"] }),
    "spec.nodes",
    "Every name in dependsOn must be a node of nodes.",
  ],
  [
    "51 dependencies",
    two({}, { dependsOn: Array.from({ length: 51 }, (_, i) => `n${i}`) }),
    "spec.nodes[1].dependsOn",
    "must have at most 50 items",
  ],
  ["a node that depends on itself", node({ dependsOn: ["n"] }), "spec.nodes", "A node must not depend on itself."],
  ["an empty condition", node({ when: "" }), "spec.nodes[0].when", "should be at least 1 chars long"],
  ["forEach without items", node({ forEach: {} }), "spec.nodes[0].forEach.items", "Required value"],
  [
    "maxParallel 0",
    node({ forEach: { items: "[1]", maxParallel: 0 } }),
    "spec.nodes[0].forEach.maxParallel",
    "should be greater than or equal to 1",
  ],
  [
    "a timeout of 0",
    node({ timeoutSeconds: 0 }),
    "spec.nodes[0].timeoutSeconds",
    "should be greater than or equal to 1",
  ],
  ["half a second", node({ timeoutSeconds: 0.5 }), "spec.nodes[0].timeoutSeconds", "must be of type integer"],
  ["retry without maxRetries", node({ retry: {} }), "spec.nodes[0].retry.maxRetries", "Required value"],
  [
    "a retry of PolicyViolation",
    node({ retry: { maxRetries: 1, retryOn: ["PolicyViolation"] } }),
    "spec.nodes[0].retry.retryOn[0]",
    "Unsupported value",
  ],
  [
    "a budget of 0",
    node({ budget: [{ unit: "ModelCalls", limit: 0 }] }),
    "spec.nodes[0].budget[0].limit",
    "should be greater than or equal to 1",
  ],
  [
    "a budget unit that is none",
    node({ budget: [{ unit: "Dollars", limit: 1 }] }),
    "spec.nodes[0].budget[0].unit",
    "Unsupported value",
  ],
  [
    "two budgets of one unit",
    node({
      budget: [
        { unit: "ModelCalls", limit: 1 },
        { unit: "ModelCalls", limit: 2 },
      ],
    }),
    "spec.nodes[0].budget[1]",
    "Duplicate value",
  ],
  ["an image without a digest", image("registry.internal/worker:1"), "spec.nodes[0].image", pattern],
  ["an image in capitals", image(`Registry/worker@sha256:${"a".repeat(64)}`), "spec.nodes[0].image", pattern],
  [
    "memory that is no quantity",
    node({ resources: { limits: { memory: "lots" } } }),
    "spec.nodes[0].resources.limits.memory",
    pattern,
  ],
  [
    "a resource that is not ours",
    node({ resources: { limits: { "nvidia.com/gpu": "1" } } }),
    "spec.nodes[0].resources.limits.nvidia.com/gpu",
    "unknown field",
  ],
  [
    "a toleration effect that is none",
    node({ tolerations: [{ key: "a", effect: "Never" }] }),
    "spec.nodes[0].tolerations[0].effect",
    "Unsupported value",
  ],
  [
    "an approval with forEach",
    approval({ forEach: { items: "[1]" } }),
    "spec.nodes[0].approval",
    "An approval node has no forEach, retry, timeoutSeconds or budget",
  ],
  [
    "an approval with retry",
    approval({ retry: { maxRetries: 1 } }),
    "spec.nodes[0].approval",
    "An approval node has no forEach, retry, timeoutSeconds or budget",
  ],
  [
    "an approval without a message",
    { nodes: [{ name: "n", approval: {} }] },
    "spec.nodes[0].approval.message",
    "Required value",
  ],
  [
    "an approval whose silence means maybe",
    { nodes: [{ name: "n", approval: { message: "m", onTimeout: "Maybe" } }] },
    "spec.nodes[0].approval.onTimeout",
    "Unsupported value",
  ],
  [
    "an approval in finally",
    { finally: [{ name: "f", approval: { message: "m" } }] },
    "spec.finally[0].approval",
    "unknown field",
  ],
  [
    "a name in nodes and finally",
    { finally: [{ name: "n", tool: { ref: "look" } }] },
    "spec.finally",
    "A name must not be in both nodes and finally.",
  ],
  [
    "finally that depends on a main node",
    { finally: [{ name: "f", dependsOn: ["n"], tool: { ref: "look" } }] },
    "spec.finally",
    "Every name in dependsOn of finally must be a node of finally",
  ],
  [
    "runOnCancel of an agent",
    { finally: [{ name: "f", runOnCancel: true, agent: { ref: "a", prompt: "p" } }] },
    "spec.finally[0].runOnCancel",
    "runOnCancel is for tool nodes: a cancelled run makes no model calls.",
  ],
  ["runOnCancel of a main node", node({ runOnCancel: true }), "spec.nodes[0].runOnCancel", "unknown field"],
  ["a tool of no kind", tool({}), "spec.tools[0]", "Exactly one of http and module must be set."],
  [
    "a tool of two kinds",
    tool({ http: { method: "GET", url: "https://x/" }, module: { path: "a.js" } }),
    "spec.tools[0]",
    "Exactly one of http and module must be set.",
  ],
  [
    "a module of no source",
    tool({ module: {} }),
    "spec.tools[0].module",
    "Exactly one of path and configMapRef must be set.",
  ],
  [
    "a module of two sources",
    tool({ module: { path: "a.js", configMapRef: { name: "m", key: "a.js" } } }),
    "spec.tools[0].module",
    "Exactly one of path and configMapRef must be set.",
  ],
  [
    "a module key that is no ESM file",
    tool({ module: { configMapRef: { name: "m", key: "a.txt" } } }),
    "spec.tools[0].module.configMapRef.key",
    pattern,
  ],
  [
    "a reserved tool name",
    {
      ...tool({}),
      tools: [{ name: "extract-1", http: { method: "GET", url: "https://x/" } }],
      ...node({ tool: { ref: "extract-1" } }),
    },
    "spec.tools[0].name",
    "A tool's name must not begin with extract-.",
  ],
  [
    "a tool name with a dot",
    { tools: [{ name: "a.b", http: { method: "GET", url: "https://x/" } }] },
    "spec.tools[0].name",
    pattern,
  ],
  ["a method that is none", http({ method: "FETCH" }), "spec.tools[0].http.method", "Unsupported value"],
  ["a tool without a URL", tool({ http: { method: "GET" } }), "spec.tools[0].http.url", "Required value"],
  [
    "a header with value and secret",
    http({ headers: [{ name: "x", value: "v", secretKeyRef: { name: "s", key: "k" } }] }),
    "spec.tools[0].http.headers[0]",
    "Exactly one of value and secretKeyRef must be set.",
  ],
  [
    "a header with neither",
    http({ headers: [{ name: "x" }] }),
    "spec.tools[0].http.headers[0]",
    "Exactly one of value and secretKeyRef must be set.",
  ],
  [
    "a header with a space in its name",
    http({ headers: [{ name: "a b", value: "v" }] }),
    "spec.tools[0].http.headers[0].name",
    pattern,
  ],
  [
    "two headers of one name",
    http({
      headers: [
        { name: "x", value: "1" },
        { name: "x", value: "2" },
      ],
    }),
    "spec.tools[0].http.headers[1]",
    "Duplicate value",
  ],
  [
    "an effect that is none",
    tool({ effect: "Harmless", http: { method: "GET", url: "https://x/" } }),
    "spec.tools[0].effect",
    "Unsupported value",
  ],
  [
    "an agent with an unknown model",
    { agents: [{ name: "a", model: "other" }] },
    "spec.agents",
    "Every agent's model must name an entry of models.",
  ],
  [
    "an agent with an unknown tool",
    { agents: [{ name: "a", model: "main", tools: ["nope"] }] },
    "spec.agents",
    "Every name in an agent's tools must name an entry of tools.",
  ],
  [
    "an agent with a tool twice",
    { agents: [{ name: "a", model: "main", tools: ["look", "look"] }] },
    "spec.agents[0].tools[1]",
    "Duplicate value",
  ],
  ["two models of one name", { models: [base.models[0], base.models[0]] }, "spec.models[1]", "Duplicate value"],
  [
    "a model without a provider",
    { models: [{ name: "main", model: "m" }] },
    "spec.models[0].provider",
    "Required value",
  ],
  [
    "maxIterations 0",
    { agents: [{ name: "a", model: "main", maxIterations: 0 }] },
    "spec.agents[0].maxIterations",
    "should be greater than or equal to 1",
  ],
  ["parallelism 0", { parallelism: 0 }, "spec.parallelism", "should be greater than or equal to 1"],
  [
    "a deadline of a year and a second",
    { activeDeadlineSeconds: 31_536_001 },
    "spec.activeDeadlineSeconds",
    "should be less than or equal to 31536000",
  ],
  ["a desired state that is none", { desiredState: "Paused" }, "spec.desiredState", "Unsupported value"],
  [
    "a retention of a second",
    { journalRetentionSeconds: 1 },
    "spec.journalRetentionSeconds",
    "should be greater than or equal to 60",
  ],
  [
    "a negative ttl",
    { ttlSecondsAfterFinished: -1 },
    "spec.ttlSecondsAfterFinished",
    "should be greater than or equal to 0",
  ],
  ["a policyRef without a name", { policyRef: {} }, "spec.policyRef.name", "Required value"],
];

const policies: readonly (readonly [string, object, string, string])[] = [
  ["no rule at all", {}, "spec", "A policy must hold at least one rule."],
  ["only an enforcement", { enforcement: "Audit" }, "spec", "A policy must hold at least one rule."],
  ["a misspelt rule", { models: { alow: ["*"] } }, "spec.models.alow", "unknown field"],
  ["an enforcement that is none", { enforcement: "Warn", maxTokens: 1 }, "spec.enforcement", "Unsupported value"],
  ["no tokens at all", { maxTokens: 0 }, "spec.maxTokens", "should be greater than or equal to 1"],
  [
    "two budgets of one name",
    { budgets: [1, 2].map((limit) => ({ name: "b", scope: "Node", unit: "ModelCalls", limit })) },
    "spec.budgets[1]",
    "Duplicate value",
  ],
  [
    "a scope that is none",
    { budgets: [{ name: "b", scope: "Team", unit: "ModelCalls", limit: 1 }] },
    "spec.budgets[0].scope",
    "Unsupported value",
  ],
  [
    "calls as a budget of one call",
    { budgets: [{ name: "b", scope: "Call", unit: "ModelCalls", limit: 1 }] },
    "spec.budgets[0].unit",
    "A budget of scope Call counts tokens: one call is always one call.",
  ],
  [
    "a retry of PolicyViolation",
    { retry: { retryOn: ["PolicyViolation"] } },
    "spec.retry.retryOn[0]",
    "Unsupported value",
  ],
  ["an onInDoubt that is none", { onInDoubt: "Hope" }, "spec.onInDoubt", "Unsupported value"],
  ["an onLossWindow that is none", { onLossWindow: "Hope" }, "spec.onLossWindow", "Unsupported value"],
  [
    "no run at once",
    { limits: { maxConcurrentExecutions: 0 } },
    "spec.limits.maxConcurrentExecutions",
    "should be greater than or equal to 1",
  ],
  ["a path that is none", { recording: { redact: ["password"] } }, "spec.recording.redact[0]", pattern],
  ["a recording that is none", { recording: { content: "Nothing" } }, "spec.recording.content", "Unsupported value"],
  [
    "bodies of a byte",
    { recording: { maxBodyBytes: 1 } },
    "spec.recording.maxBodyBytes",
    "should be greater than or equal to 1024",
  ],
];

describe("the API server refuses", () => {
  test.each(executions)("an Execution with %s", async (_, change, field, message) => {
    const told = await refusal(resources.executions, "Execution", { ...base, ...change });
    expect(told).toContain(field);
    expect(told).toContain(message);
  });

  test.each(policies)("a GovernancePolicy with %s", async (_, spec, field, message) => {
    const told = await refusal(resources.policies, "GovernancePolicy", spec);
    expect(told).toContain(field);
    expect(told).toContain(message);
  });

  test.each([
    ["longer than 63 characters", name64],
    ["with a dot", "a.b"],
  ])("an Execution whose name is %s: pods and keys are named after it", async (_, name) => {
    expect(await refusal(resources.executions, "Execution", base, { name })).toContain("metadata.name");
  });

  test("nothing of the spec they are all made from", async () => {
    expect(await refusal(resources.executions, "Execution", base)).toBe("it was taken");
  });
});

/** Every field that may not change, with two values that differ. */
const changes: Readonly<Record<string, readonly [unknown, unknown]>> = {
  task: ["t", "u"],
  input: [{ a: 1 }, { a: 2 }],
  policyRef: [{ name: "a" }, { name: "b" }],
  models: [base.models, [{ ...base.models[0], model: "other" }]],
  tools: [base.tools, [{ ...base.tools[0], description: "other" }]],
  agents: [base.agents, [{ ...base.agents[0], systemPrompt: "other" }]],
  nodes: [base.nodes, [...base.nodes, { name: "m", tool: { ref: "look" } }]],
  finally: [[{ name: "f", tool: { ref: "look" } }], [{ name: "g", tool: { ref: "look" } }]],
  parallelism: [1, 2],
  activeDeadlineSeconds: [60, 61],
  replay: [{ executionRef: { name: "a" } }, { executionRef: { name: "b" } }],
  expectedHash: [{ task: `sha256:${"a".repeat(64)}` }, { task: `sha256:${"b".repeat(64)}` }],
};

describe("an Execution that exists", () => {
  const path = (name: string) => resourcePath(resources.executions, { namespace: "default", name });
  const patch = (name: string, spec: object) =>
    admin.request({ method: "PATCH", patch: "Merge", path: path(name), body: { spec } }).then(
      () => "it was taken",
      (error: unknown) => (error instanceof Error ? error.message : String(error)),
    );

  test("has each field that may not change tried below", () => {
    expect(Object.keys(changes).toSorted()).toEqual([...immutableFields].toSorted());
  });

  test.each(Object.entries(changes))(
    "keeps its %s: changed, removed, added, or set to null and then anew",
    async (field, [one, other]) => {
      const name = `fixed-${field.toLowerCase()}`;
      const make = (spec: object) =>
        admin.request({
          method: "POST",
          path: resourcePath(resources.executions, { namespace: "default" }),
          body: { apiVersion: "oao.dev/v1alpha1", kind: "Execution", metadata: { name }, spec },
        });
      const remove = () => admin.request({ method: "DELETE", path: path(name) });
      const told = `${field} cannot be changed: create a new Execution`;
      await make({ ...base, [field]: one });
      expect(await patch(name, { [field]: other })).toContain(told);
      // Null removes the field: refused, so that it cannot come back as another.
      expect(await patch(name, { [field]: null })).toContain(told);
      expect(
        await patch(name, { desiredState: "Suspended", journalRetentionSeconds: 61, ttlSecondsAfterFinished: 9 }),
      ).toBe("it was taken");
      await remove();
      if (field in base) return;
      await make(base);
      expect(await patch(name, { [field]: one })).toContain(told);
      await remove();
    },
  );
});

describe("GitOps", () => {
  const path = resourcePath(resources.executions, { namespace: "default", name: "drift" });
  const body = {
    apiVersion: "oao.dev/v1alpha1",
    kind: "Execution",
    metadata: { name: "drift", labels: { app: "x" } },
    spec: {
      ...base,
      nodes: [
        ...base.nodes,
        { name: "m", dependsOn: ["n"], tool: { ref: "look", arguments: { a: [1, { b: null }] } } },
      ],
    },
  };
  const apply = (query: object) =>
    admin.request<{ metadata: { resourceVersion: string; generation: number }; spec: object }>({
      method: "PATCH",
      patch: "Apply",
      path,
      query: { fieldManager: "flux", force: true, ...query },
      body,
    });

  test("sees no drift: applied again, dry or not, nothing changes, and what is read is what was written", async () => {
    const first = await apply({});
    const dry = await apply({ dryRun: "All" });
    const again = await apply({});
    expect([dry.metadata.resourceVersion, again.metadata.resourceVersion]).toEqual([
      first.metadata.resourceVersion,
      first.metadata.resourceVersion,
    ]);
    expect(again.metadata.generation).toBe(1);
    // No default was written into it.
    expect(again.spec).toEqual(body.spec);
    await admin.request({ method: "DELETE", path });
  });
});
