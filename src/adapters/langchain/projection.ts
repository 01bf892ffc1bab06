/**
 * What of a model request decides its digest: everything the model sees, nothing that differs between two equal runs
 * (message and call ids, response metadata, usage, stream flags, OAO's own output cap).
 */
import type { AIMessage, BaseMessage, ToolMessage } from "@langchain/core/messages";
import { isLangChainTool, convertToOpenAITool } from "@langchain/core/utils/function_calling";
import type { ModelSpec } from "../../api/execution.ts";
import type { Json, JsonObject } from "../../core/digest/json.ts";
import { type BoundModel, type CallOptions, pickCallOptions, rootModel } from "./call-options.ts";
import { plainJson } from "./plain.ts";

/** One versioned form. `callOptions` are the bound ones and those of the call, merged. */
export interface Projection {
  header(bound: BoundModel, callOptions: CallOptions): JsonObject;
  messages(bound: BoundModel, messages: readonly BaseMessage[]): Json[];
  /** The output cap that is sent when OAO adds none. */
  declaredOutputCap(bound: BoundModel, callOptions: CallOptions): number | undefined;
}

interface WireCall {
  readonly id?: string;
  readonly function?: { readonly arguments?: Json };
}

/** Rewrites tool-call ids to `m<message>.<call>` and parses arguments, in messages of the Chat Completions form. */
export function positionIds(messages: readonly JsonObject[]): Json[] {
  const positions = new Map<Json | undefined, string>();
  return messages.map((message, at) => {
    const calls = message["tool_calls"] as readonly WireCall[] | undefined;
    const answers = message["tool_call_id"];
    const rewritten: Record<string, Json> = { ...message };
    if (calls !== undefined) {
      rewritten["tool_calls"] = calls.map((call, index) => {
        positions.set(call.id, `m${at}.${index}`);
        return { ...call, id: `m${at}.${index}`, function: { ...call.function, arguments: parsed(call) } };
      });
    }
    if (answers !== undefined) rewritten["tool_call_id"] = positions.get(answers) ?? "unknown";
    return rewritten;
  });
}

function parsed(call: WireCall): Json {
  const text = call.function?.arguments ?? null;
  if (typeof text !== "string") return text;
  try {
    return JSON.parse(text) as Json;
  } catch {
    return text;
  }
}

/** OAO's own form for every provider without one: messages as role, name, content and calls. */
export function genericProjection(spec: ModelSpec): Projection {
  return {
    header(_, callOptions) {
      const { tools, ...settings } = pickCallOptions(callOptions);
      return {
        v: 1,
        form: "generic",
        request: plainJson({
          model: spec.model,
          parameters: spec.parameters ?? {},
          settings,
          tools: Array.isArray(tools)
            ? tools.map((tool) => (isLangChainTool(tool) ? convertToOpenAITool(tool) : tool))
            : [],
        }),
      };
    },
    messages(_, messages) {
      const positions = new Map<string | undefined, string>();
      return messages.map((message, at) => genericMessage(message, at, positions));
    },
    declaredOutputCap(bound) {
      const declared = spec.parameters?.["maxTokens"] ?? (rootModel(bound) as { maxTokens?: unknown }).maxTokens;
      return typeof declared === "number" && declared > 0 ? declared : undefined;
    },
  };
}

function genericMessage(message: BaseMessage, at: number, positions: Map<string | undefined, string>): Json {
  const calls = (message as AIMessage).tool_calls ?? [];
  for (const [index, call] of calls.entries()) positions.set(call.id, `m${at}.${index}`);
  const answers = (message as ToolMessage).tool_call_id as string | undefined;
  return plainJson({
    role: message.getType(),
    name: message.name,
    content: genericContent(message.content),
    calls:
      calls.length === 0 ? undefined : calls.map(({ name, args }, index) => ({ id: `m${at}.${index}`, name, args })),
    call: answers === undefined ? undefined : (positions.get(answers) ?? "unknown"),
  });
}

/** Blocks that only repeat the message's tool calls. */
const callBlocks: ReadonlySet<unknown> = new Set(["tool_use", "tool_call", "input_json_delta", "functionCall"]);

/** Streamed blocks carry their index, thinking its signature: neither is the same twice. */
const passingFields: ReadonlySet<string> = new Set(["index", "id", "signature"]);

function genericContent(content: BaseMessage["content"]): unknown {
  if (typeof content === "string") return content;
  const blocks = content
    .filter((block) => !callBlocks.has(block.type))
    .map((block) => Object.fromEntries(Object.entries(block).filter(([field]) => !passingFields.has(field))));
  const onlyText = blocks.every((block) => block["type"] === "text" && Object.keys(block).length === 2);
  return onlyText ? blocks.map((block) => block["text"]).join("") : blocks;
}
