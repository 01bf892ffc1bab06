/**
 * One circle for each group of files that import each other (strongly connected, Tarjan 1972), each starting at its
 * alphabetically first file. Type imports count: files that need each other's types belong together or need a third.
 */
export function findCycles(graph: ReadonlyMap<string, readonly string[]>): string[][] {
  const order = new Map<string, number>();
  const low = new Map<string, number>();
  const stack: string[] = [];
  const cycles: string[][] = [];

  const visit = (file: string): number => {
    const index = order.size;
    order.set(file, index);
    let lowest = index;
    stack.push(file);
    for (const next of graph.get(file) ?? []) {
      if (!graph.has(next)) continue;
      if (!order.has(next)) lowest = Math.min(lowest, visit(next));
      else if (stack.includes(next)) lowest = Math.min(lowest, order.get(next) ?? lowest);
    }
    low.set(file, lowest);
    if (lowest === index) {
      const group = stack.splice(stack.indexOf(file));
      if (group.length > 1 || graph.get(file)?.includes(file)) cycles.push(shortestCircle(graph, group.sort()));
    }
    return lowest;
  };

  for (const file of [...graph.keys()].sort()) if (!order.has(file)) visit(file);
  return cycles;
}

/** The shortest way from the first file of the group back to itself; it exists, as the group is strongly connected. */
function shortestCircle(graph: ReadonlyMap<string, readonly string[]>, group: readonly string[]): string[] {
  const [start = ""] = group;
  const cameFrom = new Map<string, string>();
  const queue = [start];
  for (const file of queue) {
    for (const next of graph.get(file) ?? []) {
      if (next === start) {
        const path = [file];
        for (let at = cameFrom.get(file); at !== undefined; at = cameFrom.get(at)) path.unshift(at);
        return path;
      }
      if (!group.includes(next) || cameFrom.has(next)) continue;
      cameFrom.set(next, file);
      queue.push(next);
    }
  }
  return [...group];
}
