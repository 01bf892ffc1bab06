/** The anchor of a run's journals in its status. */
import { canonicalJson, sha256Hex } from "../digest/digest.ts";
import type { NodeKey } from "../protocol/types.ts";

export interface ItemHead {
  readonly key: NodeKey;
  readonly length: number;
  /** Hash of the last entry. */
  readonly head: string;
}

/** sha256 over sorted (node, item, length, head) of the items that have entries: proves later edits. Hex. */
export function journalHead(items: readonly ItemHead[]): string {
  const heads = items
    .filter(({ length }) => length > 0)
    .map(({ key, length, head }) => ({ node: key.node, item: key.item ?? -1, length, head }))
    .sort((a, b) => (a.node === b.node ? a.item - b.item : a.node < b.node ? -1 : 1));
  return sha256Hex(canonicalJson(heads));
}
