import { expect, it } from "vitest";
import { agentProblems } from "../../../src/cli/agent-problems.ts";

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
