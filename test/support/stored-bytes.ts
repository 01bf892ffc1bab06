/** What a replay adds to the store for what it reuses: all that it stores, but for its spec and what its live calls left. */
import { readEntry } from "../../src/core/steps/chain.ts";
import type { EndedRun, ReplayWorld } from "./replay-world.ts";

export interface StoredBytes {
  /** Starts of nodes that made calls of their own. */
  readonly cursor: number;
  /** Whole journals of nodes that made none, and how many these are. */
  readonly others: number;
  readonly nodes: number;
  /** Spec, policy and, of a strict replay, how its parent's nodes ended: as large as they are, whatever is replayed. */
  readonly snapshot: number;
}

export function storedBytes({ store }: ReplayWorld, { uid, status }: EndedRun): StoredBytes {
  const { entries, bodies } = store.recordsOf(uid);
  let [cursor, others, nodes] = [0, 0, 0];
  for (const stored of entries.values()) {
    const parsed = stored.map((each) => ({ type: readEntry(each).type, bytes: Buffer.byteLength(each.bytes) }));
    const isLive = parsed.some(({ type }) => type === "intent");
    const counted = isLive ? parsed.filter(({ type }) => type === "start") : parsed;
    const sum = counted.reduce((bytes, each) => bytes + each.bytes, 0);
    if (isLive) cursor += sum;
    else {
      others += sum;
      nodes += 1;
    }
  }
  const snapshot = Buffer.byteLength(bodies.get((status.snapshot ?? "").replace(/^sha256:/, "")) ?? "");
  return { cursor, others, nodes, snapshot };
}
