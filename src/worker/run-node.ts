/** One process, one node, one attempt: claim, run, finish. */
import type { ModelSpec } from "../api/execution.ts";
import { statusLimits } from "../api/status.ts";
import { canonicalJson } from "../core/digest/digest.ts";
import { type Json, toPlainJson } from "../core/digest/json.ts";
import { FencedError, OaoError, PolicyViolationError, StoppedError, WaitingError } from "../core/errors/errors.ts";
import { checkModel, modelCheckOf } from "../core/policy/checks.ts";
import { zeroAmounts } from "../core/protocol/amounts.ts";
import { packBody } from "../core/steps/bodies.ts";
import type { Finished, FinishEntry } from "../core/steps/format.ts";
import type { StepScope } from "../ports/step.ts";
import type { WorkerExit, WorkerOrder } from "../ports/cluster.ts";
import { type Attempt, type AttemptIo, openAttempt } from "./attempt.ts";
import { failureOf, type NodeFailure } from "./failure.ts";
import type { NodeContext } from "./node-context.ts";
import { iso } from "./recorder.ts";
import { stepScope } from "./scope.ts";
import { evaluateNode, type NodeWork } from "./work.ts";

/**
 * Runs the ordered node. Never throws for a failure of the node: that is recorded and the exit says so.
 * `done`/`failed`: finish is durable. `stopped`: suspended, cancelled, or asked to end; another attempt resumes.
 * `infrastructure`: nothing final is recorded; another attempt resumes. `lost`: acknowledged entries are gone.
 */
export async function runNode(order: WorkerOrder, io: AttemptIo): Promise<WorkerExit> {
  try {
    const attempt = await openAttempt(order, io);
    if ("exit" in attempt) return attempt.exit;
    try {
      return await runAndFinish(attempt, order, io);
    } finally {
      await attempt.close();
    }
  } catch (error) {
    return exitOf(error, io);
  }
}

async function runAndFinish(attempt: Attempt, order: WorkerOrder, io: AttemptIo): Promise<WorkerExit> {
  const { context } = attempt;
  let output: Json;
  try {
    await attempt.prepare();
    output = await workOf(attempt, order, io);
  } catch (error) {
    const failure = ownFailure(error, context);
    if (failure === undefined) {
      if (error instanceof StoppedError) await keepFindings(context);
      throw error;
    }
    context.log("warn", "node failed", { class: failure.class, reason: failure.message });
    await finish(
      context,
      { outcome: "Failed", output: null, error: failure },
      null,
      error instanceof PolicyViolationError ? error.message : undefined,
    );
    return "failed";
  }
  await finish(context, { outcome: "Succeeded", output: null, error: null }, output);
  return "done";
}

async function workOf({ context, snapshot, node }: Attempt, order: WorkerOrder, io: AttemptIo): Promise<Json> {
  const { replay } = snapshot;
  if (replay?.mode === "Strict") {
    const { strictReplay } = await import("./strict/strict-replay.ts");
    io.ready?.();
    const verdict = await strictReplay(snapshot, replay, {
      ...io,
      mask: (text) => context.maskText(text),
      terminate: context.stop,
      bodies: context.bodies,
    });
    return toPlainJson(verdict);
  }
  const work = await evaluateNode(context, snapshot, node, order, io);
  const output = await perform(work, stepScope(context), context, io);
  await context.reused?.checkConsumed([]);
  return output;
}

async function perform(work: NodeWork, scope: StepScope, context: NodeContext, io: AttemptIo): Promise<Json> {
  if (work.kind === "tool") {
    io.ready?.();
    return scope.tool(0, 0, { tool: work.tool, arguments: work.arguments });
  }
  const [{ runAgent }, { assertNoHiddenRetries, createModel }] = await Promise.all([
    import("../adapters/langchain/agent.ts"),
    import("../adapters/langchain/models.ts"),
  ]);
  // A client that retries by itself would make calls that nobody recorded or charged.
  await assertNoHiddenRetries(work.model);
  const fetch = await io.modelFetch?.(context.policy);
  const model = await createModel(work.model, { apiKey: apiKeyOf(work.model, context, io), fetch });
  io.ready?.();
  return runAgent({ ...work, model, modelSpec: work.model, scope, signal: context.stop });
}

