/** Agent runs with the defaults that most tests share. */
import { runAgent, type AgentRunOptions, type AgentTool } from "../../../src/adapters/langchain/agent.ts";
import { createModel } from "../../../src/adapters/langchain/models.ts";
import type { ModelSpec } from "../../../src/api/execution.ts";
import type { Json } from "../../../src/core/digest/json.ts";
import type { StepScope } from "../../../src/ports/step.ts";

export function modelSpec(baseURL: string, more: Partial<ModelSpec> = {}): ModelSpec {
  return { name: "main", provider: "openai", model: "scripted", baseURL, ...more };
}

export async function run(baseURL: string, scope: StepScope, more: Partial<AgentRunOptions> = {}): Promise<Json> {
  const spec = more.modelSpec ?? modelSpec(baseURL);
  return runAgent({
    agent: { name: "writer", model: "main" },
    prompt: "Write.",
    systemPrompt: "Be short.",
    model: await createModel(spec, { apiKey: "test-key" }),
    modelSpec: spec,
    scope,
    tools: [],
    maxIterations: 25,
    signal: new AbortController().signal,
    ...more,
  });
}

export function toolOf(name: string, properties: Record<string, Json> = { q: { type: "string" } }): AgentTool {
  return {
    name,
    description: `Finds ${name}.`,
    inputSchema: { type: "object", properties, required: Object.keys(properties), additionalProperties: false },
  };
}
