/** What makes a step the same step: its content and its place, never the order in which calls happened to arrive (J5). */
import { canonicalJson, sha256Hex } from "../digest/digest.ts";
import type { Json, JsonObject } from "../digest/json.ts";
import { estimateTokens } from "../digest/tokens.ts";
import type { NodeKey } from "../protocol/types.ts";
import type { IntentEntry, StepKind } from "./format.ts";

export interface RequestDigest {
  /** Hex. */
  readonly digest: string;
  /** Digest of each message alone, in order. */
  readonly messages: readonly string[];
  /** Estimate of the whole request in tokens: what a call reserves for its input. */
  readonly inputTokens: number;
}

/** d0 = sha256(JCS({v, header})), di = sha256(d(i-1) + sha256(JCS(message i))): one more message costs one more hash. */
export function modelRequestDigest(header: JsonObject, messages: readonly Json[]): RequestDigest {
  const each = messages.map(measured);
  const first = canonicalJson({ v: 1, header });
  const digest = each.reduce((chained, message) => sha256Hex(chained + message.digest), sha256Hex(first));
  const inputTokens = each.reduce((sum, message) => sum + message.tokens, estimateTokens(first));
  return { digest, messages: each.map((message) => message.digest), inputTokens };
}

interface MeasuredMessage {
  readonly digest: string;
  readonly tokens: number;
}

/** By object: adapters hand out the same object for the same message, so a long conversation is hashed once, not once per step. */
const known = new WeakMap<object, MeasuredMessage>();

function measured(message: Json): MeasuredMessage {
  const cached = message !== null && typeof message === "object" ? known.get(message) : undefined;
  if (cached !== undefined) return cached;
  const text = canonicalJson(message);
  const fresh = { digest: sha256Hex(text), tokens: estimateTokens(text) };
  if (message !== null && typeof message === "object") known.set(message, fresh);
  return fresh;
}

export function toolRequestDigest(tool: string, args: Json): string {
  return sha256Hex(canonicalJson({ v: 1, tool, arguments: args }));
}

export function valueDigest(name: string): string {
  return sha256Hex(canonicalJson({ v: 1, value: name }));
}

/** Of the question as it was asked. */
export function approvalDigest(question: string): string {
  return sha256Hex(canonicalJson({ v: 1, approval: question }));
}

/**
 * Name of a question, as it can stand in an annotation's key: who asks, and eight hex digits that tell one question of it from the
 * next.
 */
export function requestName({ node, item }: NodeKey, of: readonly string[]): string {
  const asker = `${node.slice(0, 45)}${item === undefined ? "" : `.${item}`}`;
  return `${asker}-${sha256Hex(canonicalJson(of)).slice(0, 8)}`;
}

/** Of a call in doubt: its intent's place in the chain is unlike any other's. */
export function doubtRequest(key: NodeKey, intent: Pick<IntentEntry, "index" | "prevHash">): string {
  return requestName(key, [intent.prevHash, String(intent.index)]);
}

/** Key within one node item and try. The enclosing scope is the path without its last pair. */
export function stepKey(path: readonly number[], kind: StepKind, requestDigest: string, occurrence: number): string {
  return `${path.slice(0, -2).join(".")}|${kind}|${requestDigest}|${occurrence}`;
}

/** Position of a step: for divergence reports and patched forks. */
export function pathText(path: readonly number[]): string {
  return path.join(".");
}

/** Same over tries and attempts, so that a server that honours it never acts twice. */
export function idempotencyKey(uid: string, item: string, key: string): string {
  return `oao-${sha256Hex(`${uid}/${item}/${key}`).slice(0, 40)}`;
}
