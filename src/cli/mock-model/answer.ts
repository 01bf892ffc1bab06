/** From a reply and a request to the pieces that go over the wire. */
import type { z } from "zod";
import { fillerPieces, piecesOf } from "./pieces.ts";
import type { RequestView } from "./request.ts";
import type { MockReply } from "./script.ts";

/** One token of an answer. The start of a tool call (its id and name) counts as one. */
export type Piece =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "toolStart"; readonly index: number; readonly id: string; readonly name: string }
  | { readonly kind: "toolArguments"; readonly index: number; readonly text: string };

export type Finish = "Stop" | "ToolCalls" | "Length";

export interface Usage {
  readonly inputTokens: number;
  readonly outputTokens: number;
}

export interface Answer {
  /** Produced as they are sent: a runaway answer is never held whole. */
  readonly pieces: Iterable<Piece>;
  readonly finish: Finish;
}

type Json = z.core.util.JSONType;

interface PlannedCall {
  readonly name: string;
  readonly argumentsText: string;
}

/** The closed set of placeholders, in every string of a reply. */
function fillIn(text: string, request: RequestView): string {
  if (!text.includes("$")) return text;
  return text.replace(/\$(LAST_USER|LAST_TOOL_RESULT|PROMPT)\b/g, (_, name: string) => {
    if (name === "LAST_USER") return request.lastUser;
    return name === "PROMPT" ? request.prompt : (request.lastTools.at(-1)?.text ?? "");
  });
}

function fillInJson(value: Json, request: RequestView): Json {
  if (typeof value === "string") return fillIn(value, request);
  if (Array.isArray(value)) return value.map((item) => fillInJson(item, request));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fillInJson(item, request)]));
}

function plannedCalls(reply: MockReply, request: RequestView): PlannedCall[] {
  const calls =
    reply.structured !== undefined && request.structured.by === "tool"
      ? [{ name: request.structured.tool, arguments: reply.structured }]
      : (reply.toolCalls ?? []);
  return calls.map((call) => {
    const text = JSON.stringify(fillInJson(call.arguments, request));
    // Broken at its start: clients repair an object that only lacks its end.
    return { name: call.name, argumentsText: reply.malformedToolArguments === true ? `{broken ${text}` : text };
  });
}

function textPieces(reply: MockReply, request: RequestView): Iterable<string> {
  if (reply.tokens !== undefined) return fillerPieces(reply.tokens);
  if (reply.text !== undefined) return piecesOf(fillIn(reply.text, request));
  if (reply.json !== undefined) return piecesOf(JSON.stringify(fillInJson(reply.json, request)));
  if (reply.structured !== undefined && request.structured.by === "text") {
    return piecesOf(JSON.stringify(fillInJson(reply.structured, request)));
  }
  return [];
}

function* allPieces(
  texts: Iterable<string>,
  calls: readonly PlannedCall[],
  newToolId: () => string,
): Generator<Piece, void, undefined> {
  for (const text of texts) yield { kind: "text", text };
  for (const [index, call] of calls.entries()) {
    yield { kind: "toolStart", index, id: newToolId(), name: call.name };
    for (const text of piecesOf(call.argumentsText)) yield { kind: "toolArguments", index, text };
  }
}

/** The answer to `request` as `reply` asks; `newToolId` names each tool call. */
export function planAnswer(reply: MockReply, request: RequestView, newToolId: () => string): Answer {
  const calls = plannedCalls(reply, request);
  return {
    pieces: allPieces(textPieces(reply, request), calls, newToolId),
    finish: calls.length > 0 ? "ToolCalls" : "Stop",
  };
}

/** What the server says it used; undefined = it says nothing. Low is a tenth of the truth, High ten times it. */
export function reportedUsage(mode: MockReply["usage"], exact: Usage): Usage | undefined {
  if (typeof mode === "object") return mode;
  switch (mode) {
    case undefined:
    case "Exact":
      return exact;
    case "Missing":
      return undefined;
    case "Zero":
      return { inputTokens: 0, outputTokens: 0 };
    case "Low":
      return { inputTokens: Math.ceil(exact.inputTokens / 10), outputTokens: Math.ceil(exact.outputTokens / 10) };
    case "High":
      return { inputTokens: exact.inputTokens * 10, outputTokens: exact.outputTokens * 10 };
  }
}
