import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { jsonDepthMax, NotJsonError, toPlainJson } from "../../../src/core/digest/json.ts";

function nested(depth: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < depth; level++) value = [value];
  return value;
}

describe("toPlainJson", () => {
  test("drops undefined members and keeps null", () => {
    expect(toPlainJson({ a: undefined, b: null, c: { d: undefined } })).toEqual({ b: null, c: {} });
    expect(Object.keys(toPlainJson({ a: undefined }) as object)).toEqual([]);
  });

  test("writes minus zero as zero", () => {
    expect(Object.is(toPlainJson(-0), 0)).toBe(true);
  });

  test("copies: a later change of the source does not reach the result", () => {
    const source = { list: [1] };
    const copy = toPlainJson(source);
    source.list.push(2);
    expect(copy).toEqual({ list: [1] });
  });

  test("keeps a member called __proto__ as data", () => {
    const copy = toPlainJson(JSON.parse('{"__proto__":{"polluted":true},"constructor":1}')) as object;
    expect(Object.getPrototypeOf(copy)).toBe(Object.prototype);
    expect(Object.keys(copy)).toEqual(["__proto__", "constructor"]);
    expect("polluted" in {}).toBe(false);
    expect(JSON.stringify(copy)).toBe('{"__proto__":{"polluted":true},"constructor":1}');
  });

  test("takes plain objects of another realm and without a prototype", () => {
    expect(toPlainJson(runInNewContext("({ a: [1] })"))).toEqual({ a: [1] });
    expect(toPlainJson(Object.assign(Object.create(null), { a: 1 }))).toEqual({ a: 1 });
  });

  test("lets a value appear twice but not inside itself", () => {
    const shared = { a: 1 };
    expect(toPlainJson([shared, shared])).toEqual([{ a: 1 }, { a: 1 }]);
    const circular: unknown[] = [];
    circular.push({ again: circular });
    expect(() => toPlainJson(circular)).toThrow("$[0].again refers back");
  });

  test.each([
    ["a bigint", { n: 1n }, "$.n is a bigint"],
    ["a symbol", [Symbol("x")], "$[0] is a symbol"],
    ["a map", { m: new Map() }, "$.m is a Map"],
    ["a hole in a list", { l: Array(1) }, "$.l[0] is undefined"],
  ])("refuses %s and names the path", (_name, value, message) => {
    expect(() => toPlainJson(value)).toThrow(NotJsonError);
    expect(() => toPlainJson(value)).toThrow(message);
  });

  test("refuses nesting beyond the bound instead of running out of stack", () => {
    expect(toPlainJson(nested(jsonDepthMax))).toEqual(nested(jsonDepthMax));
    expect(() => toPlainJson(nested(jsonDepthMax + 1))).toThrow("nested deeper than 200");
    expect(() => toPlainJson(nested(100_000))).toThrow(NotJsonError);
  });
});
