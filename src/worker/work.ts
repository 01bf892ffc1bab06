/** What a node is to do, with every expression evaluated: pure but for reading the outputs it names. */
import { executionDefaults } from "../api/defaults.ts";
import type { AgentSpec, ModelSpec, NodeSpec } from "../api/execution.ts";
import type { ToolSpec } from "../api/tool.ts";
import type { Json, JsonObject } from "../core/digest/json.ts";
import { OaoError } from "../core/errors/errors.ts";
import type { ExpressionScope } from "../core/expressions/evaluate.ts";
import type { Snapshot } from "../core/steps/format.ts";
import { textsOf, unpackBody } from "../core/steps/bodies.ts";
import { bodiesOfRuns } from "../host/record-store.ts";
import { checkBodies } from "../host/record-changed.ts";
import type { WorkerOrder } from "../ports/cluster.ts";
import type { AttemptIo } from "./attempt.ts";

export type NodeWork =
  | { readonly kind: "tool"; readonly tool: string; readonly arguments: Json }
  | {
      readonly kind: "agent";
      readonly agent: AgentSpec;
      readonly model: ModelSpec;
      readonly prompt: string;
      readonly systemPrompt: string | undefined;
      readonly tools: readonly {
        readonly name: string;
        readonly description: string;
        readonly inputSchema: JsonObject;
      }[];
      readonly outputSchema: JsonObject | undefined;
      readonly maxIterations: number;
    };

const anyObject: JsonObject = { type: "object", properties: {}, additionalProperties: true };

/** Throws ExpressionError, OAO_INVALID_SPEC, OAO_DURABILITY_LOST. */
export async function evaluateNode(
  context: { tool(name: string): { readonly spec: ToolSpec } },
  snapshot: Snapshot,
  node: NodeSpec,
  order: WorkerOrder,
  io: Pick<AttemptIo, "store">,
): Promise<NodeWork> {
  const scope = await expressionScope(snapshot, node, order, io);
  if (node.tool !== undefined)
    return {
      kind: "tool",
      tool: node.tool.ref,
      arguments: await interpolated((node.tool.arguments ?? {}) as Json, scope),
    };
  const agent = snapshot.spec.agents?.find((candidate) => candidate.name === node.agent?.ref);
  const model = snapshot.spec.models?.find((candidate) => candidate.name === agent?.model);
  if (node.agent === undefined || agent === undefined || model === undefined)
    throw new OaoError("OAO_INVALID_SPEC", `node ${node.name} names an agent or model that the snapshot does not have`);
  return {
    kind: "agent",
    agent,
    model,
    prompt: asText(await interpolated(node.agent.prompt, scope)),
    systemPrompt: agent.systemPrompt === undefined ? undefined : asText(await interpolated(agent.systemPrompt, scope)),
    tools: (agent.tools ?? []).map((name) => {
      const { spec } = context.tool(name);
      return {
        name,
        description: spec.description ?? "",
        inputSchema: (spec.http?.inputSchema ?? spec.module?.inputSchema ?? anyObject) as JsonObject,
      };
    }),
    outputSchema: agent.outputSchema as JsonObject | undefined,
    maxIterations: agent.maxIterations ?? executionDefaults.maxIterations,
  };
}

/** The CEL library is loaded only for a node that holds an expression: a plain tool call starts without it. */
export async function interpolated(value: Json, scope: ExpressionScope): Promise<Json> {
  if (!JSON.stringify(value).includes("$(")) return value;
  const { interpolate } = await import("../core/expressions/evaluate.ts");
  return interpolate(value, scope);
}

/** What expressions of the node read. Throws OAO_DURABILITY_LOST. */
export async function expressionScope(
  snapshot: Snapshot,
  node: NodeSpec,
  order: WorkerOrder,
  io: Pick<AttemptIo, "store">,
): Promise<ExpressionScope> {
  const nodes = new Map<string, { output: Json }>();
  for (const [name, digest] of Object.entries(order.outputs))
    nodes.set(name, { output: await readOutput([order.uid, ...(snapshot.replay?.lineage ?? [])], digest, io) });
  const scope: ExpressionScope = { input: (snapshot.spec.input ?? {}) as JsonObject, nodes };
  if (node.forEach === undefined || order.item === undefined) return scope;
  const { evaluateItems } = await import("../core/expressions/evaluate.ts");
  const item = evaluateItems(node.forEach.items, scope)[order.item];
  if (item === undefined) throw new OaoError("OAO_INVALID_SPEC", `node ${node.name} has no item ${order.item}`);
  return { ...scope, item };
}

async function readOutput(uids: readonly string[], digest: string, io: Pick<AttemptIo, "store">): Promise<Json> {
  const root = checkBodies(await bodiesOfRuns(io.store, uids, [digest])).get(digest);
  if (root === undefined) throw new OaoError("OAO_DURABILITY_LOST", `the journal store does not have output ${digest}`);
  const texts = checkBodies(await bodiesOfRuns(io.store, uids, textsOf(root)));
  return unpackBody(root, (text) => {
    const bytes = texts.get(text);
    if (bytes === undefined) throw new OaoError("OAO_DURABILITY_LOST", `the journal store does not have text ${text}`);
    return bytes;
  });
}

function asText(value: Json): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
