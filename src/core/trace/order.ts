/** The canonical order: the same steps stand at the same numbers however the run was scheduled, killed or resumed. */
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
  const names = new Set(nodes.map((node) => node.name));
  const waiting = new Map<string, number>();
  const dependents = new Map<string, string[]>();
  for (const node of nodes) {
    const dependsOn = new Set((node.dependsOn ?? []).filter((name) => names.has(name)));
    waiting.set(node.name, dependsOn.size);
    for (const name of dependsOn) dependents.set(name, [...(dependents.get(name) ?? []), node.name]);
  }
  const ready = new NameHeap();
  for (const [name, count] of waiting) if (count === 0) ready.push(name);
  const order: string[] = [];
  for (let name = ready.pop(); name !== undefined; name = ready.pop()) {
    order.push(name);
    waiting.delete(name);
    for (const dependent of dependents.get(name) ?? []) {
      const left = (waiting.get(dependent) ?? 0) - 1;
      waiting.set(dependent, left);
      if (left === 0) ready.push(dependent);
    }
  }
  return [...order, ...[...waiting.keys()].sort(byCodeUnits)];
}

/** The order of `<` on strings: never a locale's. */
function byCodeUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

class NameHeap {
  readonly #names: string[] = [];

  push(name: string): void {
    const names = this.#names;
    let at = names.push(name) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if ((names[parent] ?? "") <= name) break;
      names[at] = names[parent] ?? "";
      at = parent;
    }
    names[at] = name;
  }

  pop(): string | undefined {
    const names = this.#names;
    const first = names[0];
    const last = names.pop();
    if (first === undefined || last === undefined || names.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= names.length) break;
      if (child + 1 < names.length && (names[child + 1] ?? "") < (names[child] ?? "")) child += 1;
      if (last <= (names[child] ?? "")) break;
      names[at] = names[child] ?? "";
      at = child;
    }
    names[at] = last;
    return first;
  }
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
