import { createHash, hash } from "node:crypto";
import canonicalize from "canonicalize";
import { toPlainJson } from "./json.ts";

/**
 * The one text form of a JSON value (RFC 8785): members sorted by UTF-16 code unit, ECMAScript
 * numbers, no spaces. Two values have the same text exactly if they are the same JSON.
 * Text is taken as it is: an accent written as one character and as two are different values.
 * Throws NotJsonError for whatever `toPlainJson` refuses. The library alone would write a
 * function or undefined inside a list as null, and follow `toJSON`.
 */
export function canonicalJson(value: unknown): string {
  const text = canonicalize(toPlainJson(value));
  if (text === undefined) throw new TypeError("The canonical form of a JSON value is missing");
  return text;
}

/** Lower-case SHA-256, 64 characters. A string is hashed as its UTF-8 bytes. */
export function sha256Hex(data: Uint8Array | string): string {
  return hash("sha256", data, "hex");
}

/** The same of text that comes in parts: as if all of it had come at once. */
export class Sha256 {
  readonly #hash = createHash("sha256");

  add(part: Uint8Array | string): void {
    this.#hash.update(part);
  }

  /** Of what has come so far; nothing may come after it. */
  hex(): string {
    return this.#hash.digest("hex");
  }
}

/** A digest as it is written in journals and status. */
export type Digest = `sha256:${string}`;

/** `sha256:<64 hex>` of the canonical form. Throws NotJsonError as `canonicalJson` does. */
export function digestJson(value: unknown): Digest {
  return `sha256:${sha256Hex(canonicalJson(value))}`;
}
