/** The graph of one spec: what each node waits for, and whose output it names. */
import type { ExecutionSpec, NodeSpec } from "../../api/types.ts";
import { type Json, toPlainJson } from "../digest/json.ts";
import { conditionReferences, templateReferences } from "../expressions/references.ts";
import { dependents, findCycle, topologicalOrder } from "./dag.ts";

export interface GraphNode {
  readonly name: string;
  readonly spec: NodeSpec;
  readonly isFinally: boolean;
  /** dependsOn and every node an expression names: naming an output means waiting for it. Without doubles, in that order. */
  readonly dependencies: readonly string[];
  /** Named by `when`, which guards the node and may ask whether an output is there. */
  readonly conditionNames: readonly string[];
  /** Named by forEach.items. */
  readonly itemNames: readonly string[];
  /** Named by an approval's message. */
  readonly approvalNames: readonly string[];
  /** Named by items, prompt, system prompt, arguments or an approval's message: without one of these outputs the node cannot run. */
  readonly inputNames: readonly string[];
}

export interface SpecGraph {
  /** In the spec's order: nodes, then finally. */
  readonly nodes: readonly GraphNode[];
  readonly byName: ReadonlyMap<string, GraphNode>;
  /** The canonical order: Kahn with the smallest name first; finally last, as it depends on every node. */
  readonly order: readonly GraphNode[];
  /** Main nodes that no main node depends on, by name: their outputs are the result. */
  readonly leaves: readonly string[];
}

/** What of a spec its graph is made of. */
export type GraphShape = Pick<ExecutionSpec, "nodes" | "finally" | "agents">;

const known = new WeakMap<GraphShape, SpecGraph>();

/** Parsing every expression is the costly part and a spec never changes, so it is done once per spec object. */
export function specGraph(spec: GraphShape): SpecGraph {
  const found = known.get(spec);
  if (found !== undefined) return found;
  const graph = buildGraph(spec);
  known.set(spec, graph);
  return graph;
}

/**
 * Node names in canonical order: the order of step numbers, of reports and of starts. Every node stands after all that it waits
 * for, so a step stands after all that it was made of. Nodes on a cycle (such a spec never runs) come last, by name.
 */
export function canonicalNodeOrder(spec: GraphShape): readonly string[] {
  const { nodes, order } = specGraph(spec);
  const ordered = new Set(order);
  const left = nodes.filter((node) => !ordered.has(node));
  return [...order, ...left.sort((a, b) => byCodeUnit(a.name, b.name))].map(({ name }) => name);
}

/** Why this spec is no graph that can be run, each as one sentence: doubles, unknown names, cycles. Empty = fine. */
export function graphProblems(spec: ExecutionSpec): readonly string[] {
  const graph = specGraph(spec);
  const problems: string[] = [];
  const seen = new Set<string>();
  for (const node of graph.nodes) {
    if (seen.has(node.name)) problems.push(`node "${node.name}" is there twice`);
    seen.add(node.name);
  }
  for (const node of graph.nodes) {
    for (const name of node.dependencies) {
      const target = graph.byName.get(name);
      if (target === undefined) problems.push(`node "${node.name}" depends on "${name}", which is no node`);
      else if (target.isFinally && !node.isFinally) {
        problems.push(`node "${node.name}" depends on "${name}", which runs only after all nodes (finally)`);
      }
    }
  }
  const cycle = findCycle(dependenciesOf(graph.nodes));
  if (cycle !== undefined)
    problems.push(`nodes depend on each other in a circle: ${[...cycle, cycle[0]].join(" -> ")}`);
  return problems;
}

function buildGraph(spec: GraphShape): SpecGraph {
  const prompts = new Map((spec.agents ?? []).map((agent) => [agent.name, agent.systemPrompt ?? ""]));
  const toNode = (node: NodeSpec, isFinally: boolean) => graphNode(node, isFinally, prompts);
  const main = spec.nodes.map((node) => toNode(node, false));
  const last = (spec.finally ?? []).map((node) => toNode(node, true));
  const nodes = [...main, ...last];
  const byName = new Map(nodes.map((node) => [node.name, node]));
  const order = [...topologicalOrder(dependenciesOf(main)), ...topologicalOrder(dependenciesOf(last))];
  const after = dependents(dependenciesOf(main));
  return {
    nodes,
    byName,
    order: order.flatMap((name) => byName.get(name) ?? []),
    leaves: [...after]
      .filter(([, next]) => next.length === 0)
      .map(([name]) => name)
      .sort(byCodeUnit),
  };
}

function graphNode(spec: NodeSpec, isFinally: boolean, prompts: ReadonlyMap<string, string>): GraphNode {
  const conditionNames = spec.when === undefined ? [] : [...conditionReferences(spec.when).nodes];
  const itemNames = spec.forEach === undefined ? [] : [...conditionReferences(spec.forEach.items).nodes];
  const texts: Json[] = [];
  if (spec.agent !== undefined) texts.push(spec.agent.prompt, prompts.get(spec.agent.ref) ?? "");
  if (spec.tool?.arguments !== undefined) texts.push(toPlainJson(spec.tool.arguments));
  const approvalNames = spec.approval === undefined ? [] : [...templateReferences(spec.approval.message).nodes];
  const inputNames = [...new Set([...itemNames, ...approvalNames, ...templateReferences(texts).nodes])];
  return {
    name: spec.name,
    spec,
    isFinally,
    dependencies: [...new Set([...(spec.dependsOn ?? []), ...conditionNames, ...inputNames])],
    conditionNames,
    itemNames,
    approvalNames,
    inputNames,
  };
}

function dependenciesOf(nodes: readonly GraphNode[]): ReadonlyMap<string, readonly string[]> {
  return new Map(nodes.map((node) => [node.name, node.dependencies]));
}

export function byCodeUnit(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
