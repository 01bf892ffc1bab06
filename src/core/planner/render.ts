/** Rows and figures as status writes them: bounded (P4), defaults left out. */
import {
  type ExecutionStatus,
  type ItemStatus,
  type NodeState,
  type NodeStatus,
  statusLimits,
  type UsageStatus,
} from "../../api/status.ts";
import type { ExecutionSpec } from "../../api/types.ts";
import { specGraph } from "../dag/spec-graph.ts";
import type { Account } from "../protocol/types.ts";
import { renderApprovals } from "./approvals.ts";
import { standing } from "./conditions.ts";
import { runClock } from "./deadline.ts";
import type { Draft } from "./draft.ts";
import { journalLife } from "./durability.ts";
import { isAtWork, isEnded } from "./node-machine.ts";
import { headOf, type Outcome, resultOf } from "./outcome.ts";
import { impliedAttempt, isLarge, type Row } from "./rows.ts";
import type { Verdict } from "../replay/strict.ts";
import { strictRows, verdictOf } from "./strict.ts";
import { isoTime } from "./time.ts";
import type { Seen } from "./types.ts";

/** Of a run that was just accepted: nothing has been done yet. */
export function initialStatus(
  spec: ExecutionSpec,
  nowMs: number,
  opened: Pick<ExecutionStatus, "snapshot" | "policies" | "policyHash" | "executionHash" | "hashParts">,
): ExecutionStatus {
  const nodes = specGraph(spec).nodes.map(({ name }): NodeStatus => ({ name, state: "Pending" }));
  return {
    observedGeneration: -1,
    phase: "Pending",
    conditions: [],
    ...opened,
    progress: `0/${nodes.length}`,
    nodeCounts: { Pending: nodes.length },
    nodes,
    startedAt: isoTime(nowMs),
  };
}

/** `outcome` is set in the pass that ends the run. */
export function renderStatus(draft: Draft, outcome: Outcome | undefined, wasMainEnded: boolean): ExecutionStatus {
  const { seen, rows } = draft;
  const { activeMs: _activeMs, activeSince: _activeSince, ...kept } = seen.status;
  const clock = outcome === undefined ? runClock(draft, wasMainEnded) : undefined;
  const result = outcome?.phase === "Succeeded" ? resultOf(draft) : undefined;
  const nodes = (outcome === undefined ? undefined : strictRows(draft)) ?? renderRows(draft);
  const verdict = outcome === undefined ? undefined : verdictOf(draft);
  const steps = verdict?.steps ?? rows.reduce((sum, row) => sum + (row.steps ?? 0), 0);
  return {
    ...kept,
    observedGeneration: seen.run.generation,
    ...standing(draft, outcome),
    ...(seen.execution === undefined ? {} : { usage: usageOf(seen.execution.account) }),
    progress: `${nodes.filter(({ state }) => isEnded(state)).length}/${nodes.length}`,
    nodeCounts: countStates(nodes),
    nodes,
    ...renderReplay(seen, verdict),
    ...(verdict === undefined ? {} : { traceHash: verdict.traceHash }),
    ...renderApprovals(draft),
    ...(draft.audited.size === 0 ? {} : { auditFindings: [...draft.audited] }),
    ...(steps === 0 ? {} : { steps }),
    ...journalLife(draft),
    ...(draft.cancelRequested ? { cancelRequested: true } : {}),
    ...clock,
    ...(outcome === undefined ? {} : { completedAt: isoTime(draft.nowMs) }),
    ...(outcome !== undefined && seen.execution !== undefined ? { journalHead: `sha256:${headOf(draft)}` } : {}),
    ...(result === undefined || result.absent !== undefined
      ? {}
      : { result: { digest: `sha256:${result.digest}`, preview: result.preview } }),
  };
}

function usageOf(account: Account): UsageStatus {
  return {
    inputTokens: account.settled.InputTokens,
    outputTokens: account.settled.OutputTokens,
    totalTokens: account.settled.TotalTokens,
    lostTokens: account.lost.TotalTokens,
    overshootTokens: account.overshoot.TotalTokens,
    modelCalls: account.settled.ModelCalls,
    toolCalls: account.settled.ToolCalls,
  };
}

function renderReplay({ replay }: Seen, verdict: Verdict | undefined): Pick<ExecutionStatus, "replay"> {
  if (replay === undefined) return {};
  const { mode, cursor, parent } = replay;
  return {
    replay: {
      parentUID: parent.uid,
      lineage: replay.lineage,
      mode,
      ...(cursor === undefined ? {} : { fromStep: cursor.step }),
      ...(verdict === undefined ? {} : { reusedSteps: verdict.steps, liveSteps: 0, patchedSteps: 0 }),
      ...(verdict?.divergedAt === undefined ? {} : { divergedAt: verdict.divergedAt }),
    },
  };
}

function countStates(rows: readonly { readonly state: NodeState }[]): ExecutionStatus["nodeCounts"] {
  const counts: Partial<Record<NodeState, number>> = {};
  for (const row of rows) counts[row.state] = (counts[row.state] ?? 0) + 1;
  return Object.fromEntries(Object.entries(counts).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function renderRows(draft: Draft): readonly NodeStatus[] {
  const style: Style = { isTimed: !isLarge(draft.rows), messagesLeft: statusLimits.messageRows };
  return draft.rows.map((row): NodeStatus => {
    const isOpen = row.itemCount !== undefined && !isEnded(row.state);
    return {
      name: row.node.name,
      ...renderRow(row, style),
      ...(row.itemCount === undefined ? {} : { itemCount: row.itemCount }),
      ...(row.itemsDone === undefined ? {} : { itemsDone: row.itemsDone }),
      ...(isOpen
        ? { items: row.items.map((item): ItemStatus => ({ index: item.key.item ?? 0, ...renderRow(item, style) })) }
        : {}),
      ...(row.output === undefined ? {} : { output: `sha256:${row.output}` }),
    };
  });
}

interface Style {
  readonly isTimed: boolean;
  messagesLeft: number;
}

function renderRow(row: Row, style: Style): Omit<ItemStatus, "index"> {
  const ended = isEnded(row.state);
  const keepsStart =
    style.isTimed ||
    row.state === "AwaitingApproval" ||
    (isAtWork(row.state) && row.node.spec.timeoutSeconds !== undefined);
  const message = row.message === undefined || row.message === "" || style.messagesLeft <= 0 ? undefined : row.message;
  if (message !== undefined) style.messagesLeft -= 1;
  return {
    state: row.state,
    ...(row.attempt === (style.isTimed ? 0 : impliedAttempt(row)) ? {} : { attempt: row.attempt }),
    ...(row.try === 1 ? {} : { try: row.try }),
    ...(row.restarts === 0 ? {} : { restarts: row.restarts }),
    ...(ended && row.steps !== undefined ? { steps: row.steps } : {}),
    ...(row.reason === undefined ? {} : { reason: row.reason }),
    ...(message === undefined ? {} : { message: message.slice(0, statusLimits.messageChars).toWellFormed() }),
    ...(row.journal === undefined ? {} : { journal: `${row.journal.length}:${row.journal.head}` }),
    ...(row.retryAtMs === undefined ? {} : { retryAt: isoTime(row.retryAtMs) }),
    ...(keepsStart && row.startedAtMs !== undefined ? { startedAt: isoTime(row.startedAtMs) } : {}),
    ...(style.isTimed && ended && row.completedAtMs !== undefined ? { completedAt: isoTime(row.completedAtMs) } : {}),
  };
}
