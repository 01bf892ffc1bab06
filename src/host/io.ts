/** What the loop needs of the outside; operator and CLI hand in their own. */
import type { ExecutionStatus } from "../api/status.ts";
import type { GovernancePolicy } from "../api/policy.ts";
import type { Loss } from "../core/planner/types.ts";
import type { Snapshot } from "../core/steps/format.ts";
import type { Clock } from "../ports/clock.ts";
import type { Cluster, ObjectKey, StoredExecution } from "../ports/cluster.ts";
import type { JournalStore } from "../ports/store.ts";
import type { Slots } from "./slots.ts";
import type { StatusPace } from "./status-pace.ts";

export interface HostIo {
  readonly cluster: Cluster;
  readonly clock: Clock;
  /** The journal store of one run; the same object each time. */
  journal(run: StoredExecution): JournalStore | Promise<JournalStore>;
  /** Policies of whoever runs this host; they govern every run beside those of its namespace. */
  readonly floorPolicies: readonly GovernancePolicy[];
  /** G3: a secret goes only where a policy pairs it. True in a cluster; on a laptop secrets are their user's own. */
  readonly requireSecretPairing: boolean;
  /** Whether runs wait while the store drops journals or keeps none on disk. True in a cluster; on a laptop it is said, no more. */
  readonly requireFitStore: boolean;
  /** Name of the operator that this host is, as the status of its runs holds it; absent = this host is the only one. */
  readonly operator?: string;
  /**
   * Whether a Strict replay runs the spec of its own manifest, whatever its parent's was: to see where the two part. Else it inherits,
   * and is refused where it differs.
   */
  readonly replaysAsWritten?: boolean;
  /** Between the wish and the force, when a worker is to end. Milliseconds. */
  readonly stopGraceMs: number;
  /** Snapshots by digest: one parsed object per run, so that what the planner derives from it is kept too. */
  readonly snapshots: SnapshotCache;
  /** Whose turn it is where a policy says how many runs may be at work at once. */
  readonly slots: Slots;
  /** When news that nobody acts on are written; absent = at once. */
  readonly pace?: StatusPace;
  /** Told of each pass and each status that was written, each process that was lost, and of what could not be done. Must not throw. */
  readonly report?: (event: HostEvent) => void;
}

export type HostEvent =
  /** `before`: what stood there until now. */
  | {
      readonly kind: "Status";
      readonly key: ObjectKey;
      readonly uid: string;
      readonly status: ExecutionStatus;
      readonly before: ExecutionStatus | undefined;
    }
  | { readonly kind: "Lost"; readonly key: ObjectKey; readonly uid: string; readonly loss: Loss }
  /** A run that was deleted before it had ended has no workers left and is let go of. */
  | { readonly kind: "LetGo"; readonly key: ObjectKey; readonly uid: string }
  /** A run that another operator holds: nothing was done. */
  | { readonly kind: "Elsewhere"; readonly key: ObjectKey; readonly holder: string }
  | { readonly kind: "Passed"; readonly key: ObjectKey; readonly tookMs: number }
  | { readonly kind: "Failed"; readonly key: ObjectKey; readonly error: unknown; readonly retryAfterMs: number };

/** Keeps the most recently used ones. */
export class SnapshotCache {
  readonly #held = new Map<string, Snapshot>();
  readonly #max: number;

  constructor(max = 256) {
    this.#max = max;
  }

  get(digest: string): Snapshot | undefined {
    const found = this.#held.get(digest);
    if (found !== undefined) this.set(digest, found);
    return found;
  }

  set(digest: string, snapshot: Snapshot): void {
    this.#held.delete(digest);
    this.#held.set(digest, snapshot);
    const oldest = this.#held.keys().next().value;
    if (this.#held.size > this.#max && oldest !== undefined) this.#held.delete(oldest);
  }
}
