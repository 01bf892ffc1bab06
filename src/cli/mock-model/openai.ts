/** The OpenAI Chat Completions API as its clients see it. */
import { z } from "zod";
import type { Finish, Piece, Usage } from "./answer.ts";
import { joinPieces, type AnswerContext, type ApiFault, type Dialect, type Framer } from "./dialect.ts";
import { estimateTokens } from "./pieces.ts";
import { BadRequest, requestDigest, structuredTool, type RequestView, type ToolResult } from "./request.ts";

const contentSchema = z
  .union([z.string(), z.array(z.looseObject({ type: z.string(), text: z.string().optional() }))])
  .nullish();

const messageSchema = z.looseObject({
  role: z.enum(["system", "developer", "user", "assistant", "tool", "function"]),
  content: contentSchema,
  tool_calls: z
    .array(z.looseObject({ id: z.string(), function: z.looseObject({ name: z.string(), arguments: z.string() }) }))
    .optional(),
  tool_call_id: z.string().optional(),
});

const cap = z.int().min(1).nullish();

const requestSchema = z.looseObject({
  model: z.string(),
  messages: z.array(messageSchema).min(1),
  tools: z.array(z.looseObject({ function: z.looseObject({ name: z.string() }).optional() })).optional(),
  tool_choice: z
    .union([z.string(), z.looseObject({ function: z.looseObject({ name: z.string() }).optional() })])
    .optional(),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().optional() }).nullish(),
  max_tokens: cap,
  max_completion_tokens: cap,
});

type Message = z.output<typeof messageSchema>;

function textOf(message: Message): string {
  if (typeof message.content === "string") return message.content;
  return (message.content ?? []).map((part) => part.text ?? "").join("");
}

function trailingTools(messages: readonly Message[]): ToolResult[] {
  const lastAnswer = messages.findLastIndex((message) => message.role !== "tool");
  const names = new Map(messages[lastAnswer]?.tool_calls?.map((call) => [call.id, call.function.name]));
  return messages
    .slice(lastAnswer + 1)
    .map((message) => ({ name: names.get(message.tool_call_id ?? "") ?? "", text: textOf(message) }));
}

function read(body: unknown): RequestView {
  const parsed = requestSchema.safeParse(body);
  if (!parsed.success) throw new BadRequest(z.prettifyError(parsed.error));
  const { data } = parsed;
  const { messages } = data;
  const users = messages.filter((message) => message.role === "user").map(textOf);
  const tools = (data.tools ?? []).flatMap((tool) => (tool.function === undefined ? [] : [tool.function.name]));
  const chosen = typeof data.tool_choice === "object" ? data.tool_choice.function?.name : undefined;
  const caps = [data.max_tokens, data.max_completion_tokens].filter((value) => typeof value === "number");
  const bytes = messages.reduce((sum, message) => {
    const calls = (message.tool_calls ?? []).map((call) => call.function.arguments).join("");
    return sum + Buffer.byteLength(textOf(message)) + Buffer.byteLength(calls);
  }, 0);
  const last = messages.at(-1);
  return {
    model: data.model,
    stream: data.stream === true,
    includeUsage: data.stream_options?.include_usage === true,
    maxTokens: caps.length > 0 ? Math.min(...caps) : undefined,
    system: messages
      .filter((message) => message.role === "system" || message.role === "developer")
      .map(textOf)
      .join("\n"),
    prompt: users[0] ?? "",
    lastUser: users.at(-1) ?? "",
    lastTools: trailingTools(messages),
    turn: messages.filter((message) => message.role === "assistant").length,
    messages: messages.length,
    tools,
    structured: structuredTool(tools, chosen),
    inputTokens: estimateTokens(bytes),
    digest: requestDigest(data),
    lastMessage: { role: last?.role ?? "", text: last === undefined ? "" : textOf(last) },
  };
}

const finishReasons: Record<Finish, string> = { Stop: "stop", ToolCalls: "tool_calls", Length: "length" };

function wireUsage(usage: Usage): object {
  return {
    prompt_tokens: usage.inputTokens,
    completion_tokens: usage.outputTokens,
    total_tokens: usage.inputTokens + usage.outputTokens,
  };
}

function delta(piece: Piece): object {
  switch (piece.kind) {
    case "text":
      return { content: piece.text };
    case "toolStart": {
      const call = { name: piece.name, arguments: "" };
      return { tool_calls: [{ index: piece.index, id: piece.id, type: "function", function: call }] };
    }
    case "toolArguments":
      return { tool_calls: [{ index: piece.index, function: { arguments: piece.text } }] };
  }
}

function framer({ request, names }: AnswerContext): Framer {
  const head = {
    id: names.id,
    object: "chat.completion.chunk",
    created: names.created,
    model: request.model,
    system_fingerprint: names.fingerprint,
  };
  // The real API repeats `usage: null` on every chunk once usage is asked for.
  const noUsage = request.includeUsage ? { usage: null } : {};
  const chunk = (part: object, finish: string | null): string =>
    `data: ${JSON.stringify({ ...head, choices: [{ index: 0, delta: part, finish_reason: finish }], ...noUsage })}\n\n`;
  return {
    open: () => chunk({ role: "assistant", content: "", refusal: null }, null),
    piece: (piece) => chunk(delta(piece), null),
    close: (finish, usage) => {
      const last = chunk({}, finishReasons[finish]);
      const total = { ...head, choices: [], usage: usage && wireUsage(usage) };
      const counted = request.includeUsage && usage !== undefined ? `data: ${JSON.stringify(total)}\n\n` : "";
      return `${last}${counted}data: [DONE]\n\n`;
    },
  };
}

function whole(
  { request, names }: AnswerContext,
  pieces: readonly Piece[],
  finish: Finish | undefined,
  usage: Usage | undefined,
): object {
  const { text, calls } = joinPieces(pieces);
  const toolCalls = calls.map((call) => ({
    id: call.id,
    type: "function",
    function: { name: call.name, arguments: call.argumentsText },
  }));
  const message = {
    role: "assistant",
    content: text === "" && calls.length > 0 ? null : text,
    refusal: null,
    ...(calls.length > 0 ? { tool_calls: toolCalls } : {}),
  };
  return {
    id: names.id,
    object: "chat.completion",
    created: names.created,
    model: request.model,
    choices: [
      { index: 0, message, logprobs: null, finish_reason: finish === undefined ? null : finishReasons[finish] },
    ],
    ...(usage === undefined ? {} : { usage: wireUsage(usage) }),
    system_fingerprint: names.fingerprint,
  };
}

function errorType(fault: ApiFault): string {
  if (fault.code === "insufficient_quota") return "insufficient_quota";
  if (fault.status === 429) return "rate_limit_error";
  return fault.status >= 500 ? "server_error" : "invalid_request_error";
}

const defaultCodes: Record<number, string> = {
  401: "invalid_api_key",
  404: "model_not_found",
  429: "rate_limit_exceeded",
};

function errorBody(fault: ApiFault): object {
  const code = fault.code ?? defaultCodes[fault.status] ?? null;
  return { error: { message: fault.message, type: errorType(fault), param: null, code } };
}

export const openai: Dialect = {
  idPrefix: "chatcmpl-",
  toolIdPrefix: "call_",
  read,
  framer,
  whole,
  errorBody,
  errorFrame: (fault) => `data: ${JSON.stringify(errorBody(fault))}\n\n`,
};
