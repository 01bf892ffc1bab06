/** The canonical order inside a node, as `canonicalNodeOrder` is that of nodes: however a run was scheduled, killed or resumed. */
import type { NodeKey } from "../protocol/types.ts";

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
