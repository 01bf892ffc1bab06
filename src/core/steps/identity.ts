/** What makes a step the same step: its content and its place, never the order in which calls happened to arrive (J5). */
import { canonicalJson, sha256Hex } from "../digest/digest.ts";
import type { Json, JsonObject } from "../digest/json.ts";
import type { StepKind } from "./format.ts";

export interface RequestDigest {
  /** Hex. */
  readonly digest: string;
  /** Digest of each message alone, in order. */
  readonly messages: readonly string[];
}

/** d0 = sha256(JCS({v, header})), di = sha256(d(i-1) + sha256(JCS(message i))): one more message costs one more hash. */
export function modelRequestDigest(header: JsonObject, messages: readonly Json[]): RequestDigest {
  const each = messages.map((message) => sha256Hex(canonicalJson(message)));
  let digest = sha256Hex(canonicalJson({ v: 1, header }));
  for (const message of each) digest = sha256Hex(digest + message);
  return { digest, messages: each };
}

export function toolRequestDigest(tool: string, args: Json): string {
  return sha256Hex(canonicalJson({ v: 1, tool, arguments: args }));
}

export function valueDigest(name: string): string {
  return sha256Hex(canonicalJson({ v: 1, value: name }));
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
