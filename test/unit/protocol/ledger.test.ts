/** The random half of the store suite drives these through commands; here each rule stands alone. */
import { describe, expect, test } from "vitest";
import { ledgerProblem } from "../../../src/core/protocol/accounts.ts";
import { emptyLedger, loseReserved, emptyAccount, spentOf } from "../../../src/core/protocol/amounts.ts";
import type { Ledger } from "../../../src/core/protocol/types.ts";
import { amounts } from "../../support/journal.ts";

const held: Ledger = { ...emptyLedger, settled: amounts({ TotalTokens: 5 }), reserved: amounts({ TotalTokens: 10 }) };
const after = (change: Partial<Ledger>): Ledger => ({ ...held, ...change });

describe("a new ledger", () => {
  test.for([
    ["the same again", {}, ["begin", "grow", "commit", "finish", "heal"]],
    ["more held", { reserved: amounts({ TotalTokens: 11 }) }, ["begin", "grow", "heal"]],
    [
      "all that was held is used",
      { settled: amounts({ TotalTokens: 15 }), reserved: amounts({}) },
      ["commit", "finish", "heal"],
    ],
    ["some given back unused", { reserved: amounts({ TotalTokens: 3 }) }, ["commit", "finish", "heal"]],
    ["used without being held", { settled: amounts({ TotalTokens: 6 }) }, ["begin", "grow", "heal"]],
    ["use taken back", { settled: amounts({ TotalTokens: 4 }) }, []],
    ["overshoot alone", { overshoot: amounts({ TotalTokens: 7 }) }, ["begin", "grow", "commit", "finish", "heal"]],
    ["less than nothing held", { reserved: amounts({ TotalTokens: -1 }) }, []],
    ["half a token", { reserved: amounts({ TotalTokens: 10.5 }) }, []],
    ["beyond exact numbers", { reserved: amounts({ TotalTokens: 2 ** 53 }) }, []],
  ] as const)("%s is a sound ledger for exactly these commands", ([, change, sound]) => {
    const ops = ["begin", "grow", "commit", "finish", "heal"] as const;
    expect(ops.filter((op) => ledgerProblem(held, after(change), op) === undefined)).toEqual(sound);
  });
});

test("what is lost stays spent, but for steps, which the next attempt makes again", () => {
  const account = { ...emptyAccount({}, {}), reserved: amounts({ TotalTokens: 7, Steps: 2 }) };
  const lost = loseReserved(account, account.reserved);
  expect(lost.reserved).toEqual(amounts({}));
  expect([spentOf(lost, "TotalTokens"), spentOf(lost, "Steps")]).toEqual([7, 0]);
});
