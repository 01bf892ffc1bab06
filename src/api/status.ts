/** Execution.status: bounded (P4), written by the host only (P3). */

export const phases = ["Pending", "Running", "Suspended", "Succeeded", "Failed", "Cancelled"] as const;
/** For people; code reads conditions (glossary). */
export type Phase = (typeof phases)[number];

export const nodeStates = ["Pending", "Starting", "Running", "Retrying", "Succeeded", "Failed", "Skipped", "Cancelled"] as const;
export type NodeState = (typeof nodeStates)[number];
export const terminalNodeStates: readonly NodeState[] = ["Succeeded", "Failed", "Skipped", "Cancelled"];

export interface Condition {
  readonly type: "Succeeded" | "Ready" | "Reconciling" | "Stalled" | "Suspended" | "PolicyCompliant" | "CheckpointsDurable";
  readonly status: "True" | "False" | "Unknown";
  readonly reason: string;
  readonly message: string;
  readonly lastTransitionTime: string;
}

/** One row per node. `attempt` counts processes (the fence), `try` own-fault tries from 1, `restarts` infrastructure losses. */
export interface NodeStatus {
  readonly name: string;
  readonly state: NodeState;
  readonly attempt?: number;
  readonly try?: number;
  readonly restarts?: number;
  readonly steps?: number;
  readonly reason?: string;
  readonly message?: string;
  /** Journal position while not terminal; head is the first 16 hex digits. */
  readonly length?: number;
  readonly head?: string;
  /** forEach only: one row per item that has started, and how many there are. */
  readonly itemCount?: number;
  readonly items?: readonly ItemStatus[];
  /** sha256:… of the output body once Succeeded. */
  readonly output?: string;
  readonly startedAt?: string;
  readonly completedAt?: string;
  /** Not before this time is the next try made. */
  readonly retryAt?: string;
}

export interface ItemStatus {
  readonly index: number;
  readonly state: NodeState;
  readonly attempt?: number;
  readonly try?: number;
  readonly restarts?: number;
  readonly steps?: number;
  readonly reason?: string;
  readonly message?: string;
  readonly length?: number;
  readonly head?: string;
  readonly output?: string;
  readonly retryAt?: string;
  readonly startedAt?: string;
  readonly completedAt?: string;
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

export interface ExecutionStatus {
  readonly observedGeneration: number;
  readonly phase: Phase;
  readonly conditions: readonly Condition[];
  /** Digest of the snapshot body in the journal store. */
  readonly snapshot?: string;
  readonly policies?: readonly { readonly namespace: string; readonly name: string }[];
  readonly policyHash?: string;
  readonly usage?: UsageStatus;
  readonly progress: string;
  readonly nodeCounts: Readonly<Partial<Record<NodeState, number>>>;
  readonly nodes: readonly NodeStatus[];
  readonly steps?: number;
  readonly journalHead?: string;
  readonly result?: { readonly digest: string; readonly preview: string };
  /** desiredState Cancelled is latched here: GitOps cannot undo a stop. */
  readonly cancelRequested?: boolean;
  readonly startedAt?: string;
  readonly completedAt?: string;
  /** Milliseconds of activeDeadlineSeconds used before the current active period, and when that began. */
  readonly activeMs?: number;
  readonly activeSince?: string;
}
