/** Whether the graph of a replay goes the recorded way: which nodes there are, which ran, and over how many items. Pure. */
import type { NodeStatus } from "../../api/status.ts";
import type { ExecutionSpec } from "../../api/types.ts";
import { specGraph } from "../../core/dag/spec-graph.ts";
import type { Json } from "../../core/digest/json.ts";
import { ExpressionError } from "../../core/expressions/errors.ts";
import { evaluateCondition, evaluateItems } from "../../core/expressions/evaluate.ts";
import { divergenceAt } from "../../core/replay/divergence.ts";
import type { Divergence } from "../../core/replay/types.ts";

/**
 * The first node, in canonical order, that would not have run as it did. `outputs`: of nodes that succeeded, those that expressions
 * name. `unasked`: nodes whose condition and list were not asked, since their work is another run's.
 */
export function graphDivergence(
  spec: ExecutionSpec,
  rows: readonly NodeStatus[],
  outputs: ReadonlyMap<string, { readonly output: Json }>,
  unasked: ReadonlySet<string> = new Set(),
): Divergence | undefined {
  const recorded = new Map(rows.map((row) => [row.name, row]));
  const graph = specGraph(spec);
  for (const row of rows)
    if (!graph.byName.has(row.name)) return divergenceAt({ node: row.name }, "node", row.name, undefined);
  const scope = { input: (spec.input ?? {}) as Json, nodes: outputs };
  for (const { name, spec: node } of graph.order) {
    const row = recorded.get(name);
    if (row === undefined) return divergenceAt({ node: name }, "node", undefined, name);
    if (unasked.has(name)) continue;
    try {
      if (node.when !== undefined && wasDecided(row)) {
        const holds = evaluateCondition(node.when, scope);
        const held = row.reason !== "ConditionFalse";
        if (holds !== held) return divergenceAt({ node: name }, "when", held, holds);
      }
      if (node.forEach !== undefined && row.itemCount !== undefined) {
        const { length } = evaluateItems(node.forEach.items, scope);
        if (length !== row.itemCount)
          return divergenceAt({ node: name }, "forEach.items.length", row.itemCount, length);
      }
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      const isRecorded = row.state === "Failed" || row.reason === "DependencySkipped";
      if (!isRecorded) return divergenceAt({ node: name }, "state", row.state, error.code);
    }
  }
  return undefined;
}

/** Whether its condition was ever asked. */
function wasDecided({ state, reason, attempt, itemCount }: NodeStatus): boolean {
  return reason === "ConditionFalse" || (state !== "Skipped" && ((attempt ?? 0) > 0 || itemCount !== undefined));
}
