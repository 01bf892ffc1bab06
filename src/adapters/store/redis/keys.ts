/**
 * Every Redis name of a run, in one place.
 *
 * All share the hash tag {uid}, so that a cluster keeps a run on one node and an ACL rule can name it. A uid is letters,
 * digits and hyphens; whatever a user chose (node names) is hashed. Nothing here needs KEYS or SCAN.
 */
import { sha256Hex } from "../../../core/digest/digest.ts";
import { OaoError } from "../../../core/errors/errors.ts";
import { isUid, itemKey } from "../../../core/protocol/names.ts";
import type { NodeKey } from "../../../core/protocol/types.ts";

export interface RunKeys {
  /** Matches every key of the run and of no other. */
  readonly pattern: string;
  readonly execution: string;
  readonly bodies: string;
  /** Pub/sub channel of wake-ups. */
  readonly channel: string;
  node(node: string): string;
  item(key: NodeKey): string;
  entries(key: NodeKey): string;
}

/** Throws OAO_PROTOCOL for a text that is not a uid. */
export function runKeys(uid: string): RunKeys {
  if (!isUid(uid)) throw new OaoError("OAO_PROTOCOL", `not a run's uid: ${JSON.stringify(uid.slice(0, 80))}`);
  const prefix = `oao:{${uid}}:`;
  return {
    pattern: `${prefix}*`,
    execution: `${prefix}run`,
    bodies: `${prefix}bodies`,
    channel: `${prefix}wake`,
    node: (node) => `${prefix}node:${short(node)}`,
    item: (key) => `${prefix}item:${short(itemKey(key))}`,
    entries: (key) => `${prefix}entries:${short(itemKey(key))}`,
  };
}

/** 128 bits keep chosen names apart. */
function short(name: string): string {
  return sha256Hex(name).slice(0, 32);
}
