import { describe, expect, it } from "vitest";
import { box, type Layout, layoutGraph, neighbour } from "../../../src/ui/page/graph/layout.ts";

type Edges = Readonly<Record<string, readonly string[]>>;

const laidOut = (edges: Edges, finallyNames: readonly string[] = []): Layout =>
  layoutGraph(
    Object.entries(edges).map(([name, dependsOn]) => ({ name, dependsOn, isFinally: finallyNames.includes(name) })),
  );

function overlaps({ nodes }: Layout): number {
  let found = 0;
  for (const [index, a] of nodes.entries())
    for (const b of nodes.slice(index + 1))
      if (Math.abs(a.x - b.x) < box.width && Math.abs(a.y - b.y) < box.height) found += 1;
  return found;
}

/** Like real graphs: most nodes wait for a few that are not far. */
function random(count: number): Edges {
  let state = 7;
  const next = (limit: number) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % limit;
  };
  const name = (index: number) => `n${String(index).padStart(4, "0")}`;
  return Object.fromEntries(
    Array.from({ length: count }, (_, index) => {
      const waits = index === 0 ? [] : Array.from({ length: next(4) }, () => name(Math.max(0, index - 1 - next(60))));
      return [name(index), [...new Set(waits)]];
    }),
  );
}

describe("the layout of a graph", () => {
  it("puts every node right of all that it waits for", () => {
    const { nodes, edges } = laidOut(random(1_000));
    expect(edges.length).toBeGreaterThan(1_000);
    for (const [from, to] of edges) expect(nodes[from]?.x).toBeLessThan(nodes[to]?.x ?? 0);
  });

  it("never puts one node over another", () => {
    expect(overlaps(laidOut(random(1_000)))).toBe(0);
    expect(overlaps(laidOut(Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`n${i}`, []]))))).toBe(0);
  });

  it("is the same for the same graph", () => {
    expect(laidOut(random(300))).toEqual(laidOut(random(300)));
  });

  it("draws a chain as a line, and a diamond with its ends in the middle", () => {
    expect(new Set(laidOut({ a: [], b: ["a"], c: ["b"] }).nodes.map(({ y }) => y)).size).toBe(1);
    const [a, b, c, d] = laidOut({ a: [], b: ["a"], c: ["a"], d: ["b", "c"] }).nodes.map(({ y }) => y);
    expect(a).toBe(d);
    expect(a).toBe(((b ?? 0) + (c ?? 0)) / 2);
  });

  it("puts finally nodes right of all others", () => {
    const { nodes } = laidOut({ a: [], b: ["a"], c: ["b"], clean: [] }, ["clean"]);
    expect(nodes.at(-1)?.x).toBe(Math.max(...nodes.map(({ x }) => x)));
  });

  it("breaks a rank that is too tall", () => {
    const { width, height } = laidOut(Object.fromEntries(Array.from({ length: 1_000 }, (_, i) => [`n${i}`, []])));
    expect(height / width).toBeLessThan(1);
  });

  it("places what names an unknown node, or itself in a circle", () => {
    expect(laidOut({ a: ["nowhere"], b: ["c"], c: ["b"] }).nodes).toHaveLength(3);
  });
});

describe("arrow keys in a graph", () => {
  const layout = laidOut({ a: [], b: ["a"], c: ["a"], d: ["b", "c"] });
  it.each([
    [0, "ArrowRight", 1],
    [1, "ArrowDown", 2],
    [2, "ArrowUp", 1],
    [2, "ArrowRight", 3],
    [3, "ArrowLeft", 1],
    [3, "ArrowRight", 3],
    [1, "ArrowUp", 1],
    [-1, "ArrowRight", 0],
  ])("lead from %i by %s to %i", (from, key, to) => {
    expect(neighbour(layout, from, key)).toBe(to);
  });
});
