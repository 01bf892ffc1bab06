/** What the loop did, told to people: Kubernetes Events, metrics, logs. Never throws and keeps nobody waiting. */
import type { Logger } from "pino";
import type { EventRecorder } from "../adapters/kube/events.ts";
import type { ApprovalStatus, Condition, ExecutionStatus } from "../api/status.ts";
import { OaoError } from "../core/errors/errors.ts";
import type { HostEvent } from "../host/io.ts";
import type { ObjectKey } from "../ports/cluster.ts";
import type { Metrics } from "./metrics.ts";
import type { ModelTokens } from "./model-tokens.ts";

export interface Audience {
  readonly events: EventRecorder;
  readonly metrics: Metrics;
  readonly logger: Logger;
  /** Undefined = gone meanwhile. */
  readonly uidOf: (key: ObjectKey) => string | undefined;
  /** Of a run that has ended. */
  readonly tokensOf: (uid: string, status: ExecutionStatus) => Promise<ReadonlyMap<string, ModelTokens>>;
}

/** Last told phase and failures in a row of each run; the longest untouched are forgotten first. */
const runsMax = 10_000;
/** A failure that passes at once is nobody's business. */
const failuresTold = 3;

interface Told {
  /** When a stop was first told, while workers may still be at work. */
  stopSeenAtMs: number | undefined;
  readonly nodes: Map<string, string>;
  readonly tries: Map<string, number>;
  failures: number;
}

/** `Max Token Limit Exceeded` of `PolicyViolation: Max Token Limit Exceeded: budget …`: one of a few titles of our own. */
function violated({ conditions }: ExecutionStatus): string {
  const message = conditions.find(({ type }) => type === "Succeeded")?.message ?? "";
  return /^PolicyViolation: ([A-Za-z ]{1,60})/.exec(message)?.[1] ?? "other";
}

const requestOf = ({ request }: ApprovalStatus) => request;

