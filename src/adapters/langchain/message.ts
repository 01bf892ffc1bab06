/**
 * The recorded form of an answer and its way back. An agent sees the thawed form on the live path too (J7).
 * Plain JSON on purpose: LangChain's `lc` envelope is executed by its `load()` (CVE-2025-68665).
 */
import { AIMessage, type AIMessageChunk, type UsageMetadata } from "@langchain/core/messages";
import { concat } from "@langchain/core/utils/stream";
import type { Json, JsonObject } from "../../core/digest/json.ts";
import type { ReportedUsage } from "../../ports/step.ts";
import { parseObject, plainJson } from "./plain.ts";

/** All text of a chunk that a provider bills as output: content, reasoning, names and arguments of calls. */
export function billedText(chunk: AIMessageChunk): string {
  const parts: unknown[] = [];
  if (typeof chunk.content === "string") parts.push(chunk.content);
  else
    for (const block of chunk.content as Record<string, unknown>[])
      parts.push(block["text"], block["thinking"], block["reasoning"]);
  const { reasoning_content, refusal, function_call } = chunk.additional_kwargs as Record<string, unknown>;
  parts.push(reasoning_content, refusal, (function_call as { arguments?: unknown } | undefined)?.arguments);
  for (const call of chunk.tool_call_chunks ?? []) parts.push(call.name, call.args);
  return parts.filter((part) => typeof part === "string").join("");
}

/** One message from its chunks. In pairs: one after the other is quadratic in the length of tool arguments. */
export function joinChunks(chunks: readonly AIMessageChunk[]): AIMessageChunk | undefined {
  let level = [...chunks];
  while (level.length > 1) {
    const next: AIMessageChunk[] = [];
    for (let at = 0; at < level.length; at += 2) {
      const [first, second] = level.slice(at, at + 2);
      if (first !== undefined) next.push(second === undefined ? first : concat(first, second));
    }
    level = next;
  }
  return level[0];
}

const finishFields = ["finish_reason", "stop_reason", "finishReason", "stopReason", "done_reason"] as const;

/** Why the model stopped, as this chunk says it; undefined = it does not. Providers disagree on name and place. */
export function finishReason(chunk: AIMessageChunk): string | undefined {
  for (const place of [chunk.response_metadata, chunk.additional_kwargs] as Record<string, unknown>[]) {
    for (const field of finishFields) {
      const reason = place[field];
      if (typeof reason === "string" && reason !== "") return reason;
    }
  }
  return undefined;
}

/** Reasons that mean: cut at the output cap. */
export const lengthReasons: ReadonlySet<string> = new Set(["length", "max_tokens", "MAX_TOKENS"]);

/** Whole tokens as reported; undefined where nothing usable was said. Zeros are passed on: the estimate stands. */
export function reportedUsage(usage: Partial<UsageMetadata> | undefined): ReportedUsage | undefined {
  const [input, output, total] = [usage?.input_tokens, usage?.output_tokens, usage?.total_tokens].map((count) =>
    typeof count === "number" && Number.isFinite(count) && count >= 0 ? Math.ceil(count) : undefined,
  );
  return input === undefined && output === undefined && total === undefined ? undefined : { input, output, total };
}

/**
 * The message as plain JSON. Tool calls are parsed strictly from their text: LangChain completes arguments that were
 * cut, and a tool would run with half of what the model meant.
 */
export function freeze(message: AIMessageChunk, finish: string): JsonObject {
  const { tool_calls: _, ...additional } = message.additional_kwargs;
  // Counts that LangChain sums over chunks; the usage itself is in usage_metadata.
  const { usage: __, ...metadata } = message.response_metadata;
  return plainJson({
    content: message.content,
    name: message.name,
    id: message.id,
    ...frozenCalls(message),
    additional_kwargs: additional,
    response_metadata: { ...metadata, finish_reason: finish },
    usage_metadata: message.usage_metadata,
  }) as JsonObject;
}

