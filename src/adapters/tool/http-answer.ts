/** From an HTTP response to a tool's answer, or to the failure class that retry rules know. */
import type { IncomingMessage } from "node:http";
import type { Json, JsonObject } from "../../core/digest/json.ts";
import { CallFailure } from "../../ports/step.ts";
import { networkFailure } from "./http-connect.ts";
import { answerTooLarge } from "./plain-answer.ts";

/** Of an error response, the part that is read, and the part that is shown. */
const ERROR_BODY_BYTES = 65_536;
const ERROR_CHARACTERS_SHOWN = 500;

/** Headers of a HEAD answer that say something about the resource. */
const HEAD_HEADERS = ["content-type", "content-length", "etag", "last-modified"] as const;

export interface AnswerContext {
  readonly tool: string;
  /** "GET https://host/path", for messages. */
  readonly label: string;
  readonly bodyBytesMax: number;
  /** Applied to whatever of the response goes into a message. */
  readonly mask: (text: string) => string;
  readonly nowMs: () => number;
}

/**
 * The answer of a 2xx response: the JSON of a JSON type; null for an empty body; else the text as a string;
 * for HEAD `{ status, headers }` with content-type, content-length, etag and last-modified.
 * Throws CallFailure: RateLimit (429), NetworkFailure (5xx, broken connection), ToolFailure (all else).
 */
export async function readAnswer(response: IncomingMessage, method: string, context: AnswerContext): Promise<unknown> {
  const status = response.statusCode ?? 0;
  if (status >= 300) throw await statusFailure(response, status, context);
  if (method === "HEAD") return headAnswer(response, status);
  const encoding = response.headers["content-encoding"] ?? "identity";
  if (encoding !== "identity") throw badAnswer(context, `is compressed (${encoding}) though identity was asked for`);
  const declared = Number(response.headers["content-length"] ?? 0);
  if (declared > context.bodyBytesMax) throw answerTooLarge(context.tool, `${declared} bytes`, context.bodyBytesMax);
  const { bytes, complete } = await readBody(response, context.bodyBytesMax, context);
  if (!complete) throw answerTooLarge(context.tool, `more than ${context.bodyBytesMax} bytes`, context.bodyBytesMax);
  return parseBody(bytes, response.headers["content-type"] ?? "", context);
}

async function readBody(
  response: IncomingMessage,
  bytesMax: number,
  context: AnswerContext,
): Promise<{ bytes: Buffer; complete: boolean }> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      length += chunk.length;
      // Leaving the loop destroys the response, and with it the socket.
      if (length > bytesMax) return { bytes: Buffer.concat(chunks).subarray(0, bytesMax), complete: false };
    }
  } catch (error) {
    throw networkFailure(context.tool, `${context.label} broke off after ${length} bytes of the answer`, error, true);
  }
  return { bytes: Buffer.concat(chunks), complete: true };
}

function parseBody(bytes: Buffer, contentType: string, context: AnswerContext): Json {
  if (bytes.length === 0) return null;
  const text = decode(bytes, contentType);
  if (text === undefined)
    throw badAnswer(
      context,
      `is no text${contentType === "" ? "" : ` (${contentType})`}; only JSON and text can be recorded`,
    );
  if (!/^(application|text)\/([^;]*\+)?json\s*(;|$)/i.test(contentType.trim())) return text;
  try {
    return JSON.parse(text) as Json;
  } catch (error) {
    // The parser's message quotes the text, which may hold a secret.
    const reason = error instanceof Error ? context.mask(error.message) : "";
    throw badAnswer(context, `is labelled JSON and is none: ${reason}`);
  }
}

/** Text in the declared character set, UTF-8 without one; undefined for bytes that are none. */
function decode(bytes: Buffer, contentType: string): string | undefined {
  const charset = /;\s*charset\s*=\s*"?([^\s";]+)/i.exec(contentType)?.[1] ?? "utf-8";
  try {
    return new TextDecoder(charset, { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

function headAnswer(response: IncomingMessage, status: number): JsonObject {
  const headers = HEAD_HEADERS.flatMap((name) => {
    const value = response.headers[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return { status, headers: Object.fromEntries(headers) };
}

async function statusFailure(response: IncomingMessage, status: number, context: AnswerContext): Promise<CallFailure> {
  const body = await readBody(response, ERROR_BODY_BYTES, context).then(
    ({ bytes }) => bytes.toString("utf8"),
    () => "",
  );
  // Masked before it is cut: half a secret is still half a secret.
  const shown = context.mask(body).trim().slice(0, ERROR_CHARACTERS_SHOWN).toWellFormed();
  const message = `Tool ${context.tool}: ${context.label} answered ${status}${shown === "" ? "" : `: ${shown}`}`;
  const retryAfterMs = retryAfter(response.headers["retry-after"], context.nowMs());
  return new CallFailure(status === 429 ? "RateLimit" : status >= 500 ? "NetworkFailure" : "ToolFailure", message, {
    retryAfterMs,
  });
}

/** Milliseconds from a Retry-After header, which holds seconds or an HTTP date. */
export function retryAfter(value: string | undefined, nowMs: number): number | undefined {
  if (value === undefined) return undefined;
  if (/^\s*\d{1,9}\s*$/.test(value)) return Number(value) * 1000;
  const at = Date.parse(value);
  return Number.isNaN(at) ? undefined : Math.max(0, at - nowMs);
}

function badAnswer(context: AnswerContext, problem: string): CallFailure {
  return new CallFailure("ToolFailure", `Tool ${context.tool}: the answer of ${context.label} ${problem}`);
}
