import { describe, expect, test, vi } from "vitest";
import type { Json } from "../../../src/core/digest/json.ts";
import { evaluateCondition, evaluateItems, interpolate } from "../../../src/core/expressions/evaluate.ts";
import { defaultExpressionLimits, type ExpressionLimits } from "../../../src/core/expressions/meter.ts";
import { errorOf, scopeOf, upTo } from "./scope.ts";

function limits(limit: Partial<ExpressionLimits>): ExpressionLimits {
  return { ...defaultExpressionLimits, ...limit };
}

const big = scopeOf({ list: upTo(300), text: "a".repeat(200_000) });

describe("iterations", () => {
  test.each([
    ["[1, 2].all(a, [1, 2, 3].all(b, true))", 8],
    ["[1, 2].exists(a, a == 3)", 2],
    ["[1, 2].exists(a, a == 1)", 1],
    ["[1, 2].exists_one(a, a == 1)", 2],
    ["[1, 2].map(a, a).size() == 2", 2],
    ["[1, 2].map(a, a > 1, a).size() == 1", 2],
    ["[1, 2].filter(a, a > 1).size() == 1", 2],
    ["{'x': 1, 'y': 2}.all(k, k != '')", 2],
    ["cel.bind(list, [1, 2, 3], list.all(x, x > 0))", 3],
    ["(1 > 2 ? [1] : [1, 2]).all(x, x > 0)", 2],
    ["{'a': [1, 2].map(x, x)}.a[0] == 1", 2],
    ["size([1, 2].map(x, x)) + [1].map(x, x).size() == 3", 3],
    ["!([1, 2].all(x, -x > 0))", 1],
  ])("of %s are counted exactly: %i", (cel, rounds) => {
    expect(() => evaluateCondition(cel, scopeOf({}), limits({ iterations: rounds }))).not.toThrow();
    const error = errorOf(() => evaluateCondition(cel, scopeOf({}), limits({ iterations: rounds - 1 })));
    expect(error.code).toBe("ExpressionTooExpensive");
  });

  test("of three nested loops over 300 items end at the bound", () => {
    const cel = "input.list.map(a, input.list.map(b, input.list.map(c, 1)))";
    const error = errorOf(() => evaluateItems(cel, big));
    expect(error.code).toBe("ExpressionTooExpensive");
    expect(error.message).toContain("100000 items");
  });

  test("that ran out stay an error where CEL swallows errors", () => {
    const loops = "input.list.all(a, input.list.all(b, input.list.all(c, true)))";
    for (const cel of [`${loops} || true`, `!(${loops} && false)`, `input.list.exists(x, ${loops}) || true`]) {
      expect(errorOf(() => evaluateCondition(cel, big)).code).toBe("ExpressionTooExpensive");
    }
  });

  test("are one account for all expressions of a value", () => {
    const value = ["$([1, 2].map(x, x))", { b: "$([1, 2].map(x, x)) and $([1].map(x, x))" }];
    expect(() => interpolate(value, scopeOf({}), limits({ iterations: 5 }))).not.toThrow();
    expect(errorOf(() => interpolate(value, scopeOf({}), limits({ iterations: 4 }))).code).toBe(
      "ExpressionTooExpensive",
    );
  });
});

describe("bytes", () => {
  test("are counted for what the expression names and nothing else", () => {
    const scope = scopeOf({ huge: "x".repeat(2_000_000) }, { huge: "x".repeat(2_000_000), small: [1] });
    expect(interpolate("$(nodes.small.output)", scope)).toEqual([1]);
    for (const cel of ["nodes.huge.output", "size(nodes.huge.output)", "input.none", "has(input.none)"]) {
      const error = errorOf(() => interpolate(`$(${cel})`, scope));
      expect(error.code).toBe("ExpressionTooExpensive");
      expect(error.message).toContain("reads more than 1048576 bytes");
    }
  });

  test("of one input are counted once for all expressions of a value", () => {
    const scope = scopeOf({}, { a: "x".repeat(400_000) });
    expect(interpolate("$(size(nodes.a.output)) ".repeat(5), scope)).toBe("400000 ".repeat(5));
  });

  test("of results are bounded together", () => {
    const scope = scopeOf({}, { a: "x".repeat(400_000) });
    const error = errorOf(() => interpolate(["$(nodes.a.output)", "$(nodes.a.output)", "$(nodes.a.output)"], scope));
    expect(error.message).toContain("gives more than 1048576 bytes");
  });

  test("of a list that repeats one large value are the bytes of each", () => {
    expect(errorOf(() => evaluateItems("input.list.map(x, input.text)", big)).message).toContain("gives more than");
  });

  test("lets a megabyte less the brackets pass through", () => {
    const text = "x".repeat(1_048_574);
    expect(interpolate("$(nodes.a.output)", scopeOf({}, { a: text }))).toBe(text);
  });
});

describe("growth", () => {
  test.each([
    ["text by +", "input.list.map(x, input.text + 'x').size()"],
    ["text by join", "input.list.map(x, '').join(input.text).size()"],
    ["text by join of large members", "input.list.map(x, input.text).join().size()"],
    [
      "text by doubling",
      `cel.bind(a, input.text + input.text, cel.bind(b, a + a, cel.bind(c, b + b, cel.bind(d, c + c, cel.bind(e, d + d, cel.bind(f, e + e, size(f + f)))))))`,
    ],
    ["lists by +", "input.list.map(x, input.list + input.list + input.list + input.list + input.list).size()"],
    ["lists by split", "input.list.map(x, input.text.split('')).size()"],
    ["bytes", "input.list.map(x, bytes(input.text).hex()).size()"],
  ])("of %s is stopped", (_what, cel) => {
    expect(errorOf(() => interpolate(`$(${cel})`, big)).code).toBe("ExpressionTooExpensive");
  });
});

