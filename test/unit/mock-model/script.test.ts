import { describe, expect, it } from "vitest";
import { EXAMPLE_SCRIPT } from "../../../src/cli/mock-model/example-script.ts";
import { fillerPieces, piecesOf } from "../../../src/cli/mock-model/pieces.ts";
import { globMatches } from "../../../src/cli/mock-model/rules.ts";
import { loadScript, ScriptError, withDefaults } from "../../../src/cli/mock-model/script.ts";

function problemsOf(text: string): readonly string[] {
  try {
    loadScript(text, "s.yaml");
  } catch (error) {
    if (error instanceof ScriptError) return error.problems;
    throw error;
  }
  return [];
}

describe("loadScript", () => {
  it("accepts the example that --example prints, with every rule in it", () => {
    expect(loadScript(EXAMPLE_SCRIPT, "example.yaml").rules).toHaveLength(7);
  });

  it("names line, path, the unknown field, the nearest and the allowed ones", () => {
    const [problem] = problemsOf("rules:\n  - match: { modle: x }\n    reply: { text: hi }\n");
    expect(problem).toBe(
      "s.yaml:2: rules[0].match: unknown field `modle` (did you mean `model`?); allowed: model, system, prompt, lastUser, lastTool, turn, tools, times",
    );
  });

  it("reports every problem of a script at once", () => {
    const problems = problemsOf(
      "rules:\n  - reply: { text: a, status: 500 }\n  - reply: { status: 200 }\n  - reply: {}\n  - reply: { text: a, usage: Wrong }\n",
    );
    expect(problems).toEqual([
      "s.yaml:2: rules[0].reply: a reply is an answer or an error: remove status or the answer",
      "s.yaml:3: rules[1].reply.status: must be between 400 and 599",
      "s.yaml:4: rules[2].reply: a reply needs one of text, json, structured, tokens, toolCalls, or status for an error",
      "s.yaml:5: rules[3].reply.usage: must be one of Exact, Missing, Zero, Low, High, or { inputTokens, outputTokens }",
    ]);
  });

  it.each([
    ["rules: [", /^s\.yaml:1: not YAML: /],
    ["", /^s\.yaml:1: must be an object with the fields models, randomIds, defaults, rules$/],
    ["rules: []", /rules: must hold at least one rule/],
    ["rules: [{ reply: { tokens: 5, cutAfterTokens: 1, stallAfterTokens: 2 } }]", /give only one of stallAfterTokens/],
    [
      "rules: [{ reply: { text: a, tokens: 2 } }]",
      /give only one of text, json, structured, tokens; found text and tokens/,
    ],
    ["rules: [{ reply: { text: a } }]\ndefaults: { tokensPerSecond: 1, delayMsPerToken: 1 }", /^s\.yaml:2: defaults/],
  ])("refuses %j", (text, expected) => {
    expect(problemsOf(text).join("\n")).toMatch(expected);
  });

  it("lets a rule's pace and fault replace the default ones as a whole", () => {
    const defaults = { tokensPerSecond: 9, cutAfterTokens: 3, usage: "Zero" } as const;
    expect(withDefaults({ text: "a", delayMsPerToken: 2, stallAfterTokens: 1 }, defaults)).toEqual({
      text: "a",
      delayMsPerToken: 2,
      stallAfterTokens: 1,
      usage: "Zero",
    });
  });
});

describe("pieces", () => {
  it.each(["", "abc", "hello world, this is text", "naïve — 日本語 🙂🙂 é"])(
    "join to the text, none above 4 bytes: %j",
    (text) => {
      const pieces = [...piecesOf(text)];
      expect(pieces.join("")).toBe(text);
      expect(pieces.filter((piece) => Buffer.byteLength(piece) > 4)).toEqual([]);
    },
  );

  it("are as many as OAO estimates for ASCII text", () => {
    expect([...piecesOf("x".repeat(41))]).toHaveLength(Math.ceil(41 / 4));
  });

  it("of filler are exactly 4 bytes each", () => {
    const pieces = [...fillerPieces(1000)];
    expect(pieces).toHaveLength(1000);
    expect(new Set(pieces.map((piece) => Buffer.byteLength(piece)))).toEqual(new Set([4]));
  });
});

describe("globs", () => {
  it.each([
    ["gpt-*", "gpt-5-mini", true],
    ["*", "", true],
    ["a*b*c", "a-b-b-c", true],
    ["a*bc*c", "abc", false],
    ["gpt.5", "gpt-5", false],
    ["ab*ba", "aba", false],
  ])("%s against %s is %s", (glob, text, expected) => {
    expect(globMatches(glob, text)).toBe(expected);
  });
});
