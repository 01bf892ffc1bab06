/** What the planner sees and what it decides. Both are data: the same Seen and time give the same Plan (P1). */
import type { DesiredState, ExecutionSpec } from "../../api/execution.ts";
import type { ToolEffect } from "../../api/tool.ts";
import type { WorkerExitName, WorkerFailure } from "../../api/exit-codes.ts";
import type { ApprovalStatus, ExecutionStatus } from "../../api/status.ts";
import type { Json } from "../digest/json.ts";
import type { EffectivePolicy } from "../policy/types.ts";
import type { Replay } from "../replay/types.ts";
import type { Finished } from "../steps/format.ts";
import type {
  ControlState,
  ExecutionRecord,
  ItemRecord,
  KnownPosition,
  NodeKey,
  StoredBody,
} from "../protocol/types.ts";

/** Which run, and what may change about it after its start. */
export interface RunIdentity {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly generation: number;
  readonly desiredState: DesiredState;
  readonly journalRetentionSeconds: number;
  /** Whose tool keeps the object although its ttlSecondsAfterFinished is set; see expiry.ts. */
  readonly keptBy?: string | undefined;
  /** By request; only of questions that the status says are open. */
  readonly answers?: ReadonlyMap<string, SeenAnswer> | undefined;
}

/** One process or pod, as the host lists it. */
export interface SeenWorker extends NodeKey {
  readonly attempt: number;
  readonly state: "Starting" | "Running" | "Exited";
  readonly exit?: WorkerExitName | undefined;
  /** Why it ended, or does not start, when that was not its own word. */
  readonly failure?: WorkerFailure | undefined;
  readonly detail?: string | undefined;
  /** Of one that is Starting and whose host says nothing more: since when it could have. */
  readonly startingSinceMs?: number | undefined;
}

/** A tool call whose intent is recorded and whose outcome is not. */
export interface OpenCall {
  readonly tool: string;
  readonly effect: ToolEffect | undefined;
}

/** The call that a worker left for a person to decide about. */
export interface SeenDoubt {
  readonly request: string;
  readonly tool: string;
}

/** What a person answered to an open question. */
export interface SeenAnswer {
  readonly decision: "Approved" | "Rejected";
  readonly by: string;
  readonly proven: boolean;
}

/** A question with its answer, as the status has latched it. */
export type Approved = Required<ApprovalStatus>;

export interface RecordedAnswer {
  readonly key: NodeKey;
  readonly attempt: number;
  readonly try: number;
  readonly approval: Approved;
}

/** How a node item ended in the run that this one replays. */
export interface KnownEnd {
  readonly finished: Finished;
  /** Numbered ones. */
  readonly steps: number;
}

/** What the record of a replayed run says of a node item. */
export interface Origin {
  /** Of its last try. */
  readonly try: number;
  /** Its steps and its end are the fork's too; undefined = it is run again. */
  readonly end: KnownEnd | undefined;
}

export interface SeenItem {
  readonly key: NodeKey;
  /** Of `silentItems` alone: a call past its time limit that its last entries leave open. */
  readonly overdue?: OpenCall | undefined;
  /** Of a row whose worker left to have a person decide. */
  readonly doubt?: SeenDoubt | undefined;
  /** Why its journal, which was read for either of these, is not what a worker recorded; names the entry. */
  readonly changed?: string | undefined;
  /** Undefined = never claimed. */
  readonly record: ItemRecord | undefined;
}

/** The journal store's current life. */
export interface SeenStore {
  /** Changes when the store restarts; "" = it does not say. */
  readonly runId: string;
  /** Whether what it acknowledges outlives a crash of its own, and if not why, setting by setting. */
  readonly durable: boolean;
  readonly reasons: readonly string[];
  /** Those among them with which no crash is needed to lose journals: eviction, or nothing on disk. */
  readonly unfit: readonly string[];
}

