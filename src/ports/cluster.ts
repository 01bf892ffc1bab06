/** The host of a run: child processes on a laptop, pods on Kubernetes. Objects, status and workers; never journals. */
import type { Execution } from "../api/execution.ts";
import type { WorkerExitName, WorkerFailure } from "../api/exit-codes.ts";
import type { GovernancePolicy } from "../api/policy.ts";
import type { ExecutionStatus } from "../api/status.ts";
import type { Answer } from "../core/planner/types.ts";
import type { KnownPosition, NodeKey } from "../core/protocol/types.ts";

export interface ObjectKey {
  readonly namespace: string;
  readonly name: string;
}

/** An Execution as the host stores it. `resourceVersion` is the write precondition (P3). */
export interface StoredExecution {
  readonly key: ObjectKey;
  readonly uid: string;
  readonly resourceVersion: string;
  /** Grows with every change of the spec; status names the one it saw. */
  readonly generation: number;
  readonly createdAtMs: number;
  /** The operator that has put its hold on the object; see host/holder.ts. */
  readonly heldBy?: string | undefined;
  /** Set once somebody asked for its deletion: it stays only until its host lets go of it (release). */
  readonly deletedAtMs?: number | undefined;
  readonly object: Execution;
  readonly status: ExecutionStatus | undefined;
}

/** Meanings and process exit codes: api/exit-codes.ts. */
export type WorkerExit = WorkerExitName;
export type { WorkerFailure } from "../api/exit-codes.ts";

/** One process or pod, as far as the host knows. */
export interface WorkerView extends NodeKey {
  readonly attempt: number;
  readonly state: "Starting" | "Running" | "Exited";
  /** Set when Exited; "infrastructure" for signals and unknown codes. */
  readonly exit?: WorkerExit | undefined;
  /** Absent for exits by our own codes. On a worker that is Starting: why it does not start. */
  readonly failure?: WorkerFailure | undefined;
  /** For people: exit code, signal, pod reason. */
  readonly detail?: string | undefined;
  /** Of one that is Starting and whose host says nothing more: since when it could have. */
  readonly startingSinceMs?: number | undefined;
}

export interface WorkerOrder extends NodeKey {
  readonly uid: string;
  readonly key: ObjectKey;
  readonly attempt: number;
  readonly try: number;
  readonly phase: "Main" | "Finally";
  /** Digest of the snapshot body; the worker refuses any other. */
  readonly snapshot: string;
  /** Hex digest of the output body of every node that this node's items, prompts and arguments name. */
  readonly outputs: Readonly<Record<string, string>>;
  /** Highest journal position the status has seen of this item. */
  readonly known?: KnownPosition | undefined;
  /** Nobody has seen the attempt before end: a call of it in doubt may be at work until its time limit. */
  readonly predecessorMayLive?: true;
  /** What people decided about calls of this node in doubt, by request. */
  readonly answers?: Readonly<Record<string, Answer>> | undefined;
}

/** A policy as its host has it. */
export type StoredPolicy = GovernancePolicy & {
  /** Why it is invalid, and so cannot be combined with others. Absent = it is valid. */
  readonly problem?: string | undefined;
};

export interface Cluster {
  /**
   * Whether a worker that is not listed does not exist: true where this process starts them itself, false where a cache
   * may lag. It only decides whether a claimed attempt without a worker is given up at once or when its lease ends.
   */
  readonly listsAll: boolean;
  get(key: ObjectKey): Promise<StoredExecution | undefined>;
  /** Runs of a namespace that are not over, in no order; as fresh as what `get` answers. */
  list(namespace: string): Promise<readonly StoredExecution[]>;
  /** All of a namespace, invalid ones with their problem: a run that one of them governs waits until it is corrected. */
  policies(namespace: string): Promise<readonly StoredPolicy[]>;
  /** Throws Conflict when resourceVersion is not the current one. Returns the new one. */
  writeStatus(seen: Pick<StoredExecution, "key" | "uid" | "resourceVersion">, status: ExecutionStatus): Promise<string>;
  /** Workers of one run, also exited ones until forgotten. */
  workers(uid: string): Promise<readonly WorkerView[]>;
  /**
   * Repeat with the same (uid, node, item, attempt) is a no-op (P2), but for one that cannot start as yet: what it lacks of the
   * host's own is made again. One that the host may not make now is listed as Starting with PodRefused, and tried at each repeat.
   */
  startWorker(order: WorkerOrder): Promise<void>;
  /** Ask a worker to end (SIGTERM), then force it after `graceMs`; with 0, force it at once. Repeat is a no-op. */
  stopWorker(uid: string, worker: WorkerView, graceMs: number): Promise<void>;
  /**
   * Keep the object there, even if it is deleted, until `release`: its workers must be stopped first. Returns the run as it is
   * then. Repeat is a no-op, and so is a run that is being deleted already. With `operator` the hold names it. Throws Conflict.
   */
  hold(run: StoredExecution, operator?: string): Promise<StoredExecution>;
  /** The host is done with this object. Repeat is a no-op, also when the object is gone. */
  release(run: StoredExecution): Promise<void>;
  /** Delete this object (and no later one of its name). Repeat is a no-op. */
  remove(run: StoredExecution): Promise<void>;
  /** Whether an answer to a question is known to be from whom it says, and from somebody who may answer. Of the moment, so asked when there is one. */
  provesApprovals(run: StoredExecution): Promise<boolean>;
  /** Something about this key changed. Returns an unsubscribe function. */
  watch(listener: (key: ObjectKey) => void): () => void;
}
