/**
 * What the worker offers to agents and graphs: recorded calls. Adapters (LangChain, tools) see only this.
 *
 * `model`, `tool` and `value` must be called synchronously at the call's entry, before any await, so that paths do not depend on timing (J5).
 */
import type { Json, JsonObject } from "../core/digest/json.ts";
import type { FailureClass } from "../api/common.ts";

/** Pairs (o, i) from the outermost call inwards, flattened: [o, 0] = model call o, [o, 1 + i] = i-th tool call of its message. */
export type StepPath = readonly number[];

/** Given to a live call. Leaving the call (return or throw) ends it; `signal` aborts when OAO cuts it. */
export interface LiveCall {
  readonly signal: AbortSignal;
  /** What the provider may write at most, in tokens; a second net behind the meter. Undefined = no token budget. */
  readonly outputCap: number | undefined;
  /** Charge text before it is handed on. Resolves when bought; rejects (after cutting) when a budget ends or the run is stopped. */
  meter(text: string): Promise<void>;
  /** Stable over attempts and tries of this call. */
  readonly idempotencyKey: string;
}

/** Whole tokens as the provider reported them; undefined where it said nothing usable. */
export interface ReportedUsage {
  readonly input?: number | undefined;
  readonly output?: number | undefined;
  readonly total?: number | undefined;
}

export interface ModelRequest {
  /** Name in spec.models, and the "provider/model" that policies match. */
  readonly model: string;
  readonly policyName: string;
  /** Absolute URL the call goes to; checked against policy endpoints. */
  readonly endpoint: string;
  /** Name of the Secret whose key is sent there, if any (G3). */
  readonly secret: string | undefined;
  /** OAO's versioned projection: model, parameters, tool definitions, response format. */
  readonly header: JsonObject;
  /** Projected messages, ids rewritten to positions. */
  readonly messages: readonly Json[];
  /** The user's own cap on output tokens, if any. */
  readonly declaredOutputCap: number | undefined;
}

export interface ModelAnswer {
  /** Frozen message as plain JSON. */
  readonly message: JsonObject;
  readonly usage: ReportedUsage | undefined;
  /** The answer ended at LiveCall.outputCap, which was lower than the user's own: a budget cut it, not the user. */
  readonly truncatedByCap?: boolean;
}

export interface ToolRequest {
  readonly tool: string;
  readonly arguments: Json;
}

/** The recorded calls of one scope: an agent's run, or the inside of one tool call. */
export interface StepScope {
  /** Path of the enclosing call; [] at the top of a node. */
  readonly path: StepPath;
  /** o-th model call of this scope. Returns the recorded (thawed) message, live and replayed alike (J7). Throws RecordedFailure. */
  model(o: number, request: ModelRequest, live: (call: LiveCall) => Promise<ModelAnswer>): Promise<JsonObject>;
  /** i-th tool call of message o. `live` gets the scope inside the tool. Returns the recorded output. Throws RecordedFailure. */
  tool(o: number, i: number, request: ToolRequest): Promise<Json>;
  /** A recorded value made here (time, random, uuid): no outside call, so no intent. */
  value(name: string, make: () => Json): Promise<Json>;
}

/** A live call's failure as its adapter classified it. Anything else thrown by a live call is ToolFailure or a bug. */
export class CallFailure extends Error {
  override readonly name = "CallFailure";
  readonly failureClass: FailureClass | "InvalidRequest" | "QuotaExhausted" | "InvalidAnswer";
  /** From Retry-After, milliseconds. */
  readonly retryAfterMs: number | undefined;
  /** False = the request surely never left this process. */
  readonly sent: boolean;
  readonly usage: ReportedUsage | undefined;
  constructor(
    failureClass: CallFailure["failureClass"],
    message: string,
    details: {
      retryAfterMs?: number | undefined;
      sent?: boolean;
      usage?: ReportedUsage | undefined;
      cause?: unknown;
    } = {},
  ) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.failureClass = failureClass;
    this.retryAfterMs = details.retryAfterMs;
    this.sent = details.sent ?? true;
    this.usage = details.usage;
  }
}

/** The recorded outcome Error of a step, thrown to the caller on the live path and again on every replay. */
export class RecordedFailure extends Error {
  override readonly name = "RecordedFailure";
  readonly failureClass: string;
  constructor(failureClass: string, message: string) {
    super(message);
    this.failureClass = failureClass;
  }
}
