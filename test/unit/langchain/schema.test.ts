import { expect, test } from "vitest";
import { schemaCheck } from "../../../src/adapters/langchain/schema.ts";

test("what a model wrote cannot hold the worker by a pattern that backtracks: patterns run on RE2", () => {
  const check = schemaCheck({ type: "object", properties: { name: { type: "string", pattern: "^(a+)+$" } } });
  // The built-in engine would try 2^40 ways.
  expect(check?.({ name: `${"a".repeat(40)}!` })).toMatch(/must match pattern/);
  expect(check?.({ name: "aaa" })).toBeUndefined();
});

test("a pattern that RE2 does not know makes the schema none, so that its node fails before a call", () => {
  expect(schemaCheck({ type: "object", properties: { name: { pattern: "(?=a)b" } } })).toBeUndefined();
});
