import { type Fields, listOf, objectsOf } from "../../api/fields.ts";
import type { Finding } from "./schema-problems.ts";

/** The dependsOn edges of one list of nodes, of a manifest that may be wrong elsewhere. */
export interface Graph {
  /** Where each node stands, by name; the first of duplicates. */
  readonly indices: ReadonlyMap<string, number>;
  /** Known, other nodes that a node names in dependsOn. */
  readonly dependencies: ReadonlyMap<string, readonly string[]>;
}

export function graphOf(spec: Fields, list: "nodes" | "finally"): Graph {
  const indices = new Map<string, number>();
  const named = new Map<string, readonly unknown[]>();
  for (const { index, entry } of objectsOf(spec, list)) {
    if (typeof entry.name !== "string" || indices.has(entry.name)) continue;
    indices.set(entry.name, index);
    named.set(entry.name, listOf(entry, "dependsOn"));
  }
  const dependencies = new Map<string, string[]>();
  for (const [name, others] of named) {
    const known = others.filter((other) => typeof other === "string");
    dependencies.set(
      name,
      known.filter((other) => other !== name && indices.has(other)),
    );
  }
  return { indices, dependencies };
}

/** Each cycle that a walk against the edges meets, once: names in order, the first repeated at the end. Iterative. */
export function cyclesOf(graph: Graph): string[][] {
  const done = new Set<string>();
  const cycles: string[][] = [];
  for (const root of graph.indices.keys()) {
    if (done.has(root)) continue;
    const trail: { readonly name: string; next: number }[] = [{ name: root, next: 0 }];
    const depth = new Map([[root, 0]]);
    while (trail.length > 0) {
      const top = trail[trail.length - 1];
      if (top === undefined) break;
      const name = graph.dependencies.get(top.name)?.[top.next++];
      if (name === undefined) {
        trail.pop();
        depth.delete(top.name);
        done.add(top.name);
      } else if (depth.has(name)) {
        cycles.push([...trail.slice(depth.get(name)).map((step) => step.name), name]);
      } else if (!done.has(name)) {
        depth.set(name, trail.length);
        trail.push({ name, next: 0 });
      }
    }
  }
  return cycles;
}

/** More cycles than this say nothing new: correcting one usually breaks others. */
const cyclesShown = 20;

export function cycleProblems(graph: Graph, list: "nodes" | "finally"): Finding[] {
  return cyclesOf(graph)
    .slice(0, cyclesShown)
    .map((cycle) => {
      const [first = ""] = cycle;
      const shown = cycle.length <= 12 ? cycle : [...cycle.slice(0, 6), "…", ...cycle.slice(-5)];
      return {
        path: ["spec", list, graph.indices.get(first) ?? 0, "dependsOn"],
        code: "Cycle",
        message: `the nodes wait for each other: ${shown.join(" → ")}`,
        hint: "each depends on the next; remove one of these dependencies",
      };
    });
}

/** Every node that has ended when `name` starts because of dependsOn, directly or through others. */
export function ancestorsOf(graph: Graph, name: string): ReadonlySet<string> {
  const found = new Set<string>();
  const open = [...(graph.dependencies.get(name) ?? [])];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (found.has(next)) continue;
    found.add(next);
    open.push(...(graph.dependencies.get(next) ?? []));
  }
  return found;
}
