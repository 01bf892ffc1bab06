/**
 * Graphs of named nodes, walked without recursion and in time linear in nodes and edges
 * (plus the heap's logarithm), so that 1,000 nodes in a row are as safe as 1,000 side by side.
 */
import { NameHeap } from "./heap.ts";

/** Node -> the nodes it depends on. Names that are no node are ignored here: lint and admission report them. */
export type Dependencies = ReadonlyMap<string, Iterable<string>>;

/** The same edges the other way round, without doubles. Every node has an entry; lists in the order of `graph`. */
export function dependents(graph: Dependencies): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>();
  for (const name of graph.keys()) found.set(name, []);
  for (const [name, dependencies] of graph) {
    for (const dependency of new Set(dependencies)) found.get(dependency)?.push(name);
  }
  return found;
}

/**
 * Kahn's algorithm, always taking the smallest name (UTF-16 code units): one order for one graph, whatever the order of
 * its nodes. Nodes on a cycle, or behind one, are missing from the result.
 */
export function topologicalOrder(graph: Dependencies): readonly string[] {
  const after = dependents(graph);
  const waitsFor = new Map<string, number>();
  const ready = new NameHeap();
  for (const [name, dependencies] of graph) {
    let count = 0;
    for (const dependency of new Set(dependencies)) if (graph.has(dependency)) count += 1;
    waitsFor.set(name, count);
    if (count === 0) ready.push(name);
  }
  const order: string[] = [];
  for (let name = ready.pop(); name !== undefined; name = ready.pop()) {
    order.push(name);
    for (const next of after.get(name) ?? []) {
      const left = (waitsFor.get(next) ?? 0) - 1;
      waitsFor.set(next, left);
      if (left === 0) ready.push(next);
    }
  }
  return order;
}

/**
 * One cycle as the names along it, each depending on the next and the last on the first; undefined when there is none.
 * It begins with its smallest name, so a cycle is always named the same way. A self-edge is a cycle of one.
 */
export function findCycle(graph: Dependencies): readonly string[] | undefined {
  const ordered = new Set(topologicalOrder(graph));
  const start = smallest([...graph.keys()].filter((name) => !ordered.has(name)));
  if (start === undefined) return undefined;
  // Whatever Kahn left has a dependency that is left too, so following one at each node must come back to itself.
  const placeOf = new Map<string, number>();
  const path: string[] = [];
  let name = start;
  while (!placeOf.has(name)) {
    placeOf.set(name, path.length);
    path.push(name);
    const next = smallest([...(graph.get(name) ?? [])].filter((each) => graph.has(each) && !ordered.has(each)));
    if (next === undefined) return undefined;
    name = next;
  }
  const cycle = path.slice(placeOf.get(name));
  const first = cycle.indexOf(smallest(cycle) ?? name);
  return [...cycle.slice(first), ...cycle.slice(0, first)];
}

/** Everything that depends on `name`, directly or not; without `name` itself unless it is on a cycle. */
export function descendants(graph: Dependencies, name: string): ReadonlySet<string> {
  const after = dependents(graph);
  const found = new Set<string>();
  const open = [name];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    for (const each of after.get(next) ?? []) {
      if (found.has(each)) continue;
      found.add(each);
      open.push(each);
    }
  }
  return found;
}

function smallest(names: readonly string[]): string | undefined {
  let found: string | undefined;
  for (const name of names) if (found === undefined || name < found) found = name;
  return found;
}
