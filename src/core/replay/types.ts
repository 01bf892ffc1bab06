/** A replay as it was fixed at its start, with the spec and the policies that govern it. */
import type { ReplayMode, ReplaySpec } from "../../api/replay.ts";
import type { NodeStatus } from "../../api/status.ts";

/** Where calls are made again: the first of them. */
export interface Cursor {
  /** Step number of the parent, from 1. */
  readonly step: number;
  readonly node: string;
  readonly item?: number;
  /** How many steps of this node item stand before it. */
  readonly before: number;
}

/** How the parent ended: what a Strict replay must come to as well. */
export interface ParentEnd {
  readonly phase: "Succeeded" | "Failed" | "Cancelled";
  readonly reason: string;
  readonly message: string;
  /** Runs that ended before it was told have none. */
  readonly traceHash?: string;
  /** In the parent's canonical order, whatever order a changed spec would give them. */
  readonly nodes: readonly NodeStatus[];
}

export interface Replay {
  readonly mode: ReplayMode;
  readonly parent: { readonly uid: string; readonly name: string; readonly snapshot: string };
  /** Runs whose journals hold what is reused: the parent, its own parent, and so on. */
  readonly lineage: readonly string[];
  /** Something of what is hashed as task, agents or tools is not the parent's: steps before the cursor match by position. */
  readonly isPatched: boolean;
  readonly toolOutputs: NonNullable<ReplaySpec["toolOutputs"]>;
  /** Of a Fork. */
  readonly cursor?: Cursor;
  /** Of a Fork: how many items each forEach node of the parent had. */
  readonly itemCounts?: Readonly<Record<string, number>>;
  /**
   * Of a Strict replay. Without `nodes` where they went with the parent's journal, which was brought back without them: a replay at work
   * cannot do without, whoever shows one can.
   */
  readonly end?: Omit<ParentEnd, "nodes"> & Partial<Pick<ParentEnd, "nodes">>;
  readonly times?: number;
  /** Hex digest of the snapshot that this one is stored as a change of, in the lineage's first run; absent = it is stored whole. */
  readonly base?: string;
  /** Of a Fork: when it was created. What it takes over is not stored, and says this time; absent = it is stored (first hosts of forks). */
  readonly at?: string;
}

/** Where a replay first went another way than the record. */
export interface Divergence {
  /** gather, or rate[3] for an item of a forEach node. */
  readonly node: string;
  /** Step number of the parent; absent where there is none. */
  readonly step?: number;
  /** JSON path below the step, as in $.messages[1].content; or of the node, as in $.output. */
  readonly field: string;
  /** Shortened JSON; absent = nothing was there. */
  readonly recorded?: string;
  readonly replayed?: string;
}
