/**
 * The catalogue of errors: a stable code and one disposition each. Nobody parses messages.
 *
 * retry = the same thing may be done again at once or after a delay; wait = until something outside changes;
 * stop = never again as it is.
 */
export const catalogue = {
  OAO_STORE_UNAVAILABLE: {
    disposition: "retry",
    about: "The journal store did not answer; the command is sent again as it was (J6).",
  },
  OAO_STORE_FULL: { disposition: "wait", about: "The journal store has no room; nothing was applied." },
  OAO_DURABILITY_LOST: {
    disposition: "stop",
    about: "The journal store lost entries that had been acknowledged and no worker could restore them.",
  },
  OAO_FENCED: { disposition: "stop", about: "A later attempt of this node exists, or this one was released (J2)." },
  OAO_STOPPED: {
    disposition: "wait",
    about: "The run is suspended, cancelled, violated a policy or is finalizing: no new call is admitted.",
  },
  OAO_LEASE_LOST: { disposition: "retry", about: "The worker could not renew its lease in time and ended its calls." },
  OAO_POLICY_VIOLATION: {
    disposition: "stop",
    about: "A policy forbids the call or its budget is spent (G1: never retried).",
  },
  OAO_IN_DOUBT: {
    disposition: "stop",
    about: "A NonIdempotent call was made, its result is unknown, and the policy says Fail.",
  },
  OAO_CALL_FAILED: {
    disposition: "stop",
    about: "A model or tool call failed and its retries are used up; recorded, so a replay fails the same way.",
  },
  OAO_DIVERGENCE: {
    disposition: "stop",
    about: "A replay asked for something else than what was recorded in its place.",
  },
  OAO_RECORD_CHANGED: {
    disposition: "stop",
    about: "What was recorded was changed afterwards: an entry does not have its hash, or a body its digest.",
  },
  OAO_SNAPSHOT_MISMATCH: {
    disposition: "stop",
    about:
      "The worker was handed another snapshot than the run was opened with, or its tools or OAO itself changed between attempts.",
  },
  OAO_INVALID_SPEC: { disposition: "stop", about: "The Execution cannot run as it is written." },
  OAO_MISSING_SECRET: { disposition: "stop", about: "A secret that the Execution names is not there." },
  OAO_PROTOCOL: { disposition: "stop", about: "A component broke the step protocol: a bug worth reporting." },
} as const;

export type ErrorCode = keyof typeof catalogue;

/** Every error OAO throws on purpose. `message` says what failed, why, and what to do next. */
export class OaoError extends Error {
  override readonly name: string = "OaoError";
  readonly code: ErrorCode;
  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
  get disposition(): "retry" | "wait" | "stop" {
    return catalogue[this.code].disposition;
  }
}

/** `message` is the exact reason shown in the Execution's status. */
export class PolicyViolationError extends OaoError {
  override readonly name = "PolicyViolationError";
  /** Of the rule that was broken: a field of the policy, or a limit as in "Execution/TotalTokens"; "" where nothing says it any more. */
  readonly path: string;
  constructor(message: string, path = "") {
    super("OAO_POLICY_VIOLATION", message);
    this.path = path;
  }
}

/** Why a worker leaves without having finished its node. */
export class StoppedError extends OaoError {
  override readonly name: string = "StoppedError";
  readonly state: string;
  constructor(state: string, message: string) {
    super("OAO_STOPPED", message);
    this.state = state;
  }
}

/** A person has to decide before the node goes on: its worker leaves, and the next attempt gets the answer. */
export class WaitingError extends StoppedError {
  override readonly name = "WaitingError";
  constructor(message: string) {
    super("AwaitingApproval", message);
  }
}

export class FencedError extends OaoError {
  override readonly name = "FencedError";
  constructor(attempt: number) {
    super("OAO_FENCED", `another attempt (${attempt}) holds this node`);
  }
}
