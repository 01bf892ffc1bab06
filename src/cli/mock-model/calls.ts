/** What was asked and how far each answer got: the record that tests and demos check claims against. */

/** Calls kept; the oldest are dropped. */
const CALLS_KEPT = 10_000;

/**
 * `open` while answering; `clientClosed` the client left first; `cut`, `stalled`, `ended` and `error` are what the
 * script asked for (error also: refused requests). A stalled call stays `stalled` when its client leaves.
 */
export type CallOutcome = "open" | "finished" | "clientClosed" | "cut" | "stalled" | "ended" | "error";

/** One request to a model endpoint. Times are milliseconds since 1970 with fractions; token counts are pieces written. */
export interface MockCall {
  /** From 0, in order of arrival since the start or the last reset. */
  readonly index: number;
  readonly path: string;
  readonly time: number;
  readonly model: string;
  readonly stream: boolean;
  /** Equal for calls that ask the same; see requestDigest. Empty when the body could not be read. */
  readonly digest: string;
  readonly messages: number;
  /** Number of the matched rule, from 1, and its name. */
  readonly rule: number | undefined;
  readonly ruleName: string | undefined;
  /** The output cap of the request. */
  readonly maxTokens: number | undefined;
  readonly status: number;
  readonly tokens: number;
  readonly outcome: CallOutcome;
  readonly firstTokenAt: number | undefined;
  readonly lastTokenAt: number | undefined;
  /** When the answer ended, whoever ended it. */
  readonly endedAt: number | undefined;
  /** When the client closed the socket before the answer was complete, with the tokens written until then. */
  readonly closedAt: number | undefined;
  /** The same moment on the machine's monotonic clock, in nanoseconds: comparable between processes. */
  readonly closedAtMonotonicNs: string | undefined;
  readonly tokensAtClose: number | undefined;
}

export type CallEvent = "begin" | "token" | "end";
export type CallListener = (call: MockCall, event: CallEvent) => void;

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

function nowMs(): number {
  return performance.timeOrigin + performance.now();
}

/** The list of calls, with listeners that run synchronously at each change. */
export class CallLog {
  #calls: MockCall[] = [];
  #next = 0;
  readonly #listeners = new Set<CallListener>();

  /** Newest last; at most 10,000. The records keep changing while their call is open. */
  list(): readonly MockCall[] {
    return this.#calls;
  }

  reset(): void {
    this.#calls = [];
    this.#next = 0;
  }

  /** Returns the function that ends the subscription. */
  subscribe(listener: CallListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  begin(fields: Pick<MockCall, "path" | "model" | "stream" | "digest" | "messages" | "maxTokens">): OpenCall {
    const call: Mutable<MockCall> = {
      index: this.#next,
      time: nowMs(),
      rule: undefined,
      ruleName: undefined,
      status: 0,
      tokens: 0,
      outcome: "open",
      firstTokenAt: undefined,
      lastTokenAt: undefined,
      endedAt: undefined,
      closedAt: undefined,
      closedAtMonotonicNs: undefined,
      tokensAtClose: undefined,
      ...fields,
    };
    this.#next += 1;
    this.#calls.push(call);
    if (this.#calls.length > CALLS_KEPT) this.#calls.shift();
    return new OpenCall(call, (event) => {
      for (const listener of this.#listeners) listener(call, event);
    });
  }
}

/** The writer's side of one record. */
export class OpenCall {
  readonly #call: Mutable<MockCall>;
  readonly #tell: (event: CallEvent) => void;

  constructor(call: Mutable<MockCall>, tell: (event: CallEvent) => void) {
    this.#call = call;
    this.#tell = tell;
  }

  get tokens(): number {
    return this.#call.tokens;
  }

  /** The request was given to a rule (undefined = none matched) and is answered with `status`. */
  answered(status: number, rule?: { readonly number: number; readonly name: string | undefined }): void {
    this.#call.status = status;
    this.#call.rule = rule?.number;
    this.#call.ruleName = rule?.name;
    this.#tell("begin");
  }

  token(): void {
    this.#call.tokens += 1;
    this.#call.lastTokenAt = nowMs();
    this.#call.firstTokenAt ??= this.#call.lastTokenAt;
    this.#tell("token");
  }

  end(outcome: Exclude<CallOutcome, "open" | "clientClosed">): void {
    if (this.#call.outcome !== "open") return;
    this.#call.outcome = outcome;
    this.#call.endedAt = nowMs();
    this.#tell("end");
  }

  /** The client closed its socket before the end of the answer. */
  clientClosed(): void {
    if (this.#call.outcome !== "open" && this.#call.outcome !== "stalled") return;
    this.#call.closedAtMonotonicNs = String(process.hrtime.bigint());
    this.#call.closedAt = nowMs();
    this.#call.tokensAtClose = this.#call.tokens;
    this.#call.endedAt = this.#call.closedAt;
    if (this.#call.outcome === "open") this.#call.outcome = "clientClosed";
    this.#tell("end");
  }
}