describe("work", () => {
  const half = "input.text.substring(0, 50000) + 'b' + input.text.substring(0, 49999)";

  test.each([
    // Both took the engine's own search more than five seconds.
    ["a search in repetitive text", `input.text.contains(${half})`],
    ["a search from the end", `input.text.lastIndexOf(input.text.substring(0, 50000) + 'b') > 0`],
    ["splitting at repetitive text", `input.text.split(${half}).size() > 0`],
    ["membership in loops", "input.many.all(x, !('' in input.many))"],
    ["comparison in loops", "input.many.all(x, input.many == input.many.map(y, y))"],
    ["errors in loops", `input.many.all(x, x.y == 1 ${"|| x.y == 1 ".repeat(100)})`],
    ["a large body in loops", `input.many.all(x, ${"x == x && ".repeat(150)} true)`],
    ["keys copied in loops", "input.many.all(x, input.map.exists(k, true))"],
  ])("of %s is stopped", (_what, cel) => {
    const map = Object.fromEntries(upTo(5_000).map((key) => [`k${key}`, 0]));
    const scope = scopeOf({ text: "a".repeat(200_000), many: upTo(60_000), map });
    expect(errorOf(() => evaluateCondition(cel, scope)).code).toBe("ExpressionTooExpensive");
  });

  test("of reading a long duration is refused", () => {
    expect(errorOf(() => interpolate("$(duration(input))", scopeOf("9".repeat(100_000)))).code).toBe(
      "ExpressionFailed",
    );
  });

  test("of ordinary expressions on ordinary data is far below the bounds", () => {
    const facts = upTo(2_000).map((id) => ({ id, text: `fact number ${id} about heat pumps`, tags: ["a", "b"] }));
    const cel =
      "input.filter(f, f.text.contains('9') && 'a' in f.tags && f.text.matches('^fact.*[0-9]+')).map(f, f.text)";
    expect(evaluateItems(cel, scopeOf(facts), limits({ work: defaultExpressionLimits.work / 10 }))).toHaveLength(542);
  });

  test("stops at the same place whatever was evaluated before", () => {
    const stopsAt = (work: number): boolean => {
      try {
        return !evaluateCondition("input.matches('^(a|b)+$')", scopeOf("ab".repeat(500)), limits({ work }));
      } catch {
        return true;
      }
    };
    const least = (low: number, high: number): number => {
      if (low + 1 >= high) return high;
      const middle = Math.floor((low + high) / 2);
      return stopsAt(middle) ? least(middle, high) : least(low, middle);
    };
    expect(least(0, 1_000_000)).toBe(least(0, 1_000_000));
    expect(least(0, 1_000_000)).toBeGreaterThan(1_000);
  });
});

describe("matches", () => {
  const matches = (text: Json, pattern: string): boolean =>
    evaluateCondition("input.text.matches(input.pattern)", scopeOf({ text, pattern }));

  test("finds a pattern anywhere, as CEL says", () => {
    expect(matches("say hello", "hel+o")).toBe(true);
    expect(matches("say hello", "^hel+o")).toBe(false);
    expect(matches("größe", "^\\p{L}+$")).toBe(true);
  });

  test("uses RE2: look-ahead and back references are no patterns", () => {
    for (const pattern of ["(?=a)b", "(a)\\1", "(", "a{1001}", "((a{100}){100}){100}"]) {
      const error = errorOf(() => matches("ab", pattern));
      expect(error.code).toBe("ExpressionFailed");
      expect(error.message).toContain("not an RE2 pattern");
    }
  });

  test("never reaches the engine's own RegExp with text or pattern of the expression", () => {
    const spy = vi.spyOn(RegExp.prototype, "test");
    const sources = (): string[] => spy.mock.contexts.map((regExp) => (regExp as RegExp).source);
    try {
      expect(matches("aab", "x|a+b")).toBe(true);
      expect(evaluateCondition("'aab'.matches('x|a+b')", scopeOf({}))).toBe(true);
      expect(sources()).not.toContain("x|a+b");
      new RegExp("x|a+b").test("aab");
      expect(sources()).toContain("x|a+b"); // the spy does see it
    } finally {
      spy.mockRestore();
    }
  });

  test("ends on the pattern that backtracking never ends on", () => {
    // Backtracking would try 2^50,000 ways.
    expect(matches(`${"a".repeat(50_000)}!`, "(a+)+$")).toBe(false);
    expect(matches(`${"a".repeat(50_000)}!`, "^(a|a)*$")).toBe(false);
  });

  test("bounds the pattern's length and compiled size and the text it runs over", () => {
    expect(errorOf(() => matches("a", "a".repeat(1_001))).code).toBe("ExpressionTooExpensive");
    expect(errorOf(() => matches("a", "(a{100}){10}")).message).toContain("RE2 instructions");
    expect(errorOf(() => matches("a".repeat(900_000), "a{500}b?c")).code).toBe("ExpressionTooExpensive");
  });

  test("charges each of many patterns", () => {
    const scope = scopeOf(upTo(5_000).map((index) => `a${index}`));
    expect(errorOf(() => evaluateCondition("input.all(p, 'a'.matches(p) || true)", scope)).code).toBe(
      "ExpressionTooExpensive",
    );
  });
});
