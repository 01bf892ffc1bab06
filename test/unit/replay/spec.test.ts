import { expect, test } from "vitest";
import type { ExecutionSpec } from "../../../src/api/types.ts";
import { inherit } from "../../../src/core/replay/spec.ts";

test("what a parent expected to be is not what its replay expects: a patch would never start", () => {
  const digest = (digit: string) => `sha256:${digit.repeat(64)}`;
  const expectedHash = { task: digest("a"), policy: digest("b") };
  const parent: ExecutionSpec = { task: "t", nodes: [{ name: "n" }], expectedHash };
  const replay = { executionRef: { name: "parent" } };
  expect(inherit(parent, { replay })).toEqual({ task: "t", nodes: [{ name: "n" }], replay });
  expect(inherit(parent, { replay, expectedHash: { tools: digest("c") } }).expectedHash).toEqual({
    tools: digest("c"),
  });
});
