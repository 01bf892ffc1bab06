/** The canonical order: the same steps stand at the same numbers however the run was scheduled, killed or resumed. */
import { topologicalOrder } from "../dag/dag.ts";
import type { NodeKey } from "../protocol/types.ts";

export interface OrderedNode {
  readonly name: string;
  readonly dependsOn?: readonly string[] | undefined;
}

/**
 * Names of all nodes: Kahn's algorithm with a min-heap on names (UTF-16 code units), then `finally` nodes the same way
 * among themselves, since each of them depends on every other node. A node on a cycle (such a spec never runs) comes
 * after the others of its group, by name. O(nodes log nodes + dependencies).
 */
export function canonicalNodeOrder(nodes: readonly OrderedNode[], finallyNodes: readonly OrderedNode[] = []): string[] {
  return [...kahn(nodes), ...kahn(finallyNodes)];
}

function kahn(nodes: readonly OrderedNode[]): string[] {
  const order = topologicalOrder(new Map(nodes.map((node) => [node.name, node.dependsOn ?? []])));
  const ordered = new Set(order);
  return [
    ...order,
    ...nodes
      .map((node) => node.name)
      .filter((name) => !ordered.has(name))
      .sort(byCodeUnits),
  ];
}

/** The order of `<` on strings: never a locale's. */
function byCodeUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/**
 * Steps inside one node item. Paths are compared as integers; where one is a prefix of the other the longer comes first:
 * a model step, then its tools' inner calls, then the tool. So every step stands after all that it is made of.
 */
export function comparePaths(a: readonly number[], b: readonly number[]): number {
  const shared = Math.min(a.length, b.length);
  for (let at = 0; at < shared; at += 1) {
    const difference = (a[at] ?? 0) - (b[at] ?? 0);
    if (difference !== 0) return difference;
  }
  return b.length - a.length;
}

/** Items sort numerically; a node without items has one journal of its own. */
export function compareItems(a: NodeKey, b: NodeKey): number {
  return (a.item ?? -1) - (b.item ?? -1);
}