function frozenCalls(message: AIMessageChunk): { tool_calls: unknown[]; invalid_tool_calls: unknown[] } {
  const { tool_calls = [], invalid_tool_calls = [], tool_call_chunks = [] } = message;
  // A model that answers in one piece sends no chunks.
  if (tool_call_chunks.length === 0) return { tool_calls, invalid_tool_calls };
  const calls = tool_call_chunks.map(({ name, args, id }) => {
    const text = (args ?? "").trim();
    return { name: name ?? "", id, text, parsed: parseObject(text === "" ? "{}" : text) };
  });
  return {
    tool_calls: calls
      .filter((call) => call.parsed !== undefined)
      .map(({ name, id, parsed }) => ({ type: "tool_call", name, id, args: parsed })),
    invalid_tool_calls: calls
      .filter((call) => call.parsed === undefined)
      .map(({ name, id, text }) => ({ type: "invalid_tool_call", name, id, args: text, error: "not a JSON object" })),
  };
}

/** What thawing must know of the run, so that live and replay thaw alike. */
export interface ThawContext {
  /** Number of the model call. */
  readonly ordinal: number;
  /** Names of the tools through which the model gives its structured answer. */
  readonly answerTools: ReadonlySet<string>;
  /** Ids of tool calls seen in this run; thawing adds to it. */
  readonly callIds: Set<string>;
}

export interface Thawed {
  readonly message: AIMessage;
  /** Ids of calls whose arguments are no JSON object, with their text. */
  readonly malformed: ReadonlyMap<string, string>;
}

/** Id of the o-th answer inside a run. Providers repeat theirs, and LangGraph then replaces the earlier message. */
export function messageId(ordinal: number): string {
  return `answer-${ordinal}`;
}

interface FrozenCall {
  readonly name: string;
  readonly id?: string;
  readonly args: Json;
}

/**
 * A fresh message from its recorded form; a function of it and of the calls before, never of the clock or chance.
 * - Ids of calls that are missing or were used before are replaced: results are matched by id.
 * - Calls with malformed arguments become calls without arguments, so that the agent can answer them with the error;
 *   LangChain would end the run with an empty text.
 * - Beside a structured answer nothing else is called: LangChain would leave those calls without a result.
 */
export function thaw(frozen: JsonObject, context: ThawContext): Thawed {
  const { tool_calls, invalid_tool_calls, content, ...fields } = frozen;
  const malformed = new Map<string, string>();
  const dropped = new Set<string | undefined>();
  const all = [
    ...((tool_calls ?? []) as unknown as FrozenCall[]),
    ...((invalid_tool_calls ?? []) as unknown as FrozenCall[]),
  ];
  const answer = all.find((call) => context.answerTools.has(call.name));
  for (const call of all) if (answer !== undefined && call !== answer) dropped.add(call.id);
  const calls = (answer === undefined ? all : [answer]).map((call, index) => {
    const id = call.id === undefined || context.callIds.has(call.id) ? `call_${context.ordinal}_${index}` : call.id;
    context.callIds.add(id);
    const text = typeof call.args === "string" ? call.args : undefined;
    if (text !== undefined) malformed.set(id, text);
    return {
      type: "tool_call" as const,
      name: call.name,
      id,
      args: text === undefined ? (call.args as Record<string, Json>) : {},
    };
  });
  const message = new AIMessage({
    ...(structuredClone(fields) as object),
    content: withoutCalls(content ?? "", dropped) as unknown as string,
    id: messageId(context.ordinal),
    tool_calls: structuredClone(calls),
  });
  return { message, malformed };
}

function withoutCalls(content: Json, dropped: ReadonlySet<string | undefined>): Json {
  if (!Array.isArray(content) || dropped.size === 0) return structuredClone(content);
  const blocks = content as readonly JsonObject[];
  return structuredClone(
    blocks.filter((block) => block["type"] !== "tool_use" || !dropped.has(block["id"] as string | undefined)),
  );
}
