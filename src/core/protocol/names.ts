/** Names of node items and the chain's first hash. */
import { sha256Hex } from "../digest/digest.ts";
import type { NodeKey } from "./types.ts";

/** `gather`, or `rate[3]` for item 3 of a forEach node. */
export function itemName(key: NodeKey): string {
  return key.item === undefined ? key.node : `${key.node}[${key.item}]`;
}

/** A text of its own for every node and item, whatever a node is called: what stores file an item under. */
export function itemKey(key: NodeKey): string {
  return `${key.item ?? ""}/${key.node}`;
}

/** A run's uid names files and keys, so it is letters, digits and hyphens. */
export function isUid(uid: string): boolean {
  return /^[A-Za-z0-9-]{1,64}$/.test(uid);
}

/** Inverse of itemName. */
export function parseItemName(name: string): NodeKey {
  const match = /^(.*)\[(\d+)\]$/.exec(name);
  return match === null ? { node: name } : { node: match[1] ?? "", item: Number(match[2]) };
}

/** prevHash of entry 0: binds a journal to its run and node, so that journals cannot be swapped. Hex. */
export function genesis(uid: string, key: NodeKey): string {
  return sha256Hex(`${uid}/${itemName(key)}`);
}
