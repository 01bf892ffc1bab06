import type { Json } from "../../core/digest/json.ts";

/**
 * A copy as plain JSON: undefined members are left out, class instances become their members. Text that UTF-8 cannot
 * carry (a surrogate cut in half by a provider) is repaired, since it could be neither stored nor sent again.
 */
export function plainJson(value: unknown): Json {
  const text = JSON.stringify(value ?? null);
  // Lone surrogates are written as escapes, which nothing else needs: the slow way is for them alone.
  return JSON.parse(/\\ud[89a-f]/.test(text) ? JSON.stringify(value, repaired) : text) as Json;
}

function repaired(_: string, member: unknown): unknown {
  return typeof member === "string" ? member.toWellFormed() : member;
}

/** The object that `text` holds, or undefined: strict, unlike LangChain's parser, which completes a cut text. */
export function parseObject(text: string): Record<string, Json> | undefined {
  try {
    const value = JSON.parse(text) as Json;
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (plainJson(value) as Record<string, Json>)
      : undefined;
  } catch {
    return undefined;
  }
}

/** The JSON value that `text` holds, or undefined. */
export function parseJson(text: string): Json | undefined {
  try {
    return plainJson(JSON.parse(text));
  } catch {
    return undefined;
  }
}
