/**
 * The step protocol's vocabulary: records, commands, replies. `decide.ts` is the rule book; this file only names things.
 *
 * A command touches at most three records: the execution's, one node's account, one item's journal head.
 * So the machine is O(1) per command whatever the size of the run, and each store keeps records, not a history of commands.
 */

/** What is counted. Steps is the policy's maxSteps; the others are budget units. The order is the wire order of the Redis scripts. */
export const units = ["TotalTokens", "InputTokens", "OutputTokens", "ModelCalls", "ToolCalls", "Steps"] as const;
export type Unit = (typeof units)[number];
export const tokenUnits: readonly Unit[] = ["TotalTokens", "InputTokens", "OutputTokens"];

/** Whole numbers, one per unit. */
export type Amounts = Readonly<Record<Unit, number>>;
/** Absent = no limit. */
export type Limits = Readonly<Partial<Record<Unit, number>>>;

/** Where a budget counts: the whole execution, or one node over all its items, tries and attempts. */
export type AccountScope = "Execution" | "Node";

/** B1: settled + lost never passes limit. settled = counted use; lost = charged for calls that died; overshoot = only the provider knew. */
export interface Account {
  readonly limits: Limits;
  /** Limits of Audit policies: crossing is reported once, never refused. */
  readonly auditLimits: Limits;
  readonly settled: Amounts;
  readonly lost: Amounts;
  readonly overshoot: Amounts;
  readonly reserved: Amounts;
}

/** B2: what one attempt has used and holds, as absolute figures; stores apply the difference to the ledger they hold. */
export interface Ledger {
  readonly settled: Amounts;
  readonly overshoot: Amounts;
  readonly reserved: Amounts;
}

export type ControlState = "Running" | "Suspended" | "Cancelled" | "Violated" | "Finalizing";

/** The state that reaches every worker with each heartbeat. `revision` grows with every change; `message` is the exact reason. */
export interface Control {
  readonly state: ControlState;
  readonly revision: number;
  readonly message: string;
}

export interface ExecutionRecord {
  /** Digest of the resolved snapshot the run was opened with. */
  readonly snapshot: string;
  readonly control: Control;
  readonly account: Account;
}

/** One node, or one item of a forEach node (`item` from 0). */
export interface NodeKey {
  readonly node: string;
  readonly item?: number | undefined;
}

export interface ItemRecord {
  /** J2: the fence. Only this attempt with this claim may append or charge. Empty claimId = released: nobody may. */
  readonly attempt: number;
  readonly claimId: string;
  readonly try: number;
  /** Entries appended, all tries (J1), and the hash of the last; genesis before the first. */
  readonly length: number;
  readonly head: string;
  /** J6: the last sequenced command of the claim and its reply. A worker has one command in flight, so one is enough. */
  readonly seq: number;
  readonly commandDigest: string;
  readonly reply: Reply | undefined;
  readonly ledger: Ledger;
  /** Numbered steps committed in this try. */
  readonly steps: number;
  /** Store clock, milliseconds. */
  readonly leaseUntilMs: number;
  /** Small JSON text written by finish: outcome, digest of output, error. Undefined while at work. */
  readonly finished: string | undefined;
  /** Small JSON text for people, from the last heartbeat. */
  readonly live: string;
}

/** One journal entry as it is stored: `bytes` is canonical JSON and holds index and prevHash; `hash` = sha256 hex of bytes. */
export interface StoredEntry {
  readonly index: number;
  readonly prevHash: string;
  readonly hash: string;
  readonly bytes: string;
}

/** A body stored once per execution under its digest (sha256 hex of bytes). */
export interface StoredBody {
  readonly digest: string;
  readonly bytes: string;
}

export interface OpenCommand {
  readonly op: "open";
  readonly snapshot: string;
  readonly limits: Limits;
  readonly auditLimits: Limits;
}

/** The highest journal position the status (so etcd) has seen; a store that knows less was rolled back. */
export interface KnownPosition {
  readonly length: number;
  readonly head: string;
}

export interface ClaimCommand extends NodeKey {
  readonly op: "claim";
  readonly attempt: number;
  readonly claimId: string;
  readonly try: number;
  readonly limits: Limits;
  readonly auditLimits: Limits;
  readonly known?: KnownPosition | undefined;
  readonly leaseTtlMs: number;
}

interface FencedCommand extends NodeKey {
  readonly attempt: number;
  readonly claimId: string;
}

interface SequencedCommand extends FencedCommand {
  /** From 1 in each claim; one in flight. */
  readonly seq: number;
  /** sha256 hex of the canonical command; equal seq and digest = the same command (J6). */
  readonly digest: string;
  readonly ledger: Ledger;
  readonly leaseTtlMs: number;
}

/** J3: the intent is durable before the call. Appends `entries` (start entries and the intent), reserves, checks every budget. */
export interface BeginCommand extends SequencedCommand {
  readonly op: "begin";
  /** Finally nodes are admitted under Finalizing, all others under Running. */
  readonly phase: "Main" | "Finally";
  readonly entries: readonly StoredEntry[];
  readonly bodies: readonly StoredBody[];
  /** As in commit: a value made here is a whole step in one command. */
  readonly steps: number;
}

