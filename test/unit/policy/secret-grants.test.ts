import { expect, test } from "vitest";
import type { ExecutionSpec } from "../../../src/api/types.ts";
import { secretGrants } from "../../../src/core/policy/secret-grants.ts";
import type { PolicyRules } from "../../../src/core/policy/types.ts";
import { openPolicy } from "../../support/policies.ts";

const header = (name: string, key: string) => ({ name: `X-${key}`, secretKeyRef: { name, key } });
const http = (host: string, ...headers: ReturnType<typeof header>[]) => ({
  http: { method: "GET" as const, url: `https://${host}/`, headers },
});
const spec: ExecutionSpec = {
  task: "t",
  models: [
    {
      name: "main",
      provider: "openai",
      model: "m",
      baseURL: "https://llm.test/v1",
      apiKeySecretRef: { name: "llm", key: "api-key" },
    },
  ],
  tools: [
    { name: "search", ...http("search.test", header("crm", "token")) },
    { name: "other", ...http("other.test", header("other", "token")) },
    { name: "twins", ...http("search.test", header("a", "b-c"), header("a-b", "c")) },
  ],
  agents: [{ name: "researcher", model: "main", tools: ["search"] }],
  nodes: [
    { name: "ask", agent: { ref: "researcher", prompt: "p" } },
    { name: "call", tool: { ref: "other" } },
    { name: "clash", tool: { ref: "twins" } },
  ],
};
const paired: PolicyRules = {
  name: "p",
  enforcement: "Enforce",
  models: { endpoints: [{ baseURL: "https://llm.test/*", secrets: ["llm"] }] },
  tools: { hosts: [{ host: "search.test", secrets: ["crm"] }] },
};
const names = (policy: Parameters<typeof secretGrants>[1], node: number) =>
  secretGrants(spec, policy, spec.nodes[node]!).map(({ name, key, variable }) => `${variable}=${name}/${key}`);

test("a worker gets the secrets that its own node's model and tools name, and no others", () => {
  expect(names(openPolicy(), 0)).toEqual(["OAO_SECRET_LLM_API_KEY=llm/api-key", "OAO_SECRET_CRM_TOKEN=crm/token"]);
  expect(names(openPolicy(), 1)).toEqual(["OAO_SECRET_OTHER_TOKEN=other/token"]);
});

test("a secret that no policy pairs with its endpoint is not handed to the worker (G3)", () => {
  expect(names(openPolicy({ requirePairing: true }), 0)).toEqual([]);
  expect(names(openPolicy({ requirePairing: true, rules: [paired] }), 0)).toHaveLength(2);
  expect(names(openPolicy({ requirePairing: true, rules: [paired] }), 1)).toEqual([]);
});

test("secrets that would share one variable are not handed out: neither can be taken for the other", () => {
  expect(names(openPolicy(), 2)).toEqual([]);
});
