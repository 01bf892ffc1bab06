/** A stored run as the page shows it: the same for runs of this machine and of a cluster. */
import { canonicalNodeOrder, specGraph } from "../../core/dag/spec-graph.ts";
import { itemName } from "../../core/protocol/names.ts";
import type { ExecutionSpec, NodeSpec } from "../../api/types.ts";
import type { NodeStatus } from "../../api/status.ts";
import { shownSpec } from "../../core/replay/spec.ts";
import type { StoredExecution } from "../../ports/cluster.ts";
import type { GraphNodeInfo, NodeKind, NodeRow, RunDetail, RunSummary } from "../../ui/wire.ts";
import type { RunView } from "../render/run-view.ts";
import { taskOf } from "../render/task.ts";
import { itemFigures, reasonOf, reasonOfRow } from "../render/tree.ts";

export async function runSummary(
  run: StoredExecution,
  unhosted: boolean,
  spec: ExecutionSpec = shownSpec(run.object, run.status),
): Promise<RunSummary> {
  const { status } = run;
  const { replay } = run.object.spec;
  const nodeCount = spec.nodes.length + (spec.finally?.length ?? 0);
  return {
    ...run.key,
    uid: run.uid,
    phase: status?.phase ?? "Pending",
    unhosted,
    task: await taskOf({ ...run, object: { ...run.object, spec } }),
    progress: status?.progress ?? `0/${nodeCount}`,
    nodeCounts: status?.nodeCounts ?? { Pending: nodeCount },
    nodeCount,
    steps: status?.steps ?? (status?.nodes ?? []).reduce((sum, row) => sum + stepsOf(row), 0),
    tokens: { used: status?.usage?.totalTokens ?? 0, lost: status?.usage?.lostTokens ?? 0 },
    createdAt: new Date(run.createdAtMs).toISOString(),
    startedAt: status?.startedAt,
    completedAt: status?.completedAt,
    reason: reasonOf({ run }),
    replayOf: replay?.executionRef.name,
  };
}

export async function runDetail(view: RunView, unhosted: boolean, spec: ExecutionSpec): Promise<RunDetail> {
  const { run, tokens } = view;
  const { status } = run;
  const summary = await runSummary(run, unhosted, spec);
  const rows = new Map((status?.nodes ?? []).map((row) => [row.name, row]));
  const nodes = canonicalNodeOrder(spec).map((name) => nodeRow(view, name, rows.get(name)));
  return {
    ...summary,
    steps: status?.steps ?? nodes.reduce((sum, node) => sum + node.steps, 0),
    tokens: tokens === undefined ? summary.tokens : { used: tokens.recorded, lost: tokens.lost, limit: tokens.limit },
    nodes,
    usage: {
      modelCalls: status?.usage?.modelCalls ?? 0,
      toolCalls: status?.usage?.toolCalls ?? 0,
      input: status?.usage?.inputTokens ?? 0,
      output: status?.usage?.outputTokens ?? 0,
    },
    conditions: (status?.conditions ?? []).map(({ type, status: is, reason, message }) => ({
      type,
      status: is,
      reason,
      message,
    })),
    policies: (status?.policies ?? []).map(({ namespace, name }) => `${namespace}/${name}`),
    replay: status?.replay,
    result: status?.result?.preview,
    approvals: (status?.approvals ?? []).map(({ request, node, message, decision, by }) => ({
      request,
      node,
      message,
      decision,
      by,
    })),
    facts: factsOf(run),
  };
}

/** Nodes in canonical order, with every edge: what is named in an expression is waited for as well. */
export function graphNodes(spec: ExecutionSpec): GraphNodeInfo[] {
  const graph = specGraph(spec);
  return canonicalNodeOrder(spec).flatMap((name) => {
    const node = graph.byName.get(name);
    if (node === undefined) return [];
    return {
      name,
      ...kindOf(node.spec),
      dependsOn: node.dependencies,
      isFinally: node.isFinally,
      when: node.spec.when,
      forEach: node.spec.forEach?.items,
    };
  });
}

function kindOf(spec: NodeSpec): { kind: NodeKind; runs: string } {
  if (spec.agent !== undefined) return { kind: "agent", runs: spec.agent.ref };
  if (spec.tool !== undefined) return { kind: "tool", runs: spec.tool.ref };
  if (spec.approval !== undefined) return { kind: "approval", runs: "approval" };
  return { kind: "graph", runs: "graph" };
}

function nodeRow(view: RunView, name: string, row: NodeStatus | undefined): NodeRow {
  const live = [...(row?.items ?? []).map(({ index }) => itemName({ node: name, item: index })), name].flatMap(
    (item) => view.live.get(item) ?? [],
  );
  const doing = live.find(({ tool }) => tool !== undefined)?.tool;
  const writing = live.some(({ writing: tokens }) => tokens !== undefined);
  return {
    name,
    state: row?.state ?? "Pending",
    attempt: row?.attempt ?? 0,
    try: row?.try ?? 1,
    steps: (row === undefined ? 0 : stepsOf(row)) || live.reduce((sum, { steps }) => sum + steps, 0),
    items: row === undefined ? undefined : itemFigures(row),
    reason: row === undefined || row.state === "Succeeded" ? undefined : reasonOfRow(row),
    startedAt: row?.startedAt,
    completedAt: row?.completedAt,
    doing: doing ?? (writing ? "writing" : undefined),
  };
}

function stepsOf(row: NodeStatus): number {
  return row.steps ?? (row.items ?? []).reduce((sum, item) => sum + (item.steps ?? 0), 0);
}

function factsOf({ uid, status }: StoredExecution): RunDetail["facts"] {
  const known: readonly (readonly [string, unknown])[] = [
    ["uid", uid],
    ["snapshot", status?.snapshot],
    ["executionHash", status?.executionHash],
    ["policyHash", status?.policyHash],
    ["traceHash", status?.traceHash],
    ["journalHead", status?.journalHead],
    ["resultDigest", status?.result?.digest],
  ];
  return known.flatMap(([name, value]) => (typeof value === "string" && value !== "" ? [{ name, value }] : []));
}
