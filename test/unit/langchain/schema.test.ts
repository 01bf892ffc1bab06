import { describe, expect, it } from "vitest";
import { answerSchema, schemaCheck } from "../../../src/adapters/langchain/schema.ts";

describe("a JSON Schema that a model's words are checked with", () => {
  it("cannot hold the worker by a pattern that backtracks: patterns run on RE2", () => {
    const compiled = schemaCheck({ type: "object", properties: { name: { type: "string", pattern: "^(a+)+$" } } });
    if ("problem" in compiled) throw new Error(compiled.problem);
    // The built-in engine would try 2^40 ways.
    expect(compiled.check({ name: `${"a".repeat(40)}!` })).toMatch(/must match pattern/);
    expect(compiled.check({ name: "aaa" })).toBeUndefined();
  });

  it.each([
    [
      "has a pattern that RE2 does not know",
      { properties: { a: { pattern: "(?=a)b" } } },
      /not supported \(RE2 syntax\)/,
    ],
    ["describes no object", { type: "array" }, /must describe an object \(type: object\), not "array"/],
    ["misuses a keyword", { properties: { a: { minimum: "3" } } }, /schema is invalid/],
    ["refers to what is not there", { properties: { a: { $ref: "#/$defs/b" } } }, /can't resolve reference/],
    ["is checked later", { $async: true }, /\$async is not supported/],
  ])("is refused with the reason when it %s", (_, schema, problem) => {
    expect(answerSchema(schema)).toEqual({ problem: expect.stringMatching(problem) as string });
  });
});
