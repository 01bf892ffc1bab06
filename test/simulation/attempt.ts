/** One simulated worker: the real attempt, session, meter and recorder; its store, clock and outside are hand-driven. */
import { canonicalJson } from "../../src/core/digest/digest.ts";
import { FencedError, OaoError, PolicyViolationError, StoppedError } from "../../src/core/errors/errors.ts";
import { RecordedFailure } from "../../src/ports/step.ts";
import type { WorkerExit, WorkerOrder } from "../../src/ports/cluster.ts";
import { type AttemptIo, openAttempt } from "../../src/worker/attempt.ts";
import { stepScope } from "../../src/worker/scope.ts";
import { estimateTokens } from "../../src/core/digest/tokens.ts";
import { type Outside, program } from "./program.ts";

/** What run-node.ts does around an agent, without one. A protocol error is thrown: no schedule may bring it about. */
export async function runAttempt(
  order: WorkerOrder,
  io: AttemptIo,
  rounds: number,
  outside: Outside,
): Promise<WorkerExit> {
  try {
    const attempt = await openAttempt(order, io);
    if ("exit" in attempt) return attempt.exit;
    try {
      await attempt.prepare();
      return await work(attempt.context, order, rounds, outside);
    } finally {
      await attempt.close();
    }
  } catch (error) {
    if (error instanceof FencedError) return "fenced";
    if (error instanceof StoppedError) return "stopped";
    if (error instanceof OaoError && error.code === "OAO_DURABILITY_LOST") return "lost";
    if (error instanceof OaoError && error.code === "OAO_LEASE_LOST") return "infrastructure";
    throw error;
  }
}

type Context = Extract<Awaited<ReturnType<typeof openAttempt>>, { context: unknown }>["context"];

async function work(context: Context, order: WorkerOrder, rounds: number, outside: Outside): Promise<WorkerExit> {
  let failed: string | undefined;
  try {
    await program(stepScope(context), order.node, rounds, outside, (request) =>
      request.messages.reduce<number>(
        (sum, message) => sum + estimateTokens(canonicalJson(message)),
        estimateTokens(canonicalJson(request.header)),
      ),
    );
  } catch (error) {
    const own =
      error instanceof RecordedFailure ||
      error instanceof PolicyViolationError ||
      (error instanceof OaoError && error.code === "OAO_IN_DOUBT");
    if (!own) throw error;
    failed = error.message;
  }
  const result =
    failed === undefined
      ? { outcome: "Succeeded" as const, error: null }
      : { outcome: "Failed" as const, error: { class: "Own", message: failed } };
  const entry = {
    type: "finish" as const,
    attempt: context.attempt,
    try: context.try,
    ...result,
    output: null,
    at: "",
  };
  await context.session.finish([...context.waiting.splice(0), entry], [], canonicalJson({ ...result, output: null }));
  return failed === undefined ? "done" : "failed";
}
