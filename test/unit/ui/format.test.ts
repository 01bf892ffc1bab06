import { describe, expect, it } from "vitest";
import { trimmed } from "../../../src/cli/ui/trim.ts";
import type { TraceRow } from "../../../src/core/trace/rows.ts";
import { age, between, elapsed, visible } from "../../../src/ui/page/format.ts";

describe("times on the page", () => {
  it.each([
    [12, "12ms"],
    [940, "0.9s"],
    [12_400, "12s"],
    [185_000, "3m05s"],
    [7_620_000, "2h07m"],
    [400_000_000, "4d"],
    [-5, "0ms"],
  ])("%i ms are %s", (ms, text) => expect(elapsed(ms)).toBe(text));

  it("counts on while there is no end, and says nothing without a beginning", () => {
    const now = Date.parse("2026-01-01T00:01:00Z");
    expect(between("2026-01-01T00:00:30Z", undefined, now)).toBe("30s");
    expect(between(undefined, undefined, now)).toBe("");
    expect(age("2026-01-01T00:00:00Z", now)).toBe("60s");
  });
});

describe("names and errors on the page", () => {
  it("stay on one line and hide nothing", () => {
    expect(visible("a\n\tb")).toBe("a b");
    expect(visible("gnp.\u202Eexe")).toBe("gnp.\\u202eexe");
    expect(visible("\u0000\u200B\u001b[31m")).toBe("\\u0000\\u200b\\u001b[31m");
    expect(visible("Grüße, 世界 🙂")).toBe("Grüße, 世界 🙂");
  });
});

describe("a long request", () => {
  const row = (count: number) =>
    ({ input: { model: "m", messages: Array.from({ length: count }, (_, n) => ({ n })) } }) as unknown as TraceRow;

  it("keeps the first and the latest messages, and says how many are between", () => {
    const { messages } = trimmed(row(1_000)).input as { messages: readonly unknown[] };
    expect(messages).toHaveLength(42);
    expect(messages.slice(0, 3)).toEqual([{ n: 0 }, { omitted_messages: 959 }, { n: 960 }]);
  });

  it("is whole while it is short", () => {
    expect(trimmed(row(41))).toEqual(row(41));
    expect(trimmed({ input: null } as TraceRow)).toEqual({ input: null });
  });
});
