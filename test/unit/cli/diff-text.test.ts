import { describe, expect, test } from "vitest";
import { diffText, type ShownPair } from "../../../src/cli/render/diff-text.ts";
import { painter } from "../../../src/cli/render/style.ts";
import { alignSteps } from "../../../src/core/trace/align.ts";
import { stepDifferences } from "../../../src/core/trace/diff.ts";
import { canonicalSteps } from "../../../src/core/trace/journal.ts";
import { recordedRun } from "../../support/recorded-run.ts";

function pairsOf(answer: (step: number) => string): ShownPair[] {
  const [a, b] = [recordedRun({ steps: 8 }), recordedRun({ steps: 8, answer })];
  const steps = ({ object, journals }: typeof a) => canonicalSteps({ nodes: object.spec.nodes ?? [] }, journals);
  const bodyOf = { a: (digest: string) => a.bodies.get(digest), b: (digest: string) => b.bodies.get(digest) };
  return alignSteps(steps(a), steps(b)).map((pair) => ({
    pair,
    differences: stepDifferences(pair, bodyOf, 8),
    isCut: false,
  }));
}
const changed = pairsOf((step) => (step === 5 ? "\u001b[31mred" : `answer ${step}`));

describe("a diff as text", () => {
  test("puts equal steps together, and shows below a changed one what is different", () => {
    expect(diffText(changed, { isWhole: false, width: 80 }, painter(false))).toBe(
      [
        "   STEP  NODE     KIND   NAME  TOKENS  TIME",
        "=  1-5                                       5 steps are the same",
        "~  6     talk     model  main  15      0.0s",
        "    $.output.content",
        '      - "answer 5"',
        '      + "\\u001b[31mred"',
        "~  7     talk     model  main  15      0.0s",
        "    $.input.messages[11].content",
        '      - "answer 5"',
        '      + "\\u001b[31mred"',
        "~  8     talk     model  main  15      0.0s",
        "    its request holds what differs since step 7",
        "=  9     rate[0]  tool   t             0.0s",
        "=  10    rate[1]  tool   t             0.0s",
        "",
      ].join("\n"),
    );
  });

  test("shows every step when asked", () => {
    const text = diffText(changed, { isWhole: true, width: 80 }, painter(false));
    expect(text.split("\n").filter((line) => line.startsWith("="))).toHaveLength(7);
  });

  test("has colours where they are wanted, and no control characters of what was recorded", () => {
    const escape = "\u001b";
    const text = diffText(changed, { isWhole: false, width: 80 }, painter(true));
    expect(text).toContain(`${escape}[33m~  6`);
    expect(text).toContain(`${escape}[31m      - "answer 5"`);
    expect(text).toContain(`${escape}[32m      + "`);
    expect(text).not.toContain(`${escape}[31mred`);
  });
});
