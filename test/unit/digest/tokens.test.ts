import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { estimateTokens, tokenEstimator } from "../../../src/core/digest/tokens.ts";

describe("estimateTokens", () => {
  test.each([
    ["", 0],
    ["a", 1],
    ["abcd", 1],
    ["abcde", 2],
    ["€€", 2],
    ["😀", 1],
    ["😀a", 2],
  ])("counts %j as %i", (text, tokens) => {
    expect(estimateTokens(text)).toBe(tokens);
  });
});

describe("tokenEstimator", () => {
  test("counts a surrogate pair once when a chunk ends in its middle", () => {
    const estimator = tokenEstimator();
    for (const unit of ["\ud83d", "", "\ude00", "\ud83d", "\ude00"]) estimator.add(unit);
    expect(estimator.tokens).toBe(2);
  });

  test("gives the figure of the whole text however it is cut", () => {
    // Single code units, so that pairs are cut and lone halves occur.
    const units = fc.array(
      fc.oneof(fc.constantFrom("a", "é", "€", "\ud83d", "\ude00", "😀", ""), fc.string({ unit: "binary" })),
    );
    fc.assert(
      fc.property(units, (chunks) => {
        const estimator = tokenEstimator();
        let text = "";
        for (const chunk of chunks) {
          text += chunk;
          expect(estimator.add(chunk)).toBe(estimateTokens(text));
        }
      }),
    );
  });
});
