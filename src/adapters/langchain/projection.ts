/**
 * What of a model request decides its digest: everything the model sees, nothing that differs between two equal runs
 * (message and call ids, response metadata, usage, stream flags, OAO's own output cap).
 */
import type { AIMessage, BaseMessage } from "@langchain/core/messages";
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

interface Projected {
  readonly at: number;
  readonly call: string | undefined;
  readonly name: string | undefined;
  readonly content: unknown;
  readonly calls: unknown;
  readonly ids: readonly (string | undefined)[];
  readonly messages: readonly Json[];
}

/** One message in its form, with the ids of its calls. `at` is its position; `call` is that of the call it answers. */
export type ProjectMessage = (
  message: BaseMessage,
  at: number,
  call: string | undefined,
) => Pick<Projected, "ids" | "messages">;

/**
 * Projects messages one by one and keeps each result with its message, as long as the message stays what it was: a
 * history only grows, and n steps must not cost n². Equal messages come back as the same objects.
 */
export function projectEach(project: ProjectMessage): (messages: readonly BaseMessage[]) => Json[] {
  const known = new WeakMap<BaseMessage, Projected>();
  return (messages) => {
    const positions = new Map<string | undefined, string>();
    const all: Json[] = [];
    for (const message of messages) {
      const at = all.length;
      const { name, content } = message;
      const { tool_calls: calls, tool_call_id: answers } = message as { tool_calls?: unknown; tool_call_id?: string };
      const call = answers === undefined ? undefined : (positions.get(answers) ?? "unknown");
      const seen: Omit<Projected, "ids" | "messages"> = { at, call, name, content, calls };
      let projected = known.get(message);
      if (projected === undefined || !isSame(projected, seen)) {
        projected = { ...seen, ...project(message, at, call) };
        known.set(message, projected);
      }
      for (const [index, id] of projected.ids.entries()) positions.set(id, `m${at}.${index}`);
      all.push(...projected.messages);
    }
    return all;
  };
}

function isSame(one: Projected, other: Omit<Projected, "ids" | "messages">): boolean {
  return (["at", "call", "name", "content", "calls"] as const).every((field) => one[field] === other[field]);
}

interface WireCall {
  readonly id?: string;
  readonly function?: { readonly arguments?: Json };
}

/** Tool-call ids to `m<message>.<call>` and arguments to their values, in a message of the Chat Completions form. */
export function positionIds(message: JsonObject, at: number, call: string | undefined): ReturnType<ProjectMessage> {
  const calls = (message["tool_calls"] ?? []) as readonly WireCall[];
  const rewritten: Record<string, Json> = { ...message };
  if (calls.length > 0) {
    rewritten["tool_calls"] = calls.map((one, index) => ({
      ...one,
      id: `m${at}.${index}`,
      function: { ...one.function, arguments: parsed(one) },
    }));
  }
  if (call !== undefined) rewritten["tool_call_id"] = call;
  return { ids: calls.map(({ id }) => id), messages: [rewritten] };
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
  const project = projectEach(genericMessage);
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
    messages: (_, messages) => project(messages),
    declaredOutputCap(bound) {
      const declared = spec.parameters?.["maxTokens"] ?? (rootModel(bound) as { maxTokens?: unknown }).maxTokens;
      return typeof declared === "number" && declared > 0 ? declared : undefined;
    },
  };
}

const genericMessage: ProjectMessage = (message, at, call) => {
  const calls = (message as AIMessage).tool_calls ?? [];
  const form = {
    role: message.getType(),
    name: message.name,
    content: genericContent(message.content),
    calls:
      calls.length === 0 ? undefined : calls.map(({ name, args }, index) => ({ id: `m${at}.${index}`, name, args })),
    call,
  };
  return { ids: calls.map(({ id }) => id), messages: [plainJson(form)] };
};

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
