import { describe, expect, it } from "vitest";
import { agentProblems } from "../../../src/cli/agent-problems.ts";
import { modelProblems } from "../../../src/cli/model-problems.ts";

const agents = (...schemas: object[]) => ({
  spec: { agents: schemas.map((outputSchema, i) => ({ name: `a${i}`, model: "main", outputSchema })) },
});

it("finds each outputSchema that its node would fail with, before anything is spent", () => {
  const value = agents(
    { properties: { a: { type: "string" } } },
    { properties: { a: { pattern: "(?=a)b" } } },
    { type: "array" },
  );
  expect(agentProblems(value).map(({ path, code, message }) => `${path.join(".")} ${code} ${message}`)).toEqual([
    expect.stringContaining("spec.agents.1.outputSchema InvalidAgent is no usable JSON Schema: pattern"),
    'spec.agents.2.outputSchema InvalidAgent must describe an object (type: object), not "array"',
  ]);
});

it("leaves what the schema of the kind refuses to that schema", () => {
  expect(agentProblems({ spec: { agents: [{ name: 1 }, "x", { outputSchema: 3 }] } })).toEqual([]);
  expect(agentProblems(undefined)).toEqual([]);
});

describe("a model's definition", () => {
  const problems = async (model: object) =>
    (await modelProblems({ spec: { models: [{ name: "main", provider: "openai", model: "m", ...model }] } })).map(
      ({ path, message }) => `${path.join(".")} ${message}`,
    );

  it.each([
    ["not-a-url", "must be an absolute URL"],
    ["//x", "must be an absolute URL"],
    ["http://[::1", "must be an absolute URL"],
    ["http://127.0.0.1:99999/v1", "must be an absolute URL"],
    ["ftp://127.0.0.1/x", "must start with http:// or https://"],
    ["file:///etc/passwd", "must be an absolute URL"],
    ["http://user:pw@127.0.0.1:8099/v1", "must not hold credentials"],
    ["https://llm.internal/v1?key=1", "must not hold a query"],
    ["https://llm.internal/ v1", "must not hold spaces"],
  ])("with the baseURL %s is refused before anything is started", async (baseURL, problem) => {
    expect(await problems({ baseURL })).toEqual([
      expect.stringContaining(`spec.models.0.baseURL ${problem}`) as string,
    ]);
  });

  it("that can be called has no problems", async () => {
    expect(await problems({})).toEqual([]);
    expect(await problems({ baseURL: "http://127.0.0.1:8099/v1" })).toEqual([]);
    expect(await problems({ provider: "ollama" })).toEqual([]);
  });

  it("with a provider that nobody knows is refused with those that there are", async () => {
    expect(await problems({ provider: "foobarprov" })).toEqual([
      expect.stringMatching(
        /^spec\.models\.0\.provider unknown provider foobarprov; known: openai, anthropic/,
      ) as string,
    ]);
  });
});
