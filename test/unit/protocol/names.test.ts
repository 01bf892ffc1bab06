import { describe, expect, test } from "vitest";
import { genesis, isUid, itemKey, itemName, parseItemName } from "../../../src/core/protocol/names.ts";

describe("names of items", () => {
  test("an item is named after its node, and the name reads back", () => {
    for (const key of [{ node: "gather" }, { node: "rate", item: 0 }, { node: "rate", item: 12 }]) {
      expect(parseItemName(itemName(key))).toEqual(key);
    }
    expect(itemName({ node: "rate", item: 3 })).toBe("rate[3]");
  });

  test("stores keep a node that is called like an item apart from that item", () => {
    const keys = [
      { node: "rate", item: 0 },
      { node: "rate[0]" },
      { node: "0/rate" },
      { node: "rate" },
      { node: "/rate" },
      { node: "", item: 0 },
    ];
    expect(new Set(keys.map(itemKey)).size).toBe(keys.length);
  });

  test("the first hash binds a journal to its run and its item", () => {
    const hashes = [
      genesis("u", { node: "a" }),
      genesis("v", { node: "a" }),
      genesis("u", { node: "b" }),
      genesis("u", { node: "a", item: 0 }),
    ];
    expect(new Set(hashes).size).toBe(4);
    expect(hashes[0]).toMatch(/^[0-9a-f]{64}$/);
  });

  test("a uid holds letters, digits and hyphens only", () => {
    expect(isUid("3f2b8a10-7c1e-4b0a-9d55-000000000000")).toBe(true);
    for (const uid of ["", "..", "a/b", "{a}", "a*", "a b", "a\n", "é", "a".repeat(65)])
      expect(isUid(uid), JSON.stringify(uid)).toBe(false);
  });
});
