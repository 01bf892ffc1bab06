import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Json, toPlainJson } from "../../../src/core/digest/json.ts";
import { ExpressionError } from "../../../src/core/expressions/errors.ts";
import { evaluateCondition, evaluateItems, interpolate } from "../../../src/core/expressions/evaluate.ts";
import { errorOf, scopeOf, settled } from "./scope.ts";

const scope = scopeOf(
  { topic: "heat pumps", count: 3, price: 2.5, tags: ["a", "b"], when: "2026-07-01T10:00:00Z" },
  { gather: { facts: [{ text: "one" }, { text: "two" }], total: 2 }, "sign-off": true },
  { name: "x" },
);

describe("interpolate", () => {
  test.each<[string, Json]>([
    ["no expression", "no expression"],
    ["$(input.count)", 3],
    ["$(input.tags)", ["a", "b"]],
    ['$(nodes["sign-off"].output)', true],
    ["$(nodes.gather.output)", { facts: [{ text: "one" }, { text: "two" }], total: 2 }],
    ["$(item.name)", "x"],
    [" $(input.count)", " 3"],
    ["On $(input.topic): $(nodes.gather.output.facts)", 'On heat pumps: [{"text":"one"},{"text":"two"}]'],
    ["$(input.count + 1) of $(input.price)", "4 of 2.5"],
    ["$(nodes.gather.output.facts.map(f, '- ' + f.text).join('\\n'))", "- one\n- two"],
    ["$({'a': 1, 'b': ['x', 2.5, null], 'c': input.tags})", { a: 1, b: ["x", 2.5, null], c: ["a", "b"] }],
  ])("makes of %s", (text, result) => {
    expect(interpolate(text, scope)).toEqual(result);
  });

  test("goes through lists and objects and leaves keys as they are", () => {
    const value = { "$(input.count)": ["$(input.count)", 1, null], deep: { er: "n=$(input.count)" } };
    expect(interpolate(value, scope)).toEqual({ "$(input.count)": [3, 1, null], deep: { er: "n=3" } });
  });

  test("never scans a result again and writes a literal $( from a string", () => {
    const hostile = scopeOf({ text: "$(nodes.secret.output)" }, { secret: "s3cret" });
    expect(interpolate("$(input.text)", hostile)).toBe("$(nodes.secret.output)");
    expect(interpolate("see $(input.text)", hostile)).toBe("see $(nodes.secret.output)");
    expect(interpolate('$("$(")input.text)', hostile)).toBe("$(input.text)");
  });

  test("returns any JSON that passes through unchanged", () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: "binary" }), (value) => {
        const json = toPlainJson(value);
        expect(interpolate("$(nodes.a.output)", scopeOf(null, { a: json }))).toEqual(json);
      }),
    );
  });

  test.each<[string, Json]>([
    ["b'abc'", "YWJj"],
    ["timestamp(input.when)", "2026-07-01T10:00:00.000Z"],
    ["duration('1h30m')", "5400s"],
    ["duration('-1500ms')", "-1.5s"],
    ["5u", 5],
    ["-0.0", 0],
    ["{1: 'a', true: 'b'}", { "1": "a", true: "b" }],
    ["bytes('{\"a\":[1,2.5]}').json().a", [1, 2.5]],
  ])("writes %s as JSON", (cel, result) => {
    expect(interpolate(`$(${cel})`, scope)).toEqual(result);
  });

  test.each([
    ["9007199254740993", "beyond 2^53"],
    ["int(1e300)", "64 bits"],
    ["-(-9223372036854775807 - 1)", "64 bits"],
    ["1.0 / 0.0", "Infinity"],
    ["type(1)", "a type"],
    ["'😀'.substring(0, 1)", "cut inside a character"],
    ["{1: 'a', '1': 'b'}", 'written "1"'],
    ["{'a': 1, 'a': 2}", "given twice"],
    ["{2.5: 1}", "map key"],
  ])("refuses %s, which JSON cannot carry", (cel, message) => {
    const error = errorOf(() => interpolate(`$(${cel})`, scope));
    expect(error.code).toBe("ExpressionFailed");
    expect(error.message).toContain(message);
  });
});

