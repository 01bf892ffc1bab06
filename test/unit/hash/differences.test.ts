import fc from "fast-check";
import { expect, test } from "vitest";
import { canonicalJson } from "../../../src/core/digest/digest.ts";
import type { Json } from "../../../src/core/digest/json.ts";
import { differences } from "../../../src/core/hash/differences.ts";

test("are the smallest values that differ, with entries of named lists by their names", () => {
  const one = { nodes: [{ name: "a", x: 1 }, { name: "b" }], list: [1, [2]], task: "t", same: { a: [] } };
  const other = {
    nodes: [{ name: "c" }, { name: "a", x: 2 }],
    list: [1, { 0: 2 }],
    input: {},
    task: "t",
    same: { a: [] },
  };
  expect(differences(one, other, 10)).toEqual([
    { path: "input", one: undefined, other: {} },
    { path: "list[1]", one: [2], other: { 0: 2 } },
    { path: "nodes[a].x", one: 1, other: 2 },
    { path: "nodes[b]", one: { name: "b" }, other: undefined },
    { path: "nodes[c]", one: undefined, other: { name: "c" } },
  ]);
  expect(differences(one, other, 2)).toHaveLength(2);
});

test("are there exactly where the canonical texts differ", () => {
  const json = fc.jsonValue() as fc.Arbitrary<Json>;
  fc.assert(
    fc.property(json, json, (one, other) => {
      expect(differences(one, structuredClone(one), 1)).toEqual([]);
      expect(differences(one, other, 1).length === 0).toBe(canonicalJson(one) === canonicalJson(other));
    }),
  );
});
