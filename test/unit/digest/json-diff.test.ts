import { describe, expect, test } from "vitest";
import { absent, differences, firstDifference, shortened } from "../../../src/core/digest/json-diff.ts";
import type { Json } from "../../../src/core/digest/json.ts";

const paths = (a: Json, b: Json, max = 100) => differences(a, b, max).map(({ path }) => path);

describe("differences", () => {
  test("equal values have none, whatever the order of their members", () => {
    const value = { a: [1, { b: "x", c: null }], d: false };
    expect(differences(value, { d: false, a: [1, { c: null, b: "x" }] }, 10)).toEqual([]);
    expect(firstDifference(value, structuredClone(value))).toBeUndefined();
  });

  test("names the path and both values", () => {
    const a = { messages: [{ role: "user", content: "hello" }], "a name": 1 };
    const b = { messages: [{ role: "user", content: "hallo" }], "a name": 2 };
    expect(differences(a, b, 10)).toEqual([
      { path: '$["a name"]', a: 1, b: 2 },
      { path: "$.messages[0].content", a: "hello", b: "hallo" },
    ]);
  });

  test("what only one side has is one difference, and null is not absent", () => {
    expect(differences({ a: { deep: [1, 2] } }, { b: null }, 10)).toEqual([
      { path: "$.a", a: { deep: [1, 2] }, b: undefined },
      { path: "$.b", a: undefined, b: null },
    ]);
    expect(differences([1], [1, 2, 3], 10)).toEqual([
      { path: "$[1]", a: undefined, b: 2 },
      { path: "$[2]", a: undefined, b: 3 },
    ]);
  });

  test.each<[string, Json, Json]>([
    ["a list and an object", [], {}],
    ["null and an object", null, {}],
    ["a text and a number", "1", 1],
  ])("%s differ as a whole", (_name, a, b) => {
    expect(differences(a, b, 10)).toEqual([{ path: "$", a, b }]);
  });

  test("members come in the order of code units and no more than asked for", () => {
    const a = { b: 1, a: [1, 1], C: 1 };
    const b = { C: 2, a: [2, 2], b: 2 };
    expect(paths(a, b)).toEqual(["$.C", "$.a[0]", "$.a[1]", "$.b"]);
    expect(paths(a, b, 2)).toEqual(["$.C", "$.a[0]"]);
    expect(firstDifference(a, b)?.path).toBe("$.C");
    expect(paths(b, a)).toEqual(paths(a, b));
  });

  test("inherited names and __proto__ are data like any other", () => {
    const parsed = JSON.parse('{"__proto__": 1}') as Json;
    expect(paths({}, { toString: 1 })).toEqual(["$.toString"]);
    expect(paths({}, parsed)).toEqual(["$.__proto__"]);
    expect(paths({ toString: 1 }, { constructor: 1 })).toEqual(["$.constructor", "$.toString"]);
  });

  test("nesting without a bound does not end in a full stack", () => {
    const nested = (leaf: number) => {
      let value: Json = leaf;
      for (let depth = 0; depth < 50_000; depth += 1) value = [value];
      return value;
    };
    expect(differences(nested(1), nested(2), 10)).toHaveLength(1);
  });

  test("long lists take linear time", () => {
    const list = Array.from({ length: 200_000 }, (_, index) => ({ index, text: `element ${index}` }));
    expect(paths(list, [...list.slice(0, -1), { index: -1, text: "" }])).toEqual(["$[199999].index", "$[199999].text"]);
  });
});

describe("shortened", () => {
  test("short values are shown whole", () => {
    expect(shortened({ path: "$", a: { x: 1 }, b: undefined }, 40)).toEqual({ a: '{"x":1}', b: absent });
  });

  test("long texts are shown from shortly before the first character that differs", () => {
    const common = "word ".repeat(400);
    const shown = shortened({ path: "$", a: `${common}left`, b: `${common}right ${common}` }, 40);
    expect(shown.a).toBe('…word word word word left"');
    expect(shown.b).toBe("…word word word word right word word wo…");
    expect(shown.b).toHaveLength(40);
  });

  test("half a character is never shown", () => {
    const shown = shortened({ path: "$", a: `${"😀".repeat(50)}a`, b: `${"😀".repeat(50)}b` }, 30);
    expect(shown.a.isWellFormed() && shown.b.isWellFormed()).toBe(true);
    const cutOff = shortened({ path: "$", a: `x${"😀".repeat(50)}`, b: 1 }, 21);
    expect(cutOff.a.isWellFormed()).toBe(true);
  });
});
