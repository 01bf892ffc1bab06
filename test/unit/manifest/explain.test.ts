import { expect, test } from "vitest";
import { explain, listFields } from "../../../src/core/manifest/explain.ts";

test("every field of both kinds has a description of its own", () => {
  const fields = listFields();
  expect(fields.length).toBeGreaterThan(120);
  expect(fields.filter((field) => field.description.trim().length < 10).map((field) => field.path)).toEqual([]);
});

test("every listed field can be asked for by its path", () => {
  for (const field of listFields()) expect(explain(field.path)).toEqual(field);
});

test("a field is explained with type, limits and whether it is required", () => {
  expect(explain("execution.spec.nodes.when")).toMatchObject({
    name: "when",
    kind: "Execution",
    type: "text",
    required: false,
    limits: ["1 to 16384 characters"],
    children: [],
  });
  expect(explain("execution.spec.nodes")).toMatchObject({
    type: "list of object",
    required: false,
    limits: ["1 to 1000 entries"],
  });
  expect(explain("execution.spec.nodes")?.children[0]).toBe("name");
});

test("enums, free-form objects and maps are told apart", () => {
  expect(explain("gpol.spec.onInDoubt")?.enum).toEqual(["Ask", "Fail", "Retry"]);
  expect(explain("gpol.spec.retry.retryOn")).toMatchObject({
    type: "list of text",
    enum: ["ToolFailure", "NetworkFailure", "Timeout", "RateLimit"],
  });
  expect(explain("oaox.spec.input")?.type).toBe("any JSON object");
  expect(explain("gpol.spec.tools.effects")).toMatchObject({
    type: "map of text",
    enum: ["ReadOnly", "Idempotent", "NonIdempotent"],
  });
});

test("rules between fields are told where they hold", () => {
  expect(explain("execution.spec.tools")?.rules).toContain("Exactly one of http and module must be set.");
  expect(explain("execution.spec.task")?.rules).toEqual([
    "task cannot be changed: create a new Execution (another name, or generateName).",
  ]);
});

test("short names, indices and letter case of the kind do not matter", () => {
  const wanted = explain("execution.spec.nodes.agent.prompt");
  expect(wanted?.description).toContain("User message");
  expect(explain("OAOX.spec.nodes[2].agent.prompt")).toEqual(wanted);
  expect(explain("Execution")?.children).toContain("spec");
});

test.each([
  "",
  ".",
  "nothing",
  "execution.spec.nope",
  "execution.spec.task.more",
  "constructor",
  "execution.__proto__",
])("%j is no field", (path) => {
  expect(explain(path)).toBeUndefined();
});