export function teller({ events, metrics, logger, uidOf, tokensOf }: Audience): (event: HostEvent) => void {
  const runs = new Map<string, Told>();
  /** Namespace and holder; as few as there are releases. */
  const elsewhere = new Set<string>();
  const told = (uid: string): Told => {
    const found = runs.get(uid) ?? {
      stopSeenAtMs: undefined,
      nodes: new Map<string, string>(),
      tries: new Map<string, number>(),
      failures: 0,
    };
    runs.delete(uid);
    runs.set(uid, found);
    const [oldest] = runs.keys();
    if (runs.size > runsMax && oldest !== undefined) runs.delete(oldest);
    return found;
  };

  function onStatus(key: ObjectKey, uid: string, status: ExecutionStatus, previous: ExecutionStatus | undefined): void {
    const before = told(uid);
    before.failures = 0;
    const succeeded = status.conditions.find(({ type }) => type === "Succeeded");
    for (const { name, state, reason, message, try: tryNumber = 1 } of status.nodes) {
      const now = `${state} ${reason ?? ""}`;
      // The class of the failure stands beside the try that follows it.
      if (tryNumber > (before.tries.get(name) ?? 1)) metrics.retries.inc({ reason: reason ?? "" });
      if (tryNumber > 1) before.tries.set(name, tryNumber);
      if (state === "Failed" && before.nodes.get(name) !== now)
        events.record({
          regarding: { key, uid },
          type: "Warning",
          reason: "NodeFailed",
          action: "Fail",
          note: `node ${name} failed: ${message ?? reason ?? ""}`,
        });
      if (state === "Starting" && reason !== undefined && before.nodes.get(name) !== now)
        events.record({
          regarding: { key, uid },
          type: "Warning",
          reason,
          action: "Wait",
          note: `node ${name} cannot start: ${message ?? reason}`,
        });
      before.nodes.set(name, now);
    }
    tellUnproven(key, uid, status, previous);
    for (const note of status.auditFindings ?? [])
      if (previous?.auditFindings?.includes(note) !== true)
        events.record({ regarding: { key, uid }, type: "Warning", reason: "AuditViolation", action: "Audit", note });
    timeStop(before, status, succeeded);
    // Also where another process has told it: a new leader goes on where that was.
    if (previous?.phase === status.phase) return;
    logger.info(
      { execution: `${key.namespace}/${key.name}`, uid, phase: status.phase, reason: succeeded?.reason },
      "phase",
    );
    events.record({
      regarding: { key, uid },
      type: status.phase === "Failed" ? "Warning" : "Normal",
      reason: status.phase === "Failed" ? (succeeded?.reason ?? "Failed") : status.phase,
      action: "Reconcile",
      note: succeeded?.message || `the run is ${status.phase}`,
    });
    if (status.completedAt !== undefined) onEnd(key, uid, status, succeeded?.reason ?? status.phase);
  }

  /** Whoever may change the run could have written it under any name. */
  function tellUnproven(
    key: ObjectKey,
    uid: string,
    { approvals = [] }: ExecutionStatus,
    previous: ExecutionStatus | undefined,
  ): void {
    const open = new Set(previous?.approvals?.filter(({ decision }) => decision === undefined).map(requestOf));
    for (const each of approvals)
      if (each.proven === false && open.has(each.request))
        events.record({
          regarding: { key, uid },
          type: "Warning",
          reason: "ApprovalUnproven",
          action: "Approve",
          note: `${each.node} is ${each.decision ?? ""} by "${each.by ?? ""}", and nothing proves that it was them: the ValidatingAdmissionPolicy approvals.oao.dev is not in force`,
        });
  }

  function timeStop(run: Told, status: ExecutionStatus, succeeded: Condition | undefined): void {
    const isStopped = succeeded?.status === "False" || status.cancelRequested === true;
    const nowMs = performance.now();
    if (status.completedAt === undefined) {
      if (isStopped) run.stopSeenAtMs ??= nowMs;
    } else if (run.stopSeenAtMs !== undefined) {
      metrics.stopSeconds.observe({ reason: succeeded?.reason ?? "" }, (nowMs - run.stopSeenAtMs) / 1_000);
      run.stopSeenAtMs = undefined;
    }
  }

  function onEnd({ namespace }: ObjectKey, uid: string, status: ExecutionStatus, reason: string): void {
    const { phase, usage } = status;
    metrics.ended.inc({ phase, reason });
    if (reason === "PolicyViolation") metrics.violations.inc({ reason: violated(status) });
    if (usage === undefined) return;
    metrics.tokens.inc({ namespace, model: "", kind: "lost" }, usage.lostTokens);
    metrics.tokens.inc({ namespace, model: "", kind: "overshoot" }, usage.overshootTokens);
    const { inputTokens: input, outputTokens: output } = usage;
    if (input === 0 && output === 0) return; // no model was asked, so no journal needs to be read
    const count = (byModel: ReadonlyMap<string, ModelTokens>) => {
      for (const [name, tokens] of byModel) {
        const model = metrics.modelLabel(name);
        metrics.tokens.inc({ namespace, model, kind: "input" }, tokens.input);
        metrics.tokens.inc({ namespace, model, kind: "output" }, tokens.output);
      }
    };
    tokensOf(uid, status).then(count, () => count(new Map([["unknown", { input, output }]])));
  }

  function onFailure(key: ObjectKey, error: unknown, retryAfterMs: number): void {
    const name = error instanceof Error ? error.name : "unknown";
    metrics.reconcileErrors.inc({ error: name });
    const message = error instanceof Error ? error.message : String(error);
    const execution = `${key.namespace}/${key.name}`;
    // Somebody wrote first: the next pass sees it.
    logger[name === "Conflict" ? "debug" : "warn"]({ execution, error: message, retryAfterMs }, "pass failed");
    const uid = uidOf(key);
    if (uid === undefined || name === "Conflict") return;
    const run = told(uid);
    run.failures += 1;
    if (run.failures !== failuresTold) return;
    const reason =
      error instanceof OaoError && error.code === "OAO_STORE_UNAVAILABLE" ? "StoreUnavailable" : "ReconcileFailed";
    const note = `${message}; the run waits, nothing is lost, and it is looked at again by itself`;
    events.record({ regarding: { key, uid }, type: "Warning", reason, action: "Wait", note });
  }

  /** Once: where two releases are meant to share a namespace it is no trouble. */
  function onElsewhere({ namespace, name }: ObjectKey, holder: string): void {
    const place = `${namespace} ${holder}`;
    if (elsewhere.has(place)) return;
    elsewhere.add(place);
    logger.warn(
      { namespace, operator: holder, execution: `${namespace}/${name}` },
      "another operator holds Executions of this namespace: they are left alone",
    );
  }

  return (event) => {
    switch (event.kind) {
      case "Status":
        return onStatus(event.key, event.uid, event.status, event.before);
      case "Passed":
        return metrics.reconcileSeconds.observe(event.tookMs / 1_000);
      case "Lost": {
        const { key, uid, loss } = event;
        metrics.losses.inc({ reason: loss.reason });
        const item = loss.key.item === undefined ? "" : `[${loss.key.item}]`;
        const note = `attempt ${loss.attempt} of node ${loss.key.node}${item} was lost: ${loss.message}`;
        events.record({ regarding: { key, uid }, type: "Warning", reason: loss.reason, action: "Restart", note });
        return undefined;
      }
      case "LetGo":
        return undefined;
      case "Elsewhere":
        return onElsewhere(event.key, event.holder);
      case "Failed":
        return onFailure(event.key, event.error, event.retryAfterMs);
    }
  };
}
