/** What becomes of a Pending node: it waits, is skipped, fails on its own expression, or may start. */
import { ExpressionError } from "../expressions/errors.ts";
import { evaluateCondition, evaluateItems, type ExpressionScope } from "../expressions/evaluate.ts";
import type { Json } from "../digest/json.ts";
import { sizes } from "../../api/defaults.ts";
import { takeOver } from "./advance.ts";
import { askNode } from "./approvals.ts";
import { type Draft, endWithout, isMainEnded, outputDigest, wakeNow } from "./draft.ts";
import { isEnded } from "./node-machine.ts";
import { decidedBefore, originEnd } from "./origin.ts";
import { apply, newItem, type NodeRow, queued } from "./rows.ts";

/** Missing outputs, by kind: not read yet (look again), or not to be had from the store: `absent` is the digest. */
type Loaded =
  | { readonly outputs: ReadonlyMap<string, { readonly output: Json }>; readonly absent?: undefined }
  | { readonly absent: string }
  | "NotRead";

/** For each Pending row, in canonical order so that a skip reaches all its dependents in the same pass. */
export function settlePending(draft: Draft, row: NodeRow): void {
  if (row.state !== "Pending" || row.attempt > 0 || row.reason === queued) return;
  if (!dependenciesEnded(draft, row)) return;
  if (failedDependency(draft, row) !== undefined) {
    return apply(row, "skip", draft.nowMs, "DependencyFailed");
  }
  const { conditionNames, inputNames, spec } = row.node;
  const decided = decidedBefore(draft.seen, row.node);
  if (spec.when !== undefined && decided === undefined) {
    const scope = load(draft, conditionNames);
    if (scope === "NotRead" || scope.absent !== undefined) return notLoaded(draft, row, scope);
    const holds = condition(draft, row, spec.when, scope.outputs);
    if (holds === undefined) return;
    if (!holds) return apply(row, "skip", draft.nowMs, "ConditionFalse");
  }
  const isMissing = inputNames.some((name) => draft.byName.get(name)?.state !== "Succeeded");
  // Also where a finally node names the output of a failed main node: its own siblings tidy up all the same.
  if (isMissing) return apply(row, "skip", draft.nowMs, "DependencySkipped");
  if (decided?.items !== undefined) return takeOverItems(draft, row, decided.items);
  if (spec.forEach !== undefined) return expand(draft, row, spec.forEach.items);
  const end = originEnd(draft.seen, row);
  if (end !== undefined) return takeOver(draft, row, end);
  if (spec.approval !== undefined) {
    const scope = load(draft, row.node.approvalNames);
    if (scope === "NotRead" || scope.absent !== undefined) return notLoaded(draft, row, scope);
    return askNode(draft, row, { input: inputOf(draft), nodes: scope.outputs });
  }
  row.reason = queued;
}

function dependenciesEnded(draft: Draft, row: NodeRow): boolean {
  if (row.node.isFinally && !isMainEnded(draft)) return false;
  return row.node.dependencies.every((name) => {
    const dependency = draft.byName.get(name);
    return dependency !== undefined && isEnded(dependency.state);
  });
}

/**
 * Failure spreads over order edges too: what was skipped because of it counts as failed. A node of finally runs whatever
 * became of the main nodes, so only its siblings count.
 */
function failedDependency(draft: Draft, row: NodeRow): string | undefined {
  return row.node.dependencies.find((name) => {
    const dependency = draft.byName.get(name);
    if (dependency === undefined || dependency.node.isFinally !== row.node.isFinally) return false;
    return (
      dependency.state === "Failed" || (dependency.state === "Skipped" && dependency.reason === "DependencyFailed")
    );
  });
}

/** Undefined = the row has been ended here. A condition may ask has(nodes.x.output); one that needs it regardless skips. */
function condition(draft: Draft, row: NodeRow, when: string, outputs: ExpressionScope["nodes"]): boolean | undefined {
  try {
    return evaluateCondition(when, { input: inputOf(draft), nodes: outputs });
  } catch (error) {
    const lacksOutput = row.node.conditionNames.some((name) => draft.byName.get(name)?.state !== "Succeeded");
    if (lacksOutput && error instanceof ExpressionError && error.code === "ExpressionFailed") {
      apply(row, "skip", draft.nowMs, "DependencySkipped");
    } else expressionFailed(draft, row, error);
    return undefined;
  }
}

function expand(draft: Draft, row: NodeRow, items: string): void {
  const scope = load(draft, row.node.itemNames);
  if (scope === "NotRead" || scope.absent !== undefined) return notLoaded(draft, row, scope);
  try {
    expandTo(draft, row, evaluateItems(items, { input: inputOf(draft), nodes: scope.outputs }).length);
  } catch (error) {
    expressionFailed(draft, row, error);
  }
}

function expandTo(draft: Draft, row: NodeRow, length: number): void {
  const others = draft.size - 1;
  if (others + length > sizes.nodes) {
    const message = `forEach has ${length} items, which with ${others} other nodes and items is more than ${sizes.nodes}`;
    return apply(row, "fail", draft.nowMs, "TooManyItems", message);
  }
  row.itemCount = length;
  draft.size = others + length;
  apply(row, "expand", draft.nowMs);
  row.startedAtMs = draft.nowMs;
}

/** Wherever in the list they are; the others wait for their turn, and so does one that failed: it ends its node. */
function takeOverItems(draft: Draft, row: NodeRow, length: number): void {
  expandTo(draft, row, length);
  const items = Array.from({ length: row.itemCount ?? 0 }, (_, index) => newItem(row, index));
  const last = items.findLastIndex((item) => originEnd(draft.seen, item) !== undefined);
  for (const item of items.slice(0, last + 1)) {
    row.items.push(item);
    const end = originEnd(draft.seen, item);
    if (end?.finished.outcome === "Succeeded") takeOver(draft, item, end);
  }
}

/** ExpressionTooExpensive, ExpressionFailed or InvalidExpression: the same data gives the same end, so never retried. */
function expressionFailed(draft: Draft, row: NodeRow, error: unknown): void {
  if (!(error instanceof ExpressionError)) throw error;
  apply(row, "fail", draft.nowMs, error.code, error.message);
}

function notLoaded(draft: Draft, row: NodeRow, why: "NotRead" | { readonly absent: string }): void {
  if (why === "NotRead") return wakeNow(draft);
  endWithout(draft, row, why.absent, `a node that ${row.node.name} names`);
}

/** Outputs of those of `names` that succeeded; the others are simply not there. */
function load(draft: Draft, names: readonly string[]): Loaded {
  const outputs = new Map<string, { output: Json }>();
  for (const name of names) {
    if (draft.byName.get(name)?.state !== "Succeeded") continue;
    const digest = outputDigest(draft, name);
    if (digest === undefined) return "NotRead";
    const output = digest === null ? null : draft.seen.outputs.get(digest);
    if (output === undefined) return draft.asked.has(digest ?? "") ? { absent: digest ?? "" } : "NotRead";
    outputs.set(name, { output });
  }
  return { outputs };
}

function inputOf(draft: Draft): Json {
  return (draft.seen.spec.input ?? {}) as Json;
}
