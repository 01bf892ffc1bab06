import { expect, test } from "vitest";
import { problemsOf } from "../../../../src/operator/api/openapi.ts";
import { type Operation, operations } from "../../../../src/operator/api/routes.ts";

test.each(Object.entries<Operation>(operations))(
  "%s says that there may be no such form of it, and that a parameter may be wrong",
  (_, operation) => {
    expect(problemsOf(operation)).toEqual(expect.arrayContaining(["not-acceptable", "invalid"]));
  },
);

test("a trace says that its journal may be gone", () => {
  expect(problemsOf(operations.trace)).toContain("conflict");
});
