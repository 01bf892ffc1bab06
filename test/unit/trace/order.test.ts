import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canonicalNodeOrder as orderOf, type GraphShape } from "../../../src/core/dag/spec-graph.ts";
import { comparePaths } from "../../../src/core/trace/order.ts";

function canonicalNodeOrder(nodes: GraphShape["nodes"], last: GraphShape["finally"] = []): readonly string[] {
  return orderOf({ nodes, finally: last });
}

describe("the canonical order of nodes", () => {
  it("takes ready nodes by name, and a node after all it depends on", () => {
    const nodes = [
      { name: "write", dependsOn: ["rank", "b"] },
      { name: "b" },
      { name: "a", dependsOn: ["z"] },
      { name: "z" },
      { name: "rank", dependsOn: ["a"] },
    ];
    expect(canonicalNodeOrder(nodes)).toEqual(["b", "z", "a", "rank", "write"]);
  });

  it("compares names by code units, not by a locale", () => {
    expect(canonicalNodeOrder([{ name: "b" }, { name: "a-b" }, { name: "ab" }, { name: "a0" }])).toEqual([
      "a-b",
      "a0",
      "ab",
      "b",
    ]);
  });

  it("puts finally nodes last, whatever they are named and depend on", () => {
    const order = canonicalNodeOrder(
      [{ name: "z" }, { name: "m" }],
      [{ name: "b", dependsOn: ["a", "z"] }, { name: "a" }],
    );
    expect(order).toEqual(["m", "z", "a", "b"]);
  });

  it("does not depend on the order in which the manifest lists nodes, holds every node once and every dependency first", () => {
    const dag = fc.array(fc.array(fc.nat(), { maxLength: 4 }), { minLength: 1, maxLength: 60 }).map((rows) =>
      rows.map((dependsOn, index) => ({
        name: `n${(index * 7919) % 1009}`,
        dependsOn: index === 0 ? [] : dependsOn.map((of) => `n${((of % index) * 7919) % 1009}`),
      })),
    );
    fc.assert(
      fc.property(dag, fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true })), (nodes, random) => {
        const order = canonicalNodeOrder(nodes);
        expect([...order].sort()).toEqual(nodes.map((node) => node.name).sort());
        for (const node of nodes)
          for (const name of node.dependsOn) expect(order.indexOf(name)).toBeLessThan(order.indexOf(node.name));
        const shuffled = nodes.map((node) => ({ node, key: random.next().value })).sort((a, b) => a.key - b.key);
        expect(canonicalNodeOrder(shuffled.map(({ node }) => node))).toEqual(order);
      }),
    );
  });

  it("orders a chain of 100,000 nodes without recursion", () => {
    const nodes = Array.from({ length: 100_000 }, (_, index) => ({
      name: `n${index}`,
      dependsOn: index === 0 ? [] : [`n${index - 1}`],
    }));
    expect(canonicalNodeOrder(nodes.toReversed()).at(-1)).toBe("n99999");
  });

  it("puts a node after those whose output it names, as it runs after them", () => {
    const nodes = [
      { name: "a", agent: { ref: "plain", prompt: "on $(nodes.z.output)" } },
      { name: "b", when: "nodes.y.output.on" },
      { name: "y" },
      { name: "z" },
    ];
    expect(canonicalNodeOrder(nodes)).toEqual(["y", "b", "z", "a"]);
  });

  it("still names every node of a cycle", () => {
    expect(
      canonicalNodeOrder([{ name: "a", dependsOn: ["b"] }, { name: "b", dependsOn: ["a"] }, { name: "c" }]),
    ).toEqual(["c", "a", "b"]);
  });
});

describe("the order of steps inside a node", () => {
  it("is a model step, its tools' inner calls, the tool, then the next model step", () => {
    const paths = [
      [1, 0],
      [0, 1],
      [0, 2],
      [0, 1, 1, 0],
      [0, 0],
      [0, 1, 0, 0],
      [10, 0],
      [2, 0],
    ];
    expect([...paths].sort(comparePaths)).toEqual([
      [0, 0],
      [0, 1, 0, 0],
      [0, 1, 1, 0],
      [0, 1],
      [0, 2],
      [1, 0],
      [2, 0],
      [10, 0],
    ]);
  });

  it("is a total order", () => {
    const path = fc.array(fc.nat(3), { minLength: 2, maxLength: 6 });
    fc.assert(
      fc.property(path, path, path, (a, b, c) => {
        expect(Math.sign(comparePaths(a, b))).toBe(-Math.sign(comparePaths(b, a)) + 0);
        const [first, second, third] = [a, b, c].sort(comparePaths);
        expect(comparePaths(first!, third!)).toBeLessThanOrEqual(0);
        expect(comparePaths(first!, second!)).toBeLessThanOrEqual(0);
        expect(comparePaths(a, b) === 0).toBe(a.join() === b.join());
      }),
    );
  });
});
