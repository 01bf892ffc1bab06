/** Specs for tests of the hash: one with every field, and random ones with texts and numbers that are easily written in two ways. */
import fc from "fast-check";
import type { ExecutionSpec, PolicySpec } from "../../../src/api/types.ts";

const keyRef = { name: "llm", key: "api-key" };
/** Every field of the schema, so that each is known to be in or out. */
export const full: ExecutionSpec = {
  task: "Écris un résumé",
  input: { topic: "heat pumps", limits: { low: 1, none: null } },
  policyRef: { name: "standard" },
  models: [
    {
      name: "main",
      provider: "openai",
      model: "gpt-5-mini",
      baseURL: "https://llm.internal/v1",
      apiKeySecretRef: keyRef,
      parameters: { temperature: 0, seed: 7 },
    },
  ],
  tools: [
    {
      name: "search",
      description: "Search",
      effect: "ReadOnly",
      timeoutSeconds: 20,
      http: {
        method: "GET",
        url: "https://catalog.internal/search",
        query: ["q"],
        headers: [
          { name: "Accept", value: "application/json" },
          { name: "Authorization", secretKeyRef: { name: "crm", key: "token" } },
        ],
        inputSchema: { type: "object" },
      },
    },
    { name: "score", module: { path: "tools/score.js", export: "score", inputSchema: { type: "object" } } },
    { name: "rank", module: { configMapRef: { name: "tools", key: "rank.mjs" } } },
  ],
  agents: [
    {
      name: "researcher",
      model: "main",
      systemPrompt: "Be careful",
      tools: ["search", "score"],
      outputSchema: { type: "object" },
      maxIterations: 12,
    },
  ],
  nodes: [
    {
      name: "gather",
      agent: { ref: "researcher", prompt: "Collect $(input.topic)" },
      retry: { maxRetries: 2, retryDelaySeconds: 1, retryOn: ["Timeout"] },
      timeoutSeconds: 60,
      budget: [{ unit: "TotalTokens", limit: 900 }],
      resources: {
        requests: { cpu: "1", memory: "1Gi", "ephemeral-storage": "1Gi" },
        limits: { cpu: "2", memory: "2Gi", "ephemeral-storage": "2Gi" },
      },
      image: `registry.internal/worker@sha256:${"a".repeat(64)}`,
      nodeSelector: { pool: "gpu" },
      tolerations: [{ key: "gpu", operator: "Equal", value: "yes", effect: "NoExecute", tolerationSeconds: 5 }],
    },
    {
      name: "each",
      dependsOn: ["gather"],
      when: "true",
      forEach: { items: "[1]", maxParallel: 2 },
      tool: { ref: "score", arguments: { n: "$(item)" } },
    },
    { name: "sign-off", approval: { message: "Publish?", timeoutSeconds: 60, onTimeout: "Reject" } },
  ],
  finally: [{ name: "clean", tool: { ref: "score" }, runOnCancel: true }],
  parallelism: 4,
  activeDeadlineSeconds: 3_600,
  desiredState: "Suspended",
  expectedHash: { task: `sha256:${"0".repeat(64)}` },
  // One of fromStep and from in truth.
  replay: {
    executionRef: { name: "parent", uid: "00000000-0000-4000-8000-000000000000" },
    fromStep: 7,
    from: { node: "gather", item: 0, step: 2 },
    mode: "Fork",
    toolOutputs: "Recorded",
  },
  journalRetentionSeconds: 600,
  ttlSecondsAfterFinished: 60,
};
export const rules: PolicySpec[] = [
  { maxTokens: 50_000, budgets: [{ name: "call", scope: "Call", unit: "OutputTokens", limit: 2_000 }] },
  { enforcement: "Audit", tools: { allow: ["search", "score"], deny: ["*delete*"], effects: { score: "ReadOnly" } } },
];

const text = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 8 }),
  fc.constantFrom("é", "e\u0301", "\u2028", "\u007f", "\u0000\n", "ﬀ", "😀", '"\\/'),
);
const number = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.maxSafeInteger(),
  fc.constantFrom(0, 1e-6, 1e-7, 1.5e-9, 1e20, 1e21, 1.7976931348623157e308, 5e-324, 0.1, 100, 9007199254740991),
);
const key = fc.oneof(
  text,
  fc.constantFrom("\ufb33", "😀", "a", "aa", "", "__proto__", "10", "9", "name", "timeoutSeconds"),
);
const free = fc.dictionary(
  key,
  fc.letrec((tie) => ({
    json: fc.oneof(
      { maxDepth: 2, withCrossShrink: true },
      text,
      number,
      fc.boolean(),
      fc.constant(null),
      fc.array(tie("json"), { maxLength: 3 }),
      fc.dictionary(key, tie("json"), { maxKeys: 3 }),
    ),
  })).json,
  { maxKeys: 4 },
);
const names = fc.constantFrom("a", "b", "c", "d-1", "d-10", "d-9");
const named = <T extends { name: string }>(entry: fc.Arbitrary<T>) =>
  fc.uniqueArray(entry, { maxLength: 3, selector: ({ name }) => name });
const some = <T extends object>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }, required: (keyof T)[]) =>
  fc.record(fields, { requiredKeys: required });

const secret = fc.record({ name: names, key: names });
const header = some({ name: names, value: text, secretKeyRef: secret }, ["name"]);
const model = some(
  { name: names, provider: text, model: text, baseURL: text, apiKeySecretRef: secret, parameters: free },
  ["name"],
);
const tool = some(
  {
    name: names,
    description: text,
    effect: fc.constantFrom("ReadOnly", "NonIdempotent"),
    timeoutSeconds: fc.nat(),
    http: some(
      { method: fc.constant("GET"), url: text, query: fc.array(names), headers: named(header), inputSchema: free },
      ["method", "url"],
    ),
  },
  ["name"],
);
const agent = some(
  {
    name: names,
    model: names,
    systemPrompt: text,
    tools: fc.array(names),
    outputSchema: free,
    maxIterations: fc.nat(),
  },
  ["name", "model"],
);
const node = some(
  {
    name: names,
    dependsOn: fc.array(names, { maxLength: 3 }),
    when: text,
    forEach: some({ items: text, maxParallel: fc.nat() }, ["items"]),
    agent: fc.record({ ref: names, prompt: text }),
    tool: some({ ref: names, arguments: free }, ["ref"]),
    approval: some({ message: text, timeoutSeconds: fc.nat(), onTimeout: fc.constant("Approve") }, ["message"]),
    retry: fc.constant({ maxRetries: 2 }),
    timeoutSeconds: fc.nat(),
    budget: fc.constant([{ unit: "ModelCalls", limit: 1 }]),
    image: text,
    nodeSelector: fc.constant({ pool: "gpu" }),
  },
  ["name"],
);

export const anySpec = some(
  {
    task: text,
    input: free,
    models: named(model),
    tools: named(tool),
    agents: named(agent),
    nodes: named(node),
    finally: named(node),
  },
  ["task", "nodes"],
) as unknown as fc.Arbitrary<ExecutionSpec>;

export const anyRules = fc.array(
  some(
    {
      enforcement: fc.constantFrom("Audit", "Enforce"),
      maxTokens: fc.nat(),
      budgets: named(
        fc.record({ name: names, scope: fc.constant("Call"), unit: fc.constant("ModelCalls"), limit: fc.nat() }),
      ),
      tools: some({ allow: fc.array(names), effects: fc.dictionary(names, fc.constant("ReadOnly")) }, []),
    },
    [],
  ),
  { maxLength: 3 },
) as unknown as fc.Arbitrary<PolicySpec[]>;
