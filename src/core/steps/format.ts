/**
 * What is written into a journal (format 1). A reader of a later version must still read these.
 * Times are for people; order is the index (J1).
 */
import type { EffectivePolicy } from "../policy/types.ts";
import type { ExecutionSpec, PolicySpec } from "../../api/types.ts";
import type { Json } from "../digest/json.ts";
import type { Replay } from "../replay/types.ts";

/** Fixed at the start of a run (G2), stored as a body; workers get its digest and refuse any other. */
export interface Snapshot {
  readonly v: 1;
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly spec: ExecutionSpec;
  readonly policy: EffectivePolicy;
  /** Of a run that replays another one. */
  readonly replay?: Replay;
  /** The rules that `policy` was made of, as the execution hash takes them. Runs of OAO 0.1 lack them. */
  readonly rules?: readonly PolicySpec[];
}

export type StepKind = "model" | "tool" | "value" | "approval";
export type StepOutcome = "Ok" | "Error" | "Cut" | "Refused";

/** Whole tokens. estimated = ceil(bytes / 4) of what went over the wire; counted = what the budget was charged. */
export interface TokenUsage {
  readonly input: number;
  readonly output: number;
  readonly total: number;
  readonly reported: { readonly input?: number; readonly output?: number; readonly total?: number } | null;
  readonly estimated: { readonly input: number; readonly output: number };
  readonly counted: { readonly input: number; readonly output: number; readonly total: number };
  readonly overshoot: number;
}

/** A model request stored as a difference: the first `keep` messages of the step at journal index `base`, then `append` (digests of bodies). */
export interface RequestRef {
  readonly base: number | null;
  readonly keep: number;
  readonly append: readonly string[];
  readonly header: string;
  /** Run in whose journal of this node item `base` stands; absent = this one. */
  readonly from?: string;
}

/** Steps of another run's journal that are this one's too: the first `steps` ones, in canonical order, of its last try. */
export interface Reuse {
  readonly uid: string;
  readonly steps: number;
  /** Of a patched replay: they are asked for otherwise than they were recorded, so their place decides which is which. */
  readonly byPosition?: true;
}

interface EntryBase {
  readonly v: 1;
  readonly index: number;
  readonly prevHash: string;
  readonly attempt: number;
  readonly try: number;
}

/** Which program ran. `version` and `node` are for people. */
export interface Runtime {
  readonly format: 1;
  readonly version: string;
  readonly node: string;
  /** Digest of the worker's own code. Those of OAO 0.1 did not say it. */
  readonly build?: string;
}

/** What only the worker can know, once per attempt. A later attempt that differs in `tools`, or in the runtime's format or build, is refused. */
export interface StartEntry extends EntryBase {
  readonly type: "start";
  readonly snapshot: string;
  readonly runtime: Runtime;
  /** Tool name -> digest of what runs. */
  readonly tools: Readonly<Record<string, string>>;
  /** Of a replay, in the try that it begins with: read by reference, so they are stored once however often they are replayed. */
  readonly reuse?: Reuse;
  readonly at: string;
}

/** Which step a call is, whoever asks. */
export interface StepIdentity {
  readonly path: readonly number[];
  readonly kind: StepKind;
  /** Tool name, model name, the value's name, or for an approval who asks. */
  readonly name: string;
  readonly requestDigest: string;
  /** n-th call with this key in this scope, from 0. */
  readonly occurrence: number;
}

/** J3: written before the call. */
export interface IntentEntry extends EntryBase, StepIdentity {
  readonly type: "intent";
  /** n-th try of this call, from 0. */
  readonly call: number;
  readonly effect?: "ReadOnly" | "Idempotent" | "NonIdempotent";
  /** Of a tool call: when it has ended at the latest, milliseconds since the epoch by the worker's clock. */
  readonly deadlineMs?: number;
  readonly at: string;
}

interface CallRecord extends EntryBase, StepIdentity {
  readonly input: RequestRef | { readonly body: string };
  readonly output: { readonly body: string } | null;
  readonly error: { readonly class: string; readonly message: string } | null;
  readonly usage: TokenUsage | null;
  readonly startedAt: string;
  readonly completedAt: string;
}

/** A completed step: numbered, canonical, looked up. */
export interface StepEntry extends CallRecord {
  readonly type: "step";
  readonly outcome: StepOutcome;
  readonly toolCalls: readonly { readonly name: string; readonly arguments: Json }[];
  /** Of a replay: not called again, the answer is that run's. */
  readonly from?: string;
}

/** A failed call that OAO itself tried again: charged, visible, never looked up. */
export interface RepeatEntry extends CallRecord {
  readonly type: "repeat";
  readonly call: number;
  /** Not before this time is the call made again, by this attempt or its successor. */
  readonly retryAt: string;
}

export interface ViolationEntry extends EntryBase {
  readonly type: "violation";
  readonly enforcement: "Enforce" | "Audit";
  readonly message: string;
  readonly path: string;
  readonly at: string;
}

export interface FinishEntry extends EntryBase {
  readonly type: "finish";
  readonly outcome: "Succeeded" | "Failed";
  readonly output: { readonly body: string } | null;
  readonly error: { readonly class: string; readonly message: string } | null;
  /** Of a patched replay: reused steps that were asked otherwise than they were recorded. */
  readonly patched?: number;
  readonly at: string;
}

export type JournalEntry = StartEntry | IntentEntry | StepEntry | RepeatEntry | ViolationEntry | FinishEntry;

/** The text in ItemRecord.finished. */
export interface Finished {
  readonly outcome: "Succeeded" | "Failed";
  /** Digest of the output body (hex). */
  readonly output: string | null;
  readonly error: { readonly class: string; readonly message: string } | null;
  /** The node may not be tried again, whatever its retry list says: a NonIdempotent call was made in this try. */
  readonly final?: boolean;
  /** What rules of Audit policies would have stopped, in all tries so far: each message once, the first few. */
  readonly audited?: readonly string[];
}
