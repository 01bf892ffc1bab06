/** Redaction before digesting: an answer is stored, matched and shown to the agent in the redacted form only. */
import { type Json, type JsonObject, setOwn } from "../digest/json.ts";

export const redacted = "[REDACTED]";

type Segment = { readonly name: string } | { readonly index: number } | "every";

/**
 * A pure function that replaces what `paths` name (as in $.user.password, $.items[*].token) and passes every string
 * through `mask`. A string that is itself JSON text is looked into as well: tools often answer so.
 */
export function redactor(paths: readonly string[], mask: (text: string) => string = (text) => text): (value: Json) => Json {
  const parsed = paths.map(parsePath);
  return (value) => {
    const cut = parsed.reduce((current, path) => replace(current, path, 0), unwrap(value, parsed));
    return maskAll(cut, mask);
  };
}

/** $.a.b[*].c[0] */
function parsePath(path: string): Segment[] {
  return [...path.matchAll(/\.([A-Za-z_][A-Za-z0-9_-]*)|\[(\*|\d+)\]/g)].map(([, name, index]) => {
    if (name !== undefined) return { name };
    return index === "*" ? "every" : { index: Number(index) };
  });
}

function unwrap(value: Json, paths: readonly Segment[][]): Json {
  if (paths.length === 0 || typeof value !== "string" || !/^\s*[{[]/.test(value)) return value;
  try {
    const inner = JSON.parse(value) as Json;
    return JSON.stringify(paths.reduce((current, path) => replace(current, path, 0), inner));
  } catch {
    return value;
  }
}

function replace(value: Json, path: readonly Segment[], depth: number): Json {
  const segment = path[depth];
  if (segment === undefined) return redacted;
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) {
    if (segment !== "every" && !("index" in segment)) return value;
    return (value as readonly Json[]).map((member, index) => (segment === "every" || segment.index === index ? replace(member, path, depth + 1) : member));
  }
  if (segment !== "every" && !("name" in segment)) return value;
  return mapMembers(value as JsonObject, (member, name) => (segment === "every" || segment.name === name ? replace(member, path, depth + 1) : member));
}

function maskAll(value: Json, mask: (text: string) => string): Json {
  if (typeof value === "string") return mask(value);
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return (value as readonly Json[]).map((member) => maskAll(member, mask));
  return mapMembers(value as JsonObject, (member) => maskAll(member, mask));
}

function mapMembers(object: JsonObject, of: (member: Json, name: string) => Json): JsonObject {
  const copy: Record<string, Json> = {};
  for (const [name, member] of Object.entries(object)) setOwn(copy, name, of(member, name));
  return copy;
}
