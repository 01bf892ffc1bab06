import { describe, expect, test } from "vitest";
import { cursorText, readCursor, saysEnd } from "../../../../src/operator/api/event-cursor.ts";

describe("the id of an event", () => {
  const nodes = ["write", "gather", "rate"];
  const keys = [{ node: "gather" }, { node: "rate", item: 0 }, { node: "rate", item: 1 }, { node: "write" }];

  test("says how many entries of each item were told, whatever order the nodes come in", () => {
    const told = new Map([
      ["gather", 12],
      ["rate[1]", 4],
      ["write", 0],
    ]);
    const text = cursorText(nodes, keys, told);
    expect(text).toBe("0:12,1.1:4");
    expect(readCursor([...nodes].reverse(), text)).toEqual(
      new Map([
        ["gather", 12],
        ["rate[1]", 4],
      ]),
    );
    expect(cursorText(nodes, keys, new Map())).toBe("-");
  });

  test("says whether the end was told", () => {
    const told = new Map([["gather", 12]]);
    expect(cursorText(nodes, keys, told, true)).toBe("0:12,end");
    expect(readCursor(nodes, "0:12,end")).toEqual(told);
    expect(["0:12,end", "end", "0:12", "-", undefined].map(saysEnd)).toEqual([true, true, false, false, false]);
  });

  test("is packed where a run is large, and fits into a header", () => {
    const names = Array.from({ length: 1_000 }, (_, index) => `node-${index}`);
    const told = new Map(names.map((name, index) => [name, 10 + (index % 7)]));
    const text = cursorText(
      names,
      names.map((node) => ({ node })),
      told,
    );
    expect(text.length).toBeLessThan(8_192);
    expect(readCursor(names, text)).toEqual(told);
  });

  test.each(["", "-", "nonsense", "z!!!", "zAAAA", "9:1", "0:x", "0:1e9", "0.99999999:1", "-1:2"])(
    "that reads %j says nothing",
    (text) => {
      expect(readCursor(nodes, text)).toEqual(new Map());
    },
  );
});
