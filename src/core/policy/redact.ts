import { type Json, type JsonObject, setOwn } from "../digest/json.ts";

export const redacted = "[REDACTED]";

/** `$.a.b[*].c` as `["a", "b", any, "c"]`. */
type Step = string | number | typeof anyEntry;
const anyEntry = Symbol("[*]");

/**
 * Replaces the values at `paths` (`$.user.password`, `$.items[*].token`, `$.rows[0]`) by
 * "[REDACTED]" and runs `secretMask` over every text and every key, so that a secret's value is hidden
 * wherever it stands. Pure: gives a new value, or the same one if nothing was hidden. Paths that
 * lead nowhere are fine; `[*]` also stands for every member of an object.
 *
 * Tools often answer with JSON as text: a body that is a text and holds a JSON object or list is
 * redacted inside and written anew (compact) if a path met something; else it stays byte for byte.
 * Only the body itself is read so, not texts inside of it.
 * Applied before an answer is digested, recorded or handed to an agent (J7).
 */
export function redactor(paths: readonly string[], secretMask?: (text: string) => string): (value: Json) => Json {
  const parsed = paths.map(parsePath);
  return (value) => {
    const hidden = typeof value === "string" ? redactText(parsed, value) : redactPaths(parsed, value);
    return secretMask === undefined ? hidden : mask(hidden, secretMask);
  };
}

function parsePath(path: string): Step[] {
  const steps = path.match(/\.[A-Za-z_][A-Za-z0-9_-]*|\[\*\]|\[\d+\]/g) ?? [];
  if (steps.length === 0 || `$${steps.join("")}` !== path) throw new TypeError(`${path} is no redaction path`);
  return steps.map((step) => {
    if (step === "[*]") return anyEntry;
    return step.startsWith("[") ? Number(step.slice(1, -1)) : step.slice(1);
  });
}

function redactText(paths: readonly Step[][], text: string): Json {
  if (paths.length === 0 || !/^\s*[[{]/.test(text)) return text;
  let body: Json;
  try {
    body = JSON.parse(text) as Json;
  } catch {
    return text; // text that only looks like JSON
  }
  const hidden = redactPaths(paths, body);
  return hidden === body ? text : JSON.stringify(hidden);
}

function redactPaths(paths: readonly Step[][], value: Json): Json {
  return paths.reduce<Json>((current, path) => redactPath(current, path, 0), value);
}

function redactPath(value: Json, path: readonly Step[], depth: number): Json {
  const step = path[depth];
  if (step === undefined) return redacted;
  if (isList(value)) {
    if (typeof step === "string") return value;
    return changed(
      value,
      value.map((entry, index) => (step === anyEntry || step === index ? redactPath(entry, path, depth + 1) : entry)),
    );
  }
  if (value === null || typeof value !== "object" || typeof step === "number") return value;
  const members = Object.entries(value);
  const next = members.map(([name, member]) =>
    step === anyEntry || step === name ? redactPath(member, path, depth + 1) : member,
  );
  return next.every((member, index) => member === members[index]?.[1])
    ? value
    : objectOf(
        members.map(([name]) => name),
        next,
      );
}

function mask(value: Json, secretMask: (text: string) => string): Json {
  if (typeof value === "string") return secretMask(value);
  if (value === null || typeof value !== "object") return value;
  if (isList(value))
    return changed(
      value,
      value.map((entry) => mask(entry, secretMask)),
    );
  const members = Object.entries(value);
  const names = members.map(([name]) => secretMask(name));
  const next = members.map(([, member]) => mask(member, secretMask));
  const same = members.every(([name, member], index) => name === names[index] && member === next[index]);
  return same ? value : objectOf(names, next);
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}

function changed(before: readonly Json[], after: readonly Json[]): readonly Json[] {
  return after.every((entry, index) => entry === before[index]) ? before : after;
}

function objectOf(names: readonly string[], values: readonly Json[]): JsonObject {
  const object: Record<string, Json> = {};
  for (const [index, name] of names.entries()) setOwn(object, name, values[index] ?? null);
  return object;
}
