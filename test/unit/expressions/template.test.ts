import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ExpressionError } from "../../../src/core/expressions/errors.ts";
import { parseTemplate } from "../../../src/core/expressions/template.ts";
import { errorOf, settled } from "./scope.ts";

function expressionsIn(text: string): string[] {
  return parseTemplate(text).parts.flatMap((part) => ("expression" in part ? [part.expression] : []));
}

describe("parseTemplate", () => {
  test("splits text and expressions and keeps their offsets", () => {
    expect(parseTemplate("a $(input.x)$(1) b").parts).toEqual([
      { text: "a " },
      { expression: "input.x", offset: 4 },
      { expression: "1", offset: 14 },
      { text: " b" },
    ]);
    expect(parseTemplate("").parts).toEqual([]);
  });

  test.each([
    ["parentheses", "$(((1 + 2)) * size([(3)]))", "((1 + 2)) * size([(3)])"],
    ["a string", '$(size(")"))', 'size(")")'],
    ["an escaped quote", String.raw`$("\")")`, String.raw`"\")"`],
    ["a raw string", String.raw`$(r")\d")`, String.raw`r")\d"`],
    ["triple quotes", '$("""a ")" \n)""")', '"""a ")" \n)"""'],
    ["bytes", "$(b')')", "b')'"],
    ["a comment", "$(1 // )\n + 2)", "1 // )\n + 2"],
    ["a dollar and parenthesis in a string", '$("$(")', '"$("'],
  ])("finds the end behind %s", (_what, text, expression) => {
    expect(expressionsIn(`${text} tail )`)).toEqual([expression]);
  });

  test("takes dollars without a parenthesis and closing parentheses as text", () => {
    expect(parseTemplate("$ $a ${b} ) $").parts).toEqual([{ text: "$ $a ${b} ) $" }]);
    expect(parseTemplate("$$(1)").parts).toEqual([{ text: "$" }, { expression: "1", offset: 3 }]);
  });

  test.each([
    ["ab $()", 5, "empty"],
    ["ab $( )", 5, "empty"],
    ["ab $(1", 5, "never closed"],
    ["ab $(", 5, "Unexpected token"],
    ["ab $(1 +)", 8, "Unexpected token"],
    ["ab $(a b)", 7, "Unexpected character"],
    ["ab $('x)", 5, "Unterminated string"],
    ["ab $(nodes.2nd.output)", 11, 'write nodes["2nd"].output'],
  ])("says where %j is wrong", (text, offset, message) => {
    const error = errorOf(() => parseTemplate(text));
    expect(error).toMatchObject({ code: "InvalidExpression", offset });
    expect(error.message).toContain(message);
  });

  test("refuses expressions that are too long, too deep or too many", () => {
    const nested = `$(${"(".repeat(5_000)}1${")".repeat(5_000)})`;
    expect(errorOf(() => parseTemplate(nested)).code).toBe("ExpressionTooExpensive");
    expect(errorOf(() => parseTemplate(`$(${"!".repeat(16_000)}true)`)).code).toBe("ExpressionTooExpensive");
    expect(errorOf(() => parseTemplate("$(1)".repeat(5_000))).code).toBe("ExpressionTooExpensive");
    expect(errorOf(() => parseTemplate(`$("${"a".repeat(20_000)}")`)).message).toContain("Unterminated string");
  });

  test("gives back the text when its parts are joined, or throws ExpressionError", () => {
    const pieces = fc.constantFrom(
      "$(",
      ")",
      "(",
      '"',
      "'",
      "\\",
      "//",
      "\n",
      "$",
      "input",
      ".x",
      "1",
      " + ",
      "[",
      "]",
      "{",
      "r'",
      '"""',
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: "binary" }),
          fc.array(pieces).map((parts) => parts.join("")),
        ),
        (text) => {
          const parsed = settled(() => parseTemplate(text));
          fc.pre(!(parsed instanceof ExpressionError));
          const joined = parsed.parts.map((part) => ("text" in part ? part.text : `$(${part.expression})`)).join("");
          expect(joined).toBe(text);
        },
      ),
      { numRuns: 2_000, maxSkipsPerRun: 100 },
    );
  });
});
