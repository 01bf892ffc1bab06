/** What a rule may look at: one view of a request, whichever API it came through. */
import { createHash } from "node:crypto";
import canonicalize from "canonicalize";

/** The result of a tool call at the end of the conversation. */
export interface ToolResult {
  readonly name: string;
  readonly text: string;
}

/** How the request asks for structured output: by calling a tool of this name, or as text. */
export type StructuredBy = { readonly by: "tool"; readonly tool: string } | { readonly by: "text" };

export interface RequestView {
  readonly model: string;
  readonly stream: boolean;
  /** OpenAI's `stream_options.include_usage`; the Anthropic API always reports usage. */
  readonly includeUsage: boolean;
  /** Output cap in tokens; absent = none asked for. */
  readonly maxTokens: number | undefined;
  readonly system: string;
  /** First user message. */
  readonly prompt: string;
  readonly lastUser: string;
  /** Tool results after the last answer of the model, in order; empty when the last message is none. */
  readonly lastTools: readonly ToolResult[];
  /** Answers of the model already in the request. */
  readonly turn: number;
  readonly messages: number;
  readonly tools: readonly string[];
  readonly structured: StructuredBy;
  /** ceil(UTF-8 bytes of all message texts / 4). */
  readonly inputTokens: number;
  readonly digest: string;
  readonly lastMessage: { readonly role: string; readonly text: string };
}

/** A request that the API refuses before any rule is tried. */
export class BadRequest extends Error {
  override readonly name = "BadRequest";
}

const NOT_CONTENT = new Set(["stream", "stream_options", "max_tokens", "max_completion_tokens"]);
const ID_FIELDS = new Set(["id", "tool_call_id", "tool_use_id"]);

/**
 * Digest of what is asked, for telling whether two calls ask the same: canonical JSON of the body without the output
 * cap and the way of delivery, tool-call ids by order of appearance (they differ between two equal runs).
 */
export function requestDigest(body: object): string {
  const ids = new Map<string, string>();
  const content = Object.fromEntries(Object.entries(body).filter(([field]) => !NOT_CONTENT.has(field)));
  const plain: unknown = JSON.parse(
    JSON.stringify(content, (field, value: unknown) => {
      if (typeof value !== "string" || !ID_FIELDS.has(field)) return value;
      const known = ids.get(value) ?? `id-${ids.size}`;
      ids.set(value, known);
      return known;
    }),
  );
  return `sha256:${createHash("sha256")
    .update(canonicalize(plain) ?? "")
    .digest("hex")}`;
}

/** The tool that structured output is asked through, if any: LangChain's `extract-…`, or the one tool_choice names. */
export function structuredTool(tools: readonly string[], chosen: string | undefined): StructuredBy {
  const tool = tools.find((name) => name.startsWith("extract-")) ?? tools.find((name) => name === chosen);
  return tool === undefined ? { by: "text" } : { by: "tool", tool };
}
