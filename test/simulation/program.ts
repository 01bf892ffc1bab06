/** A scripted node: model calls with metered text, tool calls between them, over the worker's real recorded steps. */
import { sha256Hex } from "../../src/core/digest/digest.ts";
import type { Json, JsonObject } from "../../src/core/digest/json.ts";
import type { ExecutionSpec } from "../../src/api/execution.ts";
import {
  CallFailure,
  type LiveCall,
  type ModelAnswer,
  type ModelRequest,
  type StepScope,
} from "../../src/ports/step.ts";
import type { Tool, ToolCallContext } from "../../src/ports/tool.ts";

/** The outside, as one attempt reaches it. */
export interface Outside {
  /** A model call leaves; throws when an invariant forbids it. */
  modelCall(call: LiveCall, inputTokens: number): Promise<void>;
  toolCall(name: string, context: ToolCallContext): Promise<void>;
  /** `text` was handed on. */
  delivered(text: string): void;
  /** Unlike every other answer, so that an answer made twice is seen. */
  nonce(): number;
  chance(probability: number): boolean;
  below(end: number): number;
}

export const spec = {
  task: "simulation",
  models: [{ name: "m", provider: "openai", model: "sim", baseURL: "http://127.0.0.1:1" }],
  tools: [
    { name: "read", effect: "ReadOnly", module: { path: "./read.mjs" } },
    { name: "write", effect: "NonIdempotent", module: { path: "./write.mjs" } },
  ],
  agents: [{ name: "agent", model: "m", tools: ["read", "write"] }],
  nodes: [
    { name: "a", agent: { ref: "agent", prompt: "a" } },
    { name: "b", agent: { ref: "agent", prompt: "b" } },
  ],
} as const as unknown as ExecutionSpec;

/** Estimate of the text that `modelStep` counts as the input of a request. */
type InputTokens = (request: ModelRequest) => number;

/** `rounds` model calls, each with up to two parallel tool calls. Returns what the node learned. */
export async function program(
  scope: StepScope,
  node: string,
  rounds: number,
  outside: Outside,
  inputTokens: InputTokens,
): Promise<Json> {
  const messages: Json[] = [{ role: "user", content: node }];
  for (let o = 0; o < rounds; o += 1) {
    const request: ModelRequest = {
      model: "m",
      policyName: "openai/sim",
      endpoint: "http://127.0.0.1:1/chat/completions",
      secret: undefined,
      header: { model: "sim" },
      messages: [...messages],
      declaredOutputCap: undefined,
    };
    const message = await scope.model(o, request, (call) =>
      answer(call, outside, inputTokens(request), o === rounds - 1),
    );
    messages.push(message);
    const calls = message["tool_calls"] as unknown as readonly { name: string; args: JsonObject }[];
    const results = await Promise.all(
      calls.map((call, i) => scope.tool(o, i, { tool: call.name, arguments: call.args })),
    );
    messages.push(...results.map((result) => ({ role: "tool", content: result })));
  }
  return messages;
}

async function answer(call: LiveCall, outside: Outside, inputTokens: number, last: boolean): Promise<ModelAnswer> {
  await outside.modelCall(call, inputTokens);
  const nonce = outside.nonce();
  let content = `${nonce}:`;
  for (let piece = outside.below(4); piece >= 0; piece -= 1) {
    const text = "x".repeat(4 * (1 + outside.below(40)));
    await call.meter(text);
    call.signal.throwIfAborted();
    outside.delivered(text);
    content += text.length;
  }
  if (outside.chance(0.04)) throw new CallFailure("NetworkFailure", "the connection broke", { sent: true });
  const tools = last
    ? []
    : Array.from({ length: outside.below(3) }, (_, i) => ({
        name: outside.chance(0.7) ? "read" : "write",
        args: { n: outside.chance(0.5) ? 0 : nonce + i },
      }));
  return {
    message: { role: "assistant", content, tool_calls: tools },
    usage: outside.chance(0.5) ? undefined : { input: inputTokens, output: outside.below(60) },
  };
}

export function tools(outside: Outside): ReadonlyMap<string, Tool> {
  return new Map(
    (spec.tools ?? []).map((tool) => [
      tool.name,
      {
        spec: tool,
        digest: sha256Hex(tool.name),
        invoke: async (args, context) => {
          await outside.toolCall(tool.name, context);
          context.signal.throwIfAborted();
          return outside.chance(0.2) ? context.values.now() : { answer: outside.nonce(), to: args };
        },
      } satisfies Tool,
    ]),
  );
}
