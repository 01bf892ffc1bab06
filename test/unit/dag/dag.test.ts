import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ExecutionSpec } from "../../../src/api/types.ts";
import { dependents, descendants, findCycle, topologicalOrder } from "../../../src/core/dag/dag.ts";
import { canonicalNodeOrder, graphProblems, specGraph } from "../../../src/core/dag/spec-graph.ts";

const graph = (edges: Record<string, string[]>) => new Map(Object.entries(edges));

/** Edges only point to lower numbers, so it is acyclic whatever the names. */
const acyclic = fc
  .array(fc.tuple(fc.string({ minLength: 1, maxLength: 4 }), fc.array(fc.nat(), { maxLength: 4 })), { maxLength: 40 })
  .map((rows) => {
    const unique = [...new Map(rows).entries()];
    return new Map(
      unique.map(([name, picks], place) => [
        name,
        place === 0 ? [] : picks.map((pick) => unique[pick % place]?.[0] ?? ""),
      ]),
    );
  });

describe("topological order", () => {
  test("takes the smallest free name by code unit, capitals and all", () => {
    expect(topologicalOrder(graph({ b: [], a: [], Z: [], é: [], "a-1": ["Z"] }))).toEqual(["Z", "a", "a-1", "b", "é"]);
  });

  test("does not depend on the order in which nodes are written", () => {
    fc.assert(
      fc.property(acyclic, fc.infiniteStream(fc.nat()), (edges, numbers) => {
        const shuffled = [...edges]
          .map((entry) => [numbers.next().value ?? 0, entry] as const)
          .sort((a, b) => a[0] - b[0])
          .map(([, entry]) => entry);
        expect(topologicalOrder(new Map(shuffled))).toEqual(topologicalOrder(edges));
      }),
    );
  });

  test("puts every node after all it depends on, and is the smallest such order", () => {
    fc.assert(
      fc.property(acyclic, (edges) => {
        const done = new Set<string>();
        for (const name of topologicalOrder(edges)) {
          const free = [...edges].filter(([each, needs]) => !done.has(each) && needs.every((need) => done.has(need)));
          expect(name).toBe(free.map(([each]) => each).sort((a, b) => (a < b ? -1 : 1))[0]);
          done.add(name);
        }
        expect(done.size).toBe(edges.size);
      }),
    );
  });

  test("ignores a dependency named twice and one that is no node", () => {
    expect(topologicalOrder(graph({ b: ["a", "a", "ghost"], a: [] }))).toEqual(["a", "b"]);
  });

  test("walks 200,000 nodes in a row without recursion", () => {
    const chain = new Map<string, string[]>();
    for (let each = 0; each < 200_000; each += 1) chain.set(`n${each}`, each === 0 ? [] : [`n${each - 1}`]);
    expect(topologicalOrder(chain).at(-1)).toBe("n199999");
    expect(descendants(chain, "n0").size).toBe(199_999);
    chain.set("n0", ["n199999"]);
    expect(findCycle(chain)?.length).toBe(200_000);
  });
});

describe("cycles", () => {
  test("are named from their smallest name on, each depending on the next", () => {
    expect(findCycle(graph({ d: ["c"], c: ["b"], b: ["a"], a: ["c"], z: ["d"], q: [] }))).toEqual(["a", "c", "b"]);
  });

  test("of one node are self-edges", () => {
    expect(findCycle(graph({ a: [], b: ["b"] }))).toEqual(["b"]);
  });

  test("are found exactly where no order covers all nodes, and are real", () => {
    const any = fc
      .array(fc.array(fc.nat(9), { maxLength: 3 }), { maxLength: 10 })
      .map((rows) => new Map(rows.map((row, each) => [`${each}`, row.map(String)])));
    fc.assert(
      fc.property(any, (edges) => {
        const cycle = findCycle(edges);
        expect(cycle === undefined).toBe(topologicalOrder(edges).length === edges.size);
        for (const [place, name] of (cycle ?? []).entries()) {
          expect(edges.get(name)).toContain(cycle?.[(place + 1) % cycle.length]);
        }
      }),
    );
  });
});

test("dependents and descendants follow edges backwards", () => {
  const edges = graph({ a: [], b: ["a"], c: ["b", "a"], d: [] });
  expect([...dependents(edges)]).toEqual([
    ["a", ["b", "c"]],
    ["b", ["c"]],
    ["c", []],
    ["d", []],
  ]);
  expect([...descendants(edges, "a")].sort()).toEqual(["b", "c"]);
  expect([...descendants(edges, "d")]).toEqual([]);
});

describe("the graph of a spec", () => {
  const spec = (nodes: ExecutionSpec["nodes"], last: ExecutionSpec["finally"] = []): ExecutionSpec => ({
    task: "t",
    tools: [{ name: "t", http: { method: "GET", url: "http://x/" } }],
    agents: [{ name: "writer", model: "m", systemPrompt: "After $(nodes.plan.output)" }],
    nodes,
    finally: last,
  });

  test("has finally nodes last, whatever their names", () => {
    expect(
      canonicalNodeOrder(
        spec([{ name: "z" }, { name: "b", dependsOn: ["z"] }], [{ name: "a2", dependsOn: ["a3"] }, { name: "a3" }]),
      ),
    ).toEqual(["z", "b", "a3", "a2"]);
  });

  test("waits for every node that an expression names, in prompts, arguments, conditions and system prompts", () => {
    const { byName, leaves } = specGraph(
      spec([
        { name: "plan" },
        { name: "write", agent: { ref: "writer", prompt: "Use $(nodes.facts.output)" } },
        {
          name: "facts",
          when: "nodes.plan.output.n > 0",
          tool: { ref: "t", arguments: { deep: ["$(nodes['rank'].output)"] } },
        },
        { name: "rank" },
        { name: "each", forEach: { items: "nodes.rank.output" }, dependsOn: ["plan"] },
      ]),
    );
    expect(byName.get("write")?.dependencies).toEqual(["facts", "plan"]);
    expect(byName.get("facts")?.dependencies).toEqual(["plan", "rank"]);
    expect(byName.get("facts")?.conditionNames).toEqual(["plan"]);
    expect(byName.get("facts")?.inputNames).toEqual(["rank"]);
    expect(byName.get("each")?.inputNames).toEqual(["rank"]);
    expect(leaves).toEqual(["each", "write"]);
  });

  test("names every reason why it cannot run", () => {
    expect(
      graphProblems(
        spec(
          [
            { name: "a", dependsOn: ["b"] },
            { name: "b", tool: { ref: "t", arguments: { x: "$(nodes.a.output)" } } },
            { name: "c", dependsOn: ["ghost", "tidy"] },
            { name: "c" },
          ],
          [{ name: "tidy", dependsOn: ["a"] }],
        ),
      ),
    ).toEqual([
      'node "c" is there twice',
      'node "c" depends on "ghost", which is no node',
      'node "c" depends on "tidy", which runs only after all nodes (finally)',
      "nodes depend on each other in a circle: a -> b -> a",
    ]);
    expect(graphProblems(spec([{ name: "a" }], [{ name: "z", dependsOn: ["a"] }]))).toEqual([]);
  });
});
