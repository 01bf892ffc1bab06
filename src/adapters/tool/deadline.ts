/** One call under its time limit and the run's abort signal. */
import { CallFailure } from "../../ports/step.ts";
import type { ToolCallContext } from "../../ports/tool.ts";

/** setTimeout fires at once for more than this. */
const TIMER_MS_MAX = 2_147_483_647;

/** What the work gets: a signal that fires at the limit or when OAO cuts the call, and the place to note that something was sent. */
export interface LimitedCall {
  readonly signal: AbortSignal;
  /** Set it before the first byte (or the first line of foreign code): it decides whether a repeat is safe. */
  sent: boolean;
}

/**
 * Runs `work` until it ends, `context.timeoutMs` have passed (CallFailure Timeout) or `context.signal` fires (CallFailure ToolFailure).
 * The work is told by its signal and no longer waited for; a late end of it is ignored.
 */
export async function withDeadline<T>(
  tool: string,
  context: Pick<ToolCallContext, "signal" | "timeoutMs">,
  work: (call: LimitedCall) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const call: LimitedCall = { signal: controller.signal, sent: false };
  const { promise: ended, reject } = Promise.withResolvers<never>();
  const end = (failure: CallFailure) => {
    reject(failure);
    controller.abort(failure);
  };
  const cut = () => end(stopped(tool, call.sent, context.signal.reason));
  if (context.signal.aborted) throw stopped(tool, false, context.signal.reason);
  context.signal.addEventListener("abort", cut, { once: true });
  // Not unref'd: a call that nothing else keeps alive must end in Timeout, not in the end of the process.
  const timer = setTimeout(
    () =>
      end(new CallFailure("Timeout", `Tool ${tool} did not end within ${context.timeoutMs} ms`, { sent: call.sent })),
    Math.min(context.timeoutMs, TIMER_MS_MAX),
  );
  try {
    return await Promise.race([ended, work(call)]);
  } finally {
    clearTimeout(timer);
    context.signal.removeEventListener("abort", cut);
  }
}

function stopped(tool: string, sent: boolean, cause: unknown): CallFailure {
  return new CallFailure("ToolFailure", `The call of tool ${tool} was stopped`, { sent, cause });
}
