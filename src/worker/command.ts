/** A worker's command on its way: its name, and its delivery to a store that may be away. */
import { canonicalJson, sha256Hex } from "../core/digest/digest.ts";
import type { Command, Reply, SequencedWorkerCommand, StoredBody, StoredEntry } from "../core/protocol/types.ts";
import type { Clock } from "../ports/clock.ts";
import type { JournalStore } from "../ports/store.ts";
import { StoreFull, StoreUnavailable } from "../ports/store-errors.ts";

/** What a command says, before the claim that sends it puts its number and name to it. */
export type Draft = SequencedWorkerCommand extends infer C
  ? C extends SequencedWorkerCommand
    ? Omit<C, "seq" | "digest" | "leaseTtlMs" | "attempt" | "claimId" | "node" | "item">
    : never
  : never;

/** Entries are named by hash, which covers their bytes; so is every body. */
export function commandDigest(content: Record<string, unknown>): string {
  const entries = (content["entries"] as readonly StoredEntry[] | undefined)?.map((entry) => entry.hash) ?? [];
  const bodies = (content["bodies"] as readonly StoredBody[] | undefined)?.map((body) => body.digest) ?? [];
  return sha256Hex(canonicalJson({ ...content, entries, bodies }));
}

const backoffMs = [20, 50, 100, 250, 500, 1_000];
/** At a second each: about half an hour of a store that is away. */
const deliveriesMax = 1_800;

export interface Delivery {
  readonly store: JournalStore;
  readonly clock: Clock;
  readonly uid: string;
  /** Ends waiting for a store that does not answer. */
  readonly signal: AbortSignal;
}

/** Sends until the store answers; the same command each time (J6). Throws StoreUnavailable, StoreFull when it never does. */
export async function deliver({ store, clock, uid, signal }: Delivery, command: Command): Promise<Reply> {
  for (let failures = 0; ; failures += 1) {
    try {
      return await store.execute(uid, command);
    } catch (error) {
      if (!(error instanceof StoreUnavailable || error instanceof StoreFull)) throw error;
      // A worker that nobody hosts any more must not wait for ever; what it holds is then in doubt, never lost in silence.
      if (failures >= deliveriesMax) throw error;
      await clock.sleep(backoffMs[Math.min(failures, backoffMs.length - 1)] ?? 1_000, signal);
    }
  }
}