/** Buy a further block for a stream. Never waits. */
export interface GrowCommand extends SequencedCommand {
  readonly op: "grow";
}

/** Append results and settle. `steps` = numbered steps of this try so far, absolute (as in begin). */
export interface CommitCommand extends SequencedCommand {
  readonly op: "commit";
  readonly entries: readonly StoredEntry[];
  readonly bodies: readonly StoredBody[];
  readonly steps: number;
  /** Exact reason; moves control to Violated when it is Running. */
  readonly violation?: string | undefined;
}

/** Last command of an attempt: appends the finish entry and closes the item. Reservations left over become lost. */
export interface FinishCommand extends SequencedCommand {
  readonly op: "finish";
  readonly entries: readonly StoredEntry[];
  readonly bodies: readonly StoredBody[];
  readonly steps: number;
  readonly finished: string;
  readonly violation?: string | undefined;
}

/** After a rollback of the store: append the worker's kept tail again and restore its figures. */
export interface HealCommand extends SequencedCommand {
  readonly op: "heal";
  /** Where the tail begins. Also says so when no entry is missing, so that a second rollback cannot pass unseen. */
  readonly position: KnownPosition;
  readonly entries: readonly StoredEntry[];
  readonly bodies: readonly StoredBody[];
  readonly steps: number;
}

export interface HeartbeatCommand extends FencedCommand {
  readonly op: "heartbeat";
  readonly live: string;
  readonly leaseTtlMs: number;
}

export interface ControlCommand {
  readonly op: "control";
  readonly to: ControlState;
  readonly message: string;
}

/** Host only: this attempt is known to be dead. Charges what it held as lost and fences it. */
export interface ReleaseCommand extends NodeKey {
  readonly op: "release";
  readonly attempt: number;
}

export type SequencedWorkerCommand = BeginCommand | GrowCommand | CommitCommand | FinishCommand | HealCommand;
export type Command =
  | OpenCommand
  | ClaimCommand
  | SequencedWorkerCommand
  | HeartbeatCommand
  | ControlCommand
  | ReleaseCommand;

/** Which limit refused. `spent` = settled + lost + overshoot, `reserved` by all, `need` = what was asked for. */
export interface Refusal {
  readonly scope: AccountScope;
  readonly unit: Unit;
  readonly limit: number;
  readonly spent: number;
  readonly reserved: number;
  readonly need: number;
}

export type Reply =
  /**
   * `crossed` = audit limits that this command passed for the first time, as "Scope/Unit" (of a claim: only in its first reply).
   * `left` = output tokens that could still be bought after it; -1 where no token budget applies. Only begin and grow say it, others -1.
   */
  | {
      readonly code: "OK";
      readonly length: number;
      readonly head: string;
      readonly control: Control;
      readonly crossed: readonly string[];
      readonly left: number;
    }
  /** Not remembered, consumes no sequence: ask again after a settle. */
  | { readonly code: "WAIT"; readonly refusal: Refusal }
  /** Violation: a budget unit, or Steps (LIMIT). */
  | { readonly code: "BUDGET"; readonly refusal: Refusal }
  | { readonly code: "LIMIT"; readonly refusal: Refusal }
  /** The control state admits no new call. Consumes no sequence. */
  | { readonly code: "STOPPED"; readonly control: Control }
  /** J2: a higher attempt exists, another claim holds this one, or it was released. Final. */
  | { readonly code: "FENCED"; readonly attempt: number }
  /** Another claim holds this attempt (a copied pod). Final. */
  | { readonly code: "CLAIMED"; readonly attempt: number }
  /** The store knows a lower fence than the command's: it was rolled back; claim again, then heal. */
  | { readonly code: "RECLAIM"; readonly attempt: number }
  /** The command does not follow what the store holds: it was rolled back; heal from the kept tail. */
  | { readonly code: "GAP"; readonly seq: number; readonly length: number; readonly head: string }
  /** The store holds less than the status has seen. */
  | { readonly code: "ROLLED_BACK"; readonly length: number; readonly head: string }
  | { readonly code: "FINISHED"; readonly finished: string }
  | { readonly code: "NOT_OPEN" }
  /** An unlisted control transition. */
  | { readonly code: "REFUSED"; readonly state: ControlState }
  /** A worker broke the protocol (same seq with other content, settled more than it reserved, another snapshot). A bug, never retried. */
  | { readonly code: "INVALID"; readonly detail: string };
export type ReplyCode = Reply["code"];

/** The records one command may touch. */
export interface Records {
  readonly execution: ExecutionRecord | undefined;
  readonly node: Account | undefined;
  readonly item: ItemRecord | undefined;
}

/** What watchers are told; carries no data they would have to trust. */
export type Wake = "control" | "settled" | "progress";

/** A store applies all of it in one transaction or none. */
export interface Outcome {
  readonly reply: Reply;
  /** Undefined = nothing changed. */
  readonly records: Records | undefined;
  readonly entries: readonly StoredEntry[];
  readonly bodies: readonly StoredBody[];
  readonly wake: Wake | undefined;
}
