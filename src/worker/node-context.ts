/** What every recorded call of one node shares. */
import type { Json } from "../core/digest/json.ts";
import type { PolicyViolationError } from "../core/errors/errors.ts";
import type { EffectivePolicy } from "../core/policy/types.ts";
import type { Limits, NodeKey } from "../core/protocol/types.ts";
import type { EntryDraft } from "../core/steps/chain.ts";
import type { History } from "../core/steps/history.ts";
import type { Stop } from "../core/steps/purchase.ts";
import type { Answer } from "../core/planner/types.ts";
import type { Clock } from "../ports/clock.ts";
import type { Tool } from "../ports/tool.ts";
import type { BodyReader } from "./body-reader.ts";
import type { Reused } from "./reuse.ts";
import type { Session } from "./session.ts";

export interface NodeContext {
  readonly uid: string;
  readonly key: NodeKey;
  /** gather or rate[3] */
  readonly item: string;
  readonly attempt: number;
  readonly try: number;
  /** An earlier attempt's calls in doubt may be at work until their time limits. */
  readonly predecessorMayLive: boolean;
  /** What people decided about calls in doubt, by request. */
  readonly answers: Readonly<Record<string, Answer>>;
  readonly session: Session;
  readonly history: History;
  readonly bodies: BodyReader;
  /** Of a Fork: what is answered from the record of the run that it replays. */
  readonly reused?: Reused | undefined;
  readonly policy: EffectivePolicy;
  /** Limits of the execution and node accounts, for the size of blocks. */
  readonly accountLimits: readonly Limits[];
  readonly clock: Clock;
  /** Aborts with StoppedError, FencedError or a lost lease: calls end, nothing new begins. */
  readonly stop: AbortSignal;
  /** Resolves when a sibling has settled, or after a short while; rejects when stopped. */
  settled(): Promise<void>;
  /** Secrets and redacted paths out, before an answer is digested, stored or seen by the agent. */
  redact(value: Json): Json;
  /** Secrets out of a message, and nothing in it that a journal could not hold. */
  maskText(text: string): string;
  /** The exact words of a budget stop. */
  budgetViolation(stop: Stop): PolicyViolationError;
  tool(name: string): Tool;
  /** Foreign code may hold the thread from now on, for `timeoutMs` at most; see lease.ts. */
  lend(timeoutMs: number): () => void;
  /** What a person watching sees: current tool and tokens of the running call. */
  showLive(live: { tool?: string; tokens?: number }): void;
  /** What goes before the next append: the attempt's start entry, audit findings. */
  readonly waiting: EntryDraft[];
  /** Notes what a rule of an Audit policy would have stopped; `path` is the rule's. */
  audit(message: string, path: string): void;
  /** All of that in every try, each message once. */
  readonly audited: ReadonlySet<string>;
  /** Notes that a limit of Audit policies was passed, as in "Call/OutputTokens". */
  auditPassed(limit: string): void;
  /** Recorded values that this attempt made, by key: a call that is tried again sees the same ones, as a resume would. */
  readonly values: Map<string, Json>;
  /** How often this node made each call, by content, for loop detection. */
  readonly callCounts: Map<string, number>;
  /** Set when a NonIdempotent tool is called in this try. */
  noteNonIdempotentCall(): void;
  madeNonIdempotentCall(): boolean;
  log(level: "info" | "warn" | "error", message: string, fields?: Record<string, unknown>): void;
}
