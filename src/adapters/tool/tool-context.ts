/**
 * The types that authors of module tools write against, published as "openagentorchestrator/tool".
 * This file is copied as its own declaration: types only, and no import.
 */

/**
 * Second argument of a module tool. `now`, `random` and `uuid` are recorded: the same on every resume and replay, where the built-in
 * clock and randomness are not. Call them before any await of your own where several calls run at once; they work until the tool has ended.
 */
export interface ToolContext {
  /** Fires at the tool's time limit and when the run is cut. Nothing stops a function that does not look at it. */
  readonly signal: AbortSignal;
  /** The same over attempts and tries of this call: hand it to whatever outside system can drop a repeat. */
  readonly idempotencyKey: string;
  /** Milliseconds since the epoch. */
  now(): Promise<number>;
  /** In [0, 1). */
  random(): Promise<number>;
  uuid(): Promise<string>;
}

/**
 * A module tool. `args` is a copy of its own; the result must be plain JSON (undefined becomes null) within the policy's body size.
 * A throw fails the call with the error's message (never its stack).
 */
export type ToolFunction = (args: Record<string, unknown>, context: ToolContext) => unknown;