describe("numbers", () => {
  test("are int when whole and double otherwise", () => {
    expect(interpolate("$(type(input.count) == int && type(input.price) == double)", scope)).toBe(true);
    expect(interpolate("$(input.count / 2)", scope)).toBe(1);
    expect(interpolate("$(double(input.count) * input.price)", scope)).toBe(7.5);
    expect(interpolate("$(input.count == 3.0 && input.count > input.price)", scope)).toBe(true);
  });

  test("that do not mix say how to convert", () => {
    const error = errorOf(() => interpolate("$(input.count * input.price)", scope));
    expect(error).toMatchObject({ code: "ExpressionFailed", offset: 2 });
    expect(error.message).toContain("convert with double(…)");
  });
});

describe("evaluateCondition and evaluateItems", () => {
  test("take bare CEL", () => {
    expect(evaluateCondition("nodes.gather.output.facts.size() > 1", scope)).toBe(true);
    expect(evaluateCondition("has(nodes.gather.output.none) || has(nodes.never.output)", scope)).toBe(false);
    expect(evaluateItems("nodes.gather.output.facts.map(f, f.text)", scope)).toEqual(["one", "two"]);
  });

  test("refuse another type", () => {
    expect(errorOf(() => evaluateCondition("1", scope)).message).toContain("true or false, not a number");
    expect(errorOf(() => evaluateCondition("null", scope)).message).toContain("not null");
    expect(errorOf(() => evaluateItems("{}", scope)).message).toContain("a list, not a map");
    expect(errorOf(() => evaluateItems("'abc'", scope)).message).toContain("a list, not a string");
  });
});

describe("errors", () => {
  test.each([
    ["input.nope", "ExpressionFailed", "`input.nope` does not exist", 6],
    ["nodes.gather.output.nope", "ExpressionFailed", "`nodes.gather.output.nope` does not exist", 20],
    ["nodes.never.output", "ExpressionFailed", "`nodes.never.output` does not exist", 12],
    ["input.tags[7]", "ExpressionFailed", "`input.tags[7]` is outside the list", 0],
    ["input.topic.x", "ExpressionFailed", "`input.topic.x` does not exist", 12],
    ["foo + 1", "InvalidExpression", "Unknown variable: foo", 0],
    ["now()", "InvalidExpression", "'now()'", 0],
    ["1 +", "InvalidExpression", "Unexpected token", 3],
    ["nodes.sign-off.output", "InvalidExpression", 'write nodes["sign-off"].output', 0],
    ["nodes[input.topic].output", "InvalidExpression", "must be written out", 0],
    ["optional.none()", "InvalidExpression", "not supported", 0],
    ["timestamp(input.when).getHours('Europe/Paris')", "InvalidExpression", "time zone", 0],
    ["timestamp('2026-07-01 10:00:00 ')", "ExpressionFailed", "RFC 3339", 0],
  ])("of %s name code, reason and place", (cel, code, message, offset) => {
    const error = errorOf(() => evaluateItems(cel, scope));
    expect(error).toMatchObject({ code, offset, expression: cel });
    expect(error.message).toContain(message);
  });

  test("count the offset in the whole text", () => {
    expect(errorOf(() => interpolate("ab $(input.nope)", scope)).offset).toBe(11);
  });

  test("say that item belongs to forEach", () => {
    expect(errorOf(() => interpolate("$(item)", scopeOf({}))).message).toContain("inside forEach");
  });
});

