/** Execution.status: bounded (P4), written by the host only (P3). */

export const phases = [
  "Pending",
  "Queued",
  "Running",
  "Suspended",
  "AwaitingApproval",
  "Succeeded",
  "Failed",
  "Cancelled",
] as const;
/** For people; code reads conditions (glossary). */
export type Phase = (typeof phases)[number];

export const nodeStates = [
  "Pending",
  "Starting",
  "Running",
  "Retrying",
  "AwaitingApproval",
  "Succeeded",
  "Failed",
  "Skipped",
  "Cancelled",
] as const;
export type NodeState = (typeof nodeStates)[number];

/**
 * CheckpointsDurable: True (Durable); False (LossWindow): a crash of the journal store may lose acknowledged steps, or a
 * restart during the run may have, then for the rest of the run; False (DurabilityLost): some are gone for good.
 * ReplayVerified: only on a Strict replay; False (Divergence) names the place.
 * Expiring: only on a run with ttlSecondsAfterFinished that stays all the same, and why (OwnedByGitOps).
 */
export interface Condition {
  readonly type:
    | "Succeeded"
    | "Ready"
    | "Reconciling"
    | "Stalled"
    | "Suspended"
    | "PolicyCompliant"
    | "CheckpointsDurable"
    | "ReplayVerified"
    | "Expiring";
  readonly status: "True" | "False" | "Unknown";
  readonly reason: string;
  readonly message: string;
  readonly lastTransitionTime: string;
}

/**
 * What a node and an item of forEach have in common. Absent means 0 for `attempt` and `restarts`, 1 for `try`.
 * P4: a row at work carries its position and no figures, an ended one figures and no position.
 */
interface RowStatus {
  readonly state: NodeState;
  /**
   * Counts processes (the fence, J2). In Starting and Running the current one, in all other states the last one. In runs
   * of more than 200 nodes and items, absent means 1 for a row that is Starting, Running, Succeeded or Failed.
   */
  readonly attempt?: number;
  /** Own-fault tries, from 1. */
  readonly try?: number;
  /** Losses of the process. */
  readonly restarts?: number;
  /** Recorded steps of the last try, once ended. */
  readonly steps?: number;
  readonly reason?: string;
  /** Of the first 20 rows that have one. */
  readonly message?: string;
  /** Highest journal position seen while not ended: `length:head`, head as its first 16 hex digits. */
  readonly journal?: string;
  /** Not before this time is the next attempt made. Of a row at work whose worker fell silent: when it is given up. */
  readonly retryAt?: string;
  /** Of the current attempt; in runs of up to 200 nodes and items, beyond that only where timeoutSeconds needs it. */
  readonly startedAt?: string;
  /** In runs of up to 200 nodes and items. */
  readonly completedAt?: string;
}

/** One row per node. */
export interface NodeStatus extends RowStatus {
  readonly name: string;
  /** forEach only: how many items there are, and until the node ended one row per item that has started, by index. */
  readonly itemCount?: number;
  readonly items?: readonly ItemStatus[];
  /** forEach only: items that succeeded, of a node that ended otherwise. */
  readonly itemsDone?: number;
  /** forEach only: sha256:… of the list of outputs once Succeeded. Of other nodes the journal knows it. */
  readonly output?: string;
}

export interface ItemStatus extends RowStatus {
  readonly index: number;
}

export interface UsageStatus {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly totalTokens: number;
  readonly lostTokens: number;
  readonly overshootTokens: number;
  readonly modelCalls: number;
  readonly toolCalls: number;
}

/** Of a run that replays another one. */
export interface ReplayStatus {
  readonly parentUID: string;
  /** Runs whose journals are read: the parent, its own parent, and so on. */
  readonly lineage: readonly string[];
  readonly mode: "Strict" | "Fork";
  /** Step number from which calls were made again. */
  readonly fromStep?: number;
  /** Once ended: steps that were answered from the record, that were made, and that were asked otherwise than recorded. */
  readonly reusedSteps?: number;
  readonly liveSteps?: number;
  readonly patchedSteps?: number;
  /** Where a Strict replay first went another way. */
  readonly divergedAt?: {
    readonly node: string;
    readonly step?: number;
    readonly field: string;
    readonly recorded?: string;
    readonly replayed?: string;
  };
}

/** A question to a person, and what became of it. */
export interface ApprovalStatus {
  /** Name of the annotation that answers it, below approval.oao.dev/. */
  readonly request: string;
  /** Node, with its index in brackets for an item of forEach. */
  readonly node: string;
  readonly message: string;
  readonly requestedAt: string;
  readonly decision?: "Approved" | "Rejected";
  /** User name; "timeout" where the time limit decided. */
  readonly by?: string;
  /** Whether the API server made sure that it was this user, and that they may answer. */
  readonly proven?: boolean;
  readonly decidedAt?: string;
}

export interface ExecutionStatus {
  readonly observedGeneration: number;
  readonly phase: Phase;
  readonly conditions: readonly Condition[];
  /** `namespace/release` of the operator that holds the run: every other one leaves it alone. Absent on a laptop. */
  readonly operator?: string;
  /** Digest of the snapshot body in the journal store. */
  readonly snapshot?: string;
  /** generation: as the host counts changes of the spec; absent for policies of the operator's own. */
  readonly policies?: readonly { readonly namespace: string; readonly name: string; readonly generation?: number }[];
  /** The same as hashParts.policy. */
  readonly policyHash?: string;
  /** What the run is (core/hash): fixed when it was opened, or what it would have been where expectedHash refused it. */
  readonly executionHash?: string;
  readonly hashParts?: Readonly<Record<"task" | "policy" | "agents" | "tools" | "runtime", string>>;
  /** What Audit policies would have stopped in nodes that have ended: the first few messages, each once. */
  readonly auditFindings?: readonly string[];
  readonly usage?: UsageStatus;
  readonly progress: string;
  readonly nodeCounts: Readonly<Partial<Record<NodeState, number>>>;
  readonly nodes: readonly NodeStatus[];
  /** Open ones, and the latest others. */
  readonly approvals?: readonly ApprovalStatus[];
  readonly steps?: number;
  readonly replay?: ReplayStatus;
  /** Of a run that has ended: sha256 of its canonical trace. Equal hashes = the same steps with the same answers. */
  readonly traceHash?: string;
  /** Of a run that has ended: sha256 over its journals' lengths and last hashes. Whatever is changed in them later shows. */
  readonly journalHead?: string;
  /** Of the journal store's life that was last seen: another one means that the store was restarted. */
  readonly journalRunId?: string;
  /** When a restart was last seen that may have forgotten acknowledged steps; CheckpointsDurable is False from then on. */
  readonly journalLossAt?: string;
  readonly result?: { readonly digest: string; readonly preview: string };
  /** desiredState Cancelled is latched here: GitOps cannot undo a stop. */
  readonly cancelRequested?: boolean;
  readonly startedAt?: string;
  readonly completedAt?: string;
  /**
   * Milliseconds of the deadline used before the current active period, and when that began. Stands still while
   * suspended; begins anew with the finally nodes, which may take as long again.
   */
  readonly activeMs?: number;
  readonly activeSince?: string;
  /** The journal was handed over to retention. */
  readonly sealed?: boolean;
}

export const statusLimits = {
  messageRows: 20,
  messageChars: 256,
  auditFindings: 10,
  timedRows: 200,
  previewBytes: 4_096,
} as const;
