import { expect, test } from "vitest";
import { table } from "../../../src/cli/render/table.ts";

const heads = ["NODE", "INPUT", "OUTPUT"];
const rows = [
  ["write", "in ".repeat(10), "out ".repeat(30)],
  ["a-node-of-some-length", "short", "short"],
];
const lines = (columns: number | undefined) =>
  table(heads, rows, { columns, free: [1, 2] })
    .trimEnd()
    .split("\n");

test.each([80, 60])("fits a screen of %i columns by what its texts have too much, with an ellipsis", (columns) => {
  for (const line of lines(columns)) expect(line.length).toBeLessThanOrEqual(columns);
  expect(lines(columns)[1]).toMatch(/^write {18}in in .* {1,2}out .*…$/);
  expect(lines(columns)[2]).toMatch(/^a-node-of-some-length {2}short +short$/);
});

test("says all of it where there is no screen, and never cuts a name", () => {
  expect(lines(undefined)).toEqual(table(heads, rows).trimEnd().split("\n"));
  expect(lines(undefined)[1]).toContain("out ".repeat(30).trimEnd());
  expect(lines(20)[2]).toMatch(/^a-node-of-some-length {2}short/);
});