describe("hostile input", () => {
  const evil = JSON.parse('{"constructor":1,"__proto__":{"x":1},"toString":null,"length":5}') as Json;

  test("with names of built-in members is data like any other", () => {
    const hostile = scopeOf(evil);
    expect(interpolate("$(input)", hostile)).toEqual(evil);
    expect(interpolate("$(input.constructor)", hostile)).toBe(1);
    expect(interpolate("$(input.__proto__.x)", hostile)).toBe(1);
    expect(evaluateCondition("input == input && size(input) == 4", hostile)).toBe(true);
    expect(interpolate("$({'__proto__': 1})", hostile)).toEqual(JSON.parse('{"__proto__":1}'));
  });

  test.each([
    "input.constructor",
    "input.toString",
    "input.tags.length",
    "input.tags.constructor",
    "input.topic.constructor",
    "cel.__proto__",
    "cel.__proto__.__proto__",
    "timestamp(input.when).__proto__",
    "timestamp(input.when).getTime",
    "duration('1s').constructor",
    "b'x'.constructor",
    "5u.constructor",
  ])("finds nothing inherited in %s", (cel) => {
    expect(["ExpressionFailed", "InvalidExpression"]).toContain(errorOf(() => interpolate(`$(${cel})`, scope)).code);
  });

  test("counts days of the year in UTC whatever zone the machine is in", () => {
    const days = ["2026-01-01T00:00:00Z", "2026-07-01T00:00:00Z", "2024-12-31T23:59:59Z", "2100-03-01T00:00:00Z"];
    expect(evaluateItems("input.map(d, timestamp(d).getDayOfYear())", scopeOf(days))).toEqual([0, 181, 365, 59]);
  });

  test("and hostile text never give anything but a value or an ExpressionError", () => {
    const leaf = fc.constantFrom(
      "input",
      "item",
      "nodes.a.output",
      "1",
      "2.5",
      "'ab'",
      "b'a'",
      "5u",
      "null",
      "[]",
      "{}",
      "x",
      "nodes",
      "int",
    );
    const operator = fc.constantFrom("+", "-", "*", "/", "%", "==", "!=", "<", ">=", "in", "&&", "||", "? 1 :");
    const suffix = fc.constantFrom(
      ".a",
      '["a"]',
      "[0]",
      ".size()",
      ".split('')",
      ".join(',')",
      ".getHours()",
      ".json()",
      ".hex()",
    );
    const call = fc.constantFrom(
      "size",
      "string",
      "int",
      "double",
      "bytes",
      "timestamp",
      "duration",
      "type",
      "dyn",
      "has",
      "!",
      "-",
      "",
    );
    const macro = fc.constantFrom("map", "filter", "all", "exists", "exists_one");
    const { expression } = fc.letrec<{ expression: string }>((tie) => ({
      expression: fc.oneof(
        { maxDepth: 4, withCrossShrink: true },
        leaf,
        fc.tuple(tie("expression"), operator, tie("expression")).map((parts) => parts.join(" ")),
        fc.tuple(tie("expression"), suffix).map((parts) => parts.join("")),
        fc.tuple(call, tie("expression")).map(([name, inner]) => `${name}(${inner})`),
        fc
          .tuple(tie("expression"), macro, tie("expression"))
          .map(([list, name, body]) => `${list}.${name}(x, ${body})`),
        fc.tuple(tie("expression"), tie("expression")).map(([text, pattern]) => `${text}.matches(${pattern})`),
        fc.tuple(tie("expression"), tie("expression")).map(([first, second]) => `[${first}, {'k': ${second}}]`),
        fc.tuple(tie("expression"), tie("expression")).map(([bound, body]) => `cel.bind(x, ${bound}, ${body})`),
      ),
    }));
    const text = fc.oneof(
      { arbitrary: expression, weight: 4 },
      { arbitrary: fc.string({ unit: "binary" }), weight: 1 },
    );
    const value = fc.jsonValue({ stringUnit: "binary", maxDepth: 3 }).map((json) => toPlainJson(json));
    let values = 0;
    fc.assert(
      fc.property(text, value, (cel, input) => {
        const hostile = scopeOf(input, { a: input }, input);
        for (const run of [
          () => interpolate(`$(${cel})`, hostile),
          () => evaluateItems(cel, hostile),
          () => evaluateCondition(cel, hostile),
        ]) {
          const result: unknown = settled(run);
          if (!(result instanceof ExpressionError)) values++;
        }
      }),
      { numRuns: 3_000 },
    );
    expect(values).toBeGreaterThan(100);
  });
});