export interface Seen {
  readonly run: RunIdentity;
  /** Of the snapshot the run was opened with (G2). One object per run, so that what is derived from it is kept. */
  readonly spec: ExecutionSpec;
  readonly policy: EffectivePolicy;
  readonly replay?: Replay | undefined;
  /** Of a Fork, by node item: those that its parent ever began. */
  readonly origins?: ReadonlyMap<string, Origin> | undefined;
  /** Hex digest of the snapshot body. */
  readonly snapshot: string;
  readonly status: ExecutionStatus;
  /** Asked for after all else was read, so that a restart in between shows at the latest in the next pass. */
  readonly store: SeenStore;
  /** Control and account; undefined = the journal store does not know this run, although it was opened. */
  readonly execution: ExecutionRecord | undefined;
  /** All of `itemsOfInterest`, in any order. */
  readonly items: readonly SeenItem[];
  /** In any order, also old and doubled views; listed before `items` was read. */
  readonly workers: readonly SeenWorker[];
  /** Whether a worker that is not listed does not exist. */
  readonly listsAll: boolean;
  /** Outputs by hex digest: what `outputsNeeded` asked for and the store had. */
  readonly outputs: ReadonlyMap<string, Json>;
  /** Hex digests of those that the store has, and that are not what was recorded. */
  readonly changedOutputs?: ReadonlySet<string> | undefined;
}

/** As a worker gets it. */
export type Answer = Pick<Approved, "decision" | "by" | "proven" | "decidedAt">;

export type Decision =
  | { readonly kind: "SetControl"; readonly to: ControlState; readonly message: string }
  /** Charge what a dead attempt held, and fence it. */
  | { readonly kind: "ReleaseAttempt"; readonly key: NodeKey; readonly attempt: number }
  /** `force`: it does not answer, so nothing is gained by asking it first. */
  | { readonly kind: "StopWorker"; readonly worker: SeenWorker; readonly force?: true }
  | {
      readonly kind: "StartWorker";
      readonly key: NodeKey;
      readonly attempt: number;
      readonly try: number;
      readonly phase: "Main" | "Finally";
      readonly snapshot: string;
      /** Node -> hex digest of its output body. */
      readonly outputs: Readonly<Record<string, string>>;
      readonly known: KnownPosition | undefined;
      /** The attempt before may still be making a call: it was given up without anybody seeing its end. */
      readonly predecessorMayLive?: true;
      /** What people decided about calls of this node in doubt, by request. */
      readonly answers?: Readonly<Record<string, Answer>>;
    }
  /** Write an approval node's answer into its journal, and end it. */
  | ({ readonly kind: "RecordAnswer" } & RecordedAnswer)
  /** The end of a run: bodies go when only digests are kept, the journal of all `items` vanishes after `expireSeconds`. */
  | {
      readonly kind: "Seal";
      readonly dropBodies: boolean;
      readonly keep: readonly string[];
      readonly items: readonly NodeKey[];
      readonly expireSeconds: number;
      /** Runs whose journals this one reads: they are kept as long as it is. */
      readonly lineage?: readonly string[];
    };

/** One loss of a process, for whoever counts or tells them. */
export interface Loss {
  readonly key: NodeKey;
  readonly attempt: number;
  /** A WorkerFailure, or "Restarting" where the host cannot name it. */
  readonly reason: string;
  readonly message: string;
}

export interface Plan {
  /** To be stored before the status is written, so that a status never names a body that is not there. */
  readonly bodies: readonly StoredBody[];
  /** The status to write before any decision is performed: attempt n is in it before worker n exists (J2). */
  readonly status: ExecutionStatus;
  /** Processes that this pass has found to be lost, and that are followed by another. */
  readonly losses: readonly Loss[];
  /** By kind, then node, then item. */
  readonly decisions: readonly Decision[];
  /** To be written when every decision has been performed. */
  readonly statusAfter?: ExecutionStatus;
  /** Plan again after this long even if nothing happens; 0 = at once, because more has to be read. */
  readonly wakeAfterMs?: number;
}
