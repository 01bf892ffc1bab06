import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Json } from "../../../src/core/digest/json.ts";
import { conditionReferences, type References, templateReferences } from "../../../src/core/expressions/references.ts";

function messages(references: References): string[] {
  return references.problems.map((problem) => problem.error.message);
}

describe("conditionReferences", () => {
  test.each([
    ["nodes.a.output.x > 1 && nodes['b-c'].output == null", ["a", "b-c"]],
    ['nodes.a["output"]', ["a"]],
    ["has(nodes.a.output.x)", ["a"]],
    ["nodes.a.output[nodes.b.output]", ["a", "b"]],
    ["nodes.a.output.filter(x, x in nodes.b.output).size() > 0", ["a", "b"]],
    ["cel.bind(x, nodes.a.output, x + x) == {'k': [nodes.b.output]}", ["a", "b"]],
    ["input.x ? nodes.a.output : -nodes.b.output", ["a", "b"]],
    ["[1].all(nodes, nodes.x == 1)", []],
    ["[nodes.a.output].all(nodes, nodes == 1)", ["a"]],
    ["'nodes.a.output' == \"nodes\"", []],
  ])("finds the nodes of %s", (cel, nodes) => {
    const found = conditionReferences(cel);
    expect(messages(found)).toEqual([]);
    expect([...found.nodes]).toEqual(nodes);
  });

  test("tells the use of input and item, not of variables that hide them", () => {
    expect(conditionReferences("input.x == item")).toMatchObject({ usesInput: true, usesItem: true });
    expect(conditionReferences("[1].all(input, input == 1) || [1].all(item, item == 1)")).toMatchObject({
      usesInput: false,
      usesItem: false,
    });
    expect(conditionReferences("{'input': 1}.item")).toMatchObject({ usesInput: false, usesItem: false });
  });

  test.each([
    ["nodes[input.name].output", "must be written out"],
    ["nodes[1].output", "must be written out"],
    ["'a'.matches('(?=b)')", "not an RE2 pattern"],
    ["input.names.exists(n, n.matches('a{2'  + 'b)')) || input.x.matches('[')", "not an RE2 pattern"],
    ["nodes.map(n, n)", "Name one node"],
    ["size(nodes)", "Name one node"],
    ["cel.bind(n, nodes, n.a.output)", "Name one node"],
    ["nodes.a", 'nodes["a"].output'],
    ["has(nodes.a)", 'nodes["a"].output'],
    ["nodes.a.status", 'nodes["a"].output'],
    ["foo.bar", "Unknown variable: foo"],
    ["input.now()", "dyn.now()"],
    ["now() > 1", "now()"],
    ["1 + 'a'", "no such overload"],
    ["1 +", "Unexpected token"],
    ["99999999999999999999", "64 bits"],
    ["input.x.getHours('UTC')", "time zone"],
  ])("reports %s", (cel, message) => {
    expect(messages(conditionReferences(cel)).join("\n")).toContain(message);
  });

  test.each([
    ["nodes.sign-off.output", "sign-off"],
    ["nodes.a-b-c.output.x > 1", "a-b-c"],
    ["1 < 2 && nodes.step-2.output", "step-2"],
    ["nodes.step-2e.output", "step-2e"],
    ["nodes.2nd.output", "2nd"],
    ["nodes.in.output", "in"],
    ["nodes.true.output", "true"],
  ])("suggests the bracket form for %s", (cel, name) => {
    const found = conditionReferences(cel);
    expect(found.problems).toHaveLength(1);
    expect(found.problems[0]?.error.code).toBe("InvalidExpression");
    expect(messages(found)[0]).toContain(`write nodes["${name}"].output`);
  });

  test("leaves real subtraction alone", () => {
    const found = conditionReferences("nodes.a.output - nodes.b.output.x-1 > 0");
    expect(messages(found)).toEqual([]);
    expect([...found.nodes]).toEqual(["a", "b"]);
  });
});

describe("templateReferences", () => {
  test("collects over all strings of a value and says where a problem stands", () => {
    const value: Json = {
      "$(nodes.key.output)": 1,
      list: ["plain", "$(nodes.a.output) and $(nodes['b'].output + input.x)"],
      bad: { one: "ab $(nodes[item].output)", two: "ab $(1 +)" },
    };
    const found = templateReferences(value);
    expect([...found.nodes]).toEqual(["a", "b"]);
    expect(found).toMatchObject({ usesInput: true, usesItem: true });
    expect(found.problems.map(({ path, error }) => ({ path, offset: error.offset }))).toEqual([
      { path: ["bad", "one"], offset: 5 },
      { path: ["bad", "two"], offset: 8 },
    ]);
  });

  test("never throws", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: "binary" }),
          fc.string().map((cel) => `$(${cel})`),
        ),
        (text) => {
          expect(conditionReferences(text).problems.every((problem) => problem.error.name === "ExpressionError")).toBe(
            true,
          );
          expect(templateReferences([text]).problems.every((problem) => problem.path[0] === 0)).toBe(true);
        },
      ),
      { numRuns: 1_000 },
    );
  });
});
