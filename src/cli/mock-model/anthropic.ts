/** The Anthropic Messages API as its clients see it. */
import { z } from "zod";
import type { Finish, Piece, Usage } from "./answer.ts";
import { joinPieces, type AnswerContext, type ApiFault, type Dialect, type Framer } from "./dialect.ts";
import { estimateTokens } from "./pieces.ts";
import { BadRequest, requestDigest, structuredTool, type RequestView, type ToolResult } from "./request.ts";

const textSchema = z.union([z.string(), z.array(z.looseObject({ type: z.string(), text: z.string().optional() }))]);

const blockSchema = z.looseObject({
  type: z.string(),
  text: z.string().optional(),
  id: z.string().optional(),
  name: z.string().optional(),
  input: z.json().optional(),
  tool_use_id: z.string().optional(),
  content: z.union([textSchema, z.json()]).optional(),
});

const messageSchema = z.looseObject({
  role: z.enum(["user", "assistant"]),
  content: z.union([z.string(), z.array(blockSchema)]),
});

const requestSchema = z.looseObject({
  model: z.string(),
  max_tokens: z.int().min(1),
  messages: z.array(messageSchema).min(1),
  system: textSchema.optional(),
  tools: z.array(z.looseObject({ name: z.string() })).optional(),
  tool_choice: z.looseObject({ type: z.string(), name: z.string().optional() }).optional(),
  stream: z.boolean().optional(),
});

type Message = z.output<typeof messageSchema>;
type Block = z.output<typeof blockSchema>;

function plainText(content: z.output<typeof textSchema> | undefined): string {
  if (content === undefined || typeof content === "string") return content ?? "";
  return content.map((part) => part.text ?? "").join("");
}

function blocksOf(message: Message | undefined): readonly Block[] {
  if (message === undefined) return [];
  return typeof message.content === "string" ? [{ type: "text", text: message.content }] : message.content;
}

function textOf(message: Message): string {
  return blocksOf(message)
    .map((block) => (block.type === "text" ? (block.text ?? "") : ""))
    .join("");
}

function resultText(block: Block): string {
  const parsed = textSchema.safeParse(block.content ?? "");
  return parsed.success ? plainText(parsed.data) : JSON.stringify(block.content);
}

function trailingTools(messages: readonly Message[]): ToolResult[] {
  const calls = blocksOf(messages.findLast((message) => message.role === "assistant"));
  const names = new Map(calls.map((block) => [block.id ?? "", block.name ?? ""]));
  const last = messages.at(-1);
  return (last?.role === "user" ? blocksOf(last) : [])
    .filter((block) => block.type === "tool_result")
    .map((block) => ({ name: names.get(block.tool_use_id ?? "") ?? "", text: resultText(block) }));
}

function bytesOf(block: Block): number {
  const input = block.input === undefined ? "" : JSON.stringify(block.input);
  return Buffer.byteLength(block.text ?? "") + Buffer.byteLength(input) + Buffer.byteLength(resultText(block));
}

function read(body: unknown): RequestView {
  const parsed = requestSchema.safeParse(body);
  if (!parsed.success) throw new BadRequest(z.prettifyError(parsed.error));
  const { data } = parsed;
  const { messages } = data;
  // A user message that only carries tool results is not something the user said.
  const users = messages
    .filter((message) => message.role === "user" && blocksOf(message).some((block) => block.type === "text"))
    .map(textOf);
  const tools = (data.tools ?? []).map((tool) => tool.name);
  const system = plainText(data.system);
  const bytes = messages.flatMap(blocksOf).reduce((sum, block) => sum + bytesOf(block), Buffer.byteLength(system));
  const lastTools = trailingTools(messages);
  const last = messages.at(-1);
  return {
    model: data.model,
    stream: data.stream === true,
    includeUsage: true,
    maxTokens: data.max_tokens,
    system,
    prompt: users[0] ?? "",
    lastUser: users.at(-1) ?? "",
    lastTools,
    turn: messages.filter((message) => message.role === "assistant").length,
    messages: messages.length,
    tools,
    structured: structuredTool(tools, data.tool_choice?.name),
    inputTokens: estimateTokens(bytes),
    digest: requestDigest(data),
    lastMessage: {
      role: lastTools.length > 0 ? "tool" : (last?.role ?? ""),
      text: lastTools.at(-1)?.text ?? (last === undefined ? "" : textOf(last)),
    },
  };
}

