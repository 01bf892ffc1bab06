/** What a store's replies mean to the attempt that sent the command. */
import { FencedError, OaoError, StoppedError } from "../core/errors/errors.ts";
import { itemName } from "../core/protocol/names.ts";
import type { NodeKey, Reply } from "../core/protocol/types.ts";

export interface Claimant {
  readonly key: NodeKey;
  readonly attempt: number;
  readonly known: { readonly length: number } | undefined;
}

/** The error that ends the attempt after a reply it cannot go on from. */
export function refused(reply: Reply, { key, attempt, known }: Claimant): Error {
  switch (reply.code) {
    case "FENCED":
    case "CLAIMED":
      return new FencedError(reply.attempt);
    case "STOPPED":
      return new StoppedError(reply.control.state, reply.control.message);
    case "FINISHED":
      return new FencedError(attempt);
    case "ROLLED_BACK":
      return new OaoError(
        "OAO_DURABILITY_LOST",
        `the journal store holds ${reply.length} entries of ${itemName(key)}, the status has seen ${known?.length ?? 0}`,
      );
    case "NOT_OPEN":
      return new OaoError("OAO_DURABILITY_LOST", "the journal store does not know this run");
    case "OK":
    case "WAIT":
    case "BUDGET":
    case "LIMIT":
    case "GAP":
    case "RECLAIM":
    case "INVALID":
    case "REFUSED":
      break;
  }
  return new OaoError(
    "OAO_PROTOCOL",
    `${itemName(key)}: the journal store refused a command: ${JSON.stringify(reply)}`,
  );
}

/** The store holds fewer entries than it acknowledged, or others, and the kept tail does not mend it. */
export function durabilityLost(key: NodeKey, held: number, acknowledged: number): OaoError {
  return new OaoError(
    "OAO_DURABILITY_LOST",
    `the journal store holds ${held} entries of ${itemName(key)}, ${acknowledged} were acknowledged, and the worker cannot restore the difference; see CheckpointsDurable (appendfsync always)`,
  );
}
