import { describe, expect, it } from "vitest";
import type { ExecutionSpec, ModelSpec } from "../../../src/api/types.ts";
import { checkSecrets, missingSecrets, secretEnvironment } from "../../../src/cli/secrets.ts";
import { apiKey } from "../../../src/worker/tools.ts";

const ref = { name: "llm", key: "api-key" };
const baseURL = "http://127.0.0.1:1/v1";

function specWith(model: Partial<ModelSpec>): ExecutionSpec {
  return {
    task: "t",
    models: [{ name: "main", provider: "openai", model: "gpt-5-mini", ...model }],
    agents: [{ name: "a", model: "main" }],
    nodes: [{ name: "n", agent: { ref: "a", prompt: "p" } }],
  };
}

describe("the key of a model", () => {
  it("of a compatible server is never the provider's own: the secret that is named is missing before the start", () => {
    const spec = specWith({ baseURL, apiKeySecretRef: ref });
    expect(missingSecrets(spec, { OPENAI_API_KEY: "k" })).toEqual(["model main: set OAO_SECRET_LLM_API_KEY"]);
    expect(secretEnvironment(spec, "n", { OPENAI_API_KEY: "k" })).toEqual({});
  });

  it.each([
    ["a named secret", { apiKeySecretRef: ref }],
    ["no secret", {}],
    ["a compatible server with a named secret", { baseURL, apiKeySecretRef: ref }],
    ["a compatible server with no secret", { baseURL }],
    ["a provider without keys", { provider: "ollama" }],
    ["a provider without keys but a named secret", { provider: "ollama", apiKeySecretRef: ref }],
  ] as const)("with %s is asked for exactly where the worker would find none", (_, model) => {
    const spec = specWith(model);
    const [declared] = spec.models ?? [];
    const environments = [{}, { OPENAI_API_KEY: "our-own" }, { OAO_SECRET_LLM_API_KEY: "named" }];
    for (const env of environments) {
      const given = secretEnvironment(spec, "n", env);
      const found = () => apiKey(declared as ModelSpec, given);
      const needsOne = (model as Partial<ModelSpec>).apiKeySecretRef !== undefined || Object.keys(model).length === 0;
      const isThere = needsOne && missingSecrets(spec, env).length === 0;
      expect(keyOrNone(found)).toBe(isThere ? Object.values(given)[0] : undefined);
    }
  });

  it("that is too short to be kept out of what is recorded is refused before the start, and by the worker", () => {
    const spec = specWith({ baseURL, apiKeySecretRef: ref });
    const env = { OAO_SECRET_LLM_API_KEY: "abc" };
    expect(missingSecrets(spec, env)).toEqual([
      expect.stringMatching(/^model main: OAO_SECRET_LLM_API_KEY has fewer than 4/),
    ]);
    expect(() => apiKey(spec.models?.[0] as ModelSpec, env)).toThrow(/fewer than 4 characters/);
    expect(missingSecrets(spec, { OAO_SECRET_LLM_API_KEY: "abcd" })).toEqual([]);
  });
});

it("a strict replay is asked for no secret, since it makes no call; a fork for all", () => {
  const executionRef = { name: "parent" };
  const check = (replay: ExecutionSpec["replay"]) =>
    checkSecrets(
      {
        apiVersion: "oao.dev/v1alpha1",
        kind: "Execution",
        metadata: { name: "r" },
        spec: { ...specWith({}), replay },
      },
      { env: {} },
    );
  check({ executionRef });
  check({ executionRef, mode: "Strict" });
  expect(() => check({ executionRef, fromStep: 1 })).toThrow("a secret is missing");
  expect(() => check(undefined)).toThrow("a secret is missing");
});

function keyOrNone(find: () => string | undefined): string | undefined {
  try {
    return find();
  } catch {
    return undefined;
  }
}