/** A model that a policy refuses gets no key from its host (G3): that it has none is the policy's doing, and said so. */
function apiKeyOf(model: ModelSpec, { policy }: NodeContext, io: AttemptIo): string | undefined {
  try {
    return io.apiKey(model);
  } catch (error) {
    const refused = checkModel(policy, modelCheckOf(model)).find(({ enforcement }) => enforcement === "Enforce");
    throw refused === undefined ? error : new PolicyViolationError(refused.message, refused.path);
  }
}

/** The store reports a passed audit limit once: what came with the last replies must outlive this attempt. */
async function keepFindings({ waiting, session }: NodeContext): Promise<void> {
  if (!waiting.some((draft) => draft.type === "violation")) return;
  await session.commit({
    drafts: waiting.splice(0),
    bodies: [],
    free: zeroAmounts,
    settled: zeroAmounts,
    overshoot: zeroAmounts,
  });
}

async function finish(context: NodeContext, result: Finished, output: Json, violation?: string): Promise<void> {
  const packed = result.outcome === "Succeeded" ? packBody(output) : undefined;
  const draft: Omit<FinishEntry, "v" | "index" | "prevHash"> = {
    type: "finish",
    attempt: context.attempt,
    try: context.try,
    outcome: result.outcome,
    output: packed === undefined ? null : { body: packed.digest },
    error: result.error,
    ...patchedOf(context),
    at: iso(context.clock.nowMs()),
  };
  const finished: Finished = {
    ...result,
    output: packed?.digest ?? null,
    ...(isFinal(context, result) ? { final: true } : {}),
    ...(context.audited.size === 0 ? {} : { audited: auditedOf(context) }),
  };
  await context.session.finish(
    [...context.waiting.splice(0), draft],
    packed?.bodies ?? [],
    canonicalJson(finished),
    violation,
  );
}

function auditedOf({ audited }: NodeContext): readonly string[] {
  const { auditFindings, messageChars } = statusLimits;
  return [...audited].slice(0, auditFindings).map((message) => message.slice(0, messageChars).toWellFormed());
}

function isFinal(context: NodeContext, { error }: Finished): boolean {
  return (context.madeNonIdempotentCall() && context.policy.onInDoubt !== "Retry") || isFinalClass(error?.class);
}

/** Another try would read the same record. */
function isFinalClass(failureClass: string | undefined): boolean {
  return failureClass === "Divergence" || failureClass === "RecordChanged";
}

function patchedOf({ reused }: NodeContext): { readonly patched?: number } {
  const patched = reused?.steps.patched ?? 0;
  return patched === 0 ? {} : { patched };
}

/** An unexpected error is the node's own end too, unless it comes of being stopped. */
function ownFailure(error: unknown, context: NodeContext): NodeFailure | undefined {
  const failure = failureOf(error, (text) => context.maskText(text));
  if (failure?.class !== "WorkerError") return failure;
  if (context.stop.aborted) return undefined;
  context.log("error", "unexpected error", {
    error: error instanceof Error ? context.maskText(error.stack ?? error.message) : String(error),
  });
  return failure;
}

function exitOf(error: unknown, io: AttemptIo): WorkerExit {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof FencedError) {
    io.log("info", "fenced", { reason: message });
    return "fenced";
  }
  if (error instanceof WaitingError) {
    io.log("info", "waits for an approval", { reason: message });
    return "waiting";
  }
  // A wait for the store ends with the very reason that the process was given.
  if (error instanceof StoppedError || (io.terminate.aborted && error === io.terminate.reason)) {
    io.log("info", "stopped", { state: error instanceof StoppedError ? error.state : "Terminated", reason: message });
    return "stopped";
  }
  io.log("error", "attempt ended", { code: error instanceof OaoError ? error.code : "OAO_PROTOCOL", reason: message });
  // Before a node is claimed nothing can be said in its journal; what is left of the record is no ground to go on.
  const isLost = error instanceof OaoError && ["OAO_DURABILITY_LOST", "OAO_RECORD_CHANGED"].includes(error.code);
  return isLost ? "lost" : "infrastructure";
}