const stopReasons: Record<Finish, string> = { Stop: "end_turn", ToolCalls: "tool_use", Length: "max_tokens" };

function event(type: string, fields: object): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`;
}

function envelope({ request, names }: AnswerContext): object {
  return { id: names.id, type: "message", role: "assistant", model: request.model };
}

function startsBlock(piece: Piece, open: string | undefined): boolean {
  return piece.kind === "toolStart" || (piece.kind === "text" && open !== "text");
}

function framer(context: AnswerContext): Framer {
  let index = -1;
  let open: string | undefined;
  const stopBlock = (): string => (open === undefined ? "" : event("content_block_stop", { index }));
  const startBlock = (piece: Piece): string => {
    const stopped = stopBlock();
    index += 1;
    open = piece.kind;
    const block =
      piece.kind === "toolStart"
        ? { type: "tool_use", id: piece.id, name: piece.name, input: {} }
        : { type: "text", text: "" };
    return stopped + event("content_block_start", { index, content_block: block });
  };
  return {
    open: () => {
      const usage = context.inputTokens === undefined ? {} : { input_tokens: context.inputTokens, output_tokens: 0 };
      const message = { ...envelope(context), content: [], stop_reason: null, stop_sequence: null, usage };
      return event("message_start", { message });
    },
    piece: (piece) => {
      const start = startsBlock(piece, open) ? startBlock(piece) : "";
      if (piece.kind === "toolStart") return start;
      const part =
        piece.kind === "text"
          ? { type: "text_delta", text: piece.text }
          : { type: "input_json_delta", partial_json: piece.text };
      return start + event("content_block_delta", { index, delta: part });
    },
    close: (finish, usage) => {
      const counted = usage === undefined ? {} : { usage: { output_tokens: usage.outputTokens } };
      const end = { delta: { stop_reason: stopReasons[finish], stop_sequence: null }, ...counted };
      return stopBlock() + event("message_delta", end) + event("message_stop", {});
    },
  };
}

/** The API sends objects, not text: arguments that are no JSON (malformed, or cut by the cap) become a string. */
function inputOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function whole(
  context: AnswerContext,
  pieces: readonly Piece[],
  finish: Finish | undefined,
  usage: Usage | undefined,
): object {
  const { text, calls } = joinPieces(pieces);
  const content = [
    ...(text === "" ? [] : [{ type: "text", text }]),
    ...calls.map((call) => ({ type: "tool_use", id: call.id, name: call.name, input: inputOf(call.argumentsText) })),
  ];
  const counted = usage && { input_tokens: usage.inputTokens, output_tokens: usage.outputTokens };
  return {
    ...envelope(context),
    content,
    stop_reason: finish === undefined ? null : stopReasons[finish],
    stop_sequence: null,
    ...(counted === undefined ? {} : { usage: counted }),
  };
}

const errorTypes: Record<number, string> = {
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  413: "request_too_large",
  429: "rate_limit_error",
  529: "overloaded_error",
};

function errorBody(fault: ApiFault): object {
  const fallback = fault.status >= 500 ? "api_error" : "invalid_request_error";
  return {
    type: "error",
    error: { type: fault.code ?? errorTypes[fault.status] ?? fallback, message: fault.message },
  };
}

export const anthropic: Dialect = {
  idPrefix: "msg_",
  toolIdPrefix: "toolu_",
  read,
  framer,
  whole,
  errorBody,
  errorFrame: (fault) => `event: error\ndata: ${JSON.stringify(errorBody(fault))}\n\n`,
};
