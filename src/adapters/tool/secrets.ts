/** Secret values from the environment, and the filter that keeps them out of everything recorded. */
import type { ModelSpec } from "../../api/execution.ts";
import { OaoError } from "../../core/errors/errors.ts";
import { secretVariable } from "../../core/policy/secret-variable.ts";
import type { SecretReader } from "../../ports/tool.ts";

/** A secret that is in none of the variables it may be in. */
export class MissingSecret extends OaoError {
  override readonly name = "MissingSecret";
  /** In the order they were looked at. */
  readonly variables: readonly string[];
  constructor(ref: { name: string; key: string }, variables: readonly string[]) {
    super(
      "OAO_MISSING_SECRET",
      `Secret ${ref.name}/${ref.key} is not set: set ${variables.join(" or ")} in the environment (an empty value counts as not set)`,
    );
    this.variables = variables;
  }
}

/** A value this short stands in ordinary text too: masking it would mangle every answer, not masking it would record it. */
const secretCharactersMin = 4;

/** Undefined for an empty value. Throws OAO_MISSING_SECRET for one that could not be kept out of logs and journal. */
export function secretIn(env: Readonly<Record<string, string | undefined>>, variable: string): string | undefined {
  const value = env[variable];
  if (value === undefined || value === "") return undefined;
  if (value.length < secretCharactersMin)
    throw new OaoError(
      "OAO_MISSING_SECRET",
      `${variable} has fewer than ${secretCharactersMin} characters: such a secret could not be kept out of what is recorded, so it is not used; set a longer value`,
    );
  return value;
}

/**
 * Reads OAO_SECRET_<NAME>_<KEY> (upper case, everything but letters and digits as `_`), then `fallbackVariable`, for model keys the
 * provider's own (OPENAI_API_KEY). `env` is read at each call. Throws MissingSecret.
 */
export function environmentSecrets(
  env: Readonly<Record<string, string | undefined>>,
): SecretReader & ((ref: { name: string; key: string }, fallbackVariable?: string) => string) {
  return (ref: { name: string; key: string }, fallbackVariable?: string) => {
    const variables = fallbackVariable === undefined ? [secretVariable(ref)] : [secretVariable(ref), fallbackVariable];
    for (const variable of variables) {
      const value = secretIn(env, variable);
      if (value !== undefined) return value;
    }
    throw new MissingSecret(ref, variables);
  };
}

/** The variables in which the providers' own tools look for a key, by the provider names of initChatModel. */
const PROVIDER_KEYS: Readonly<Record<string, string>> = {
  openai: "OPENAI_API_KEY",
  anthropic: "ANTHROPIC_API_KEY",
  azure_openai: "AZURE_OPENAI_API_KEY",
  cohere: "COHERE_API_KEY",
  google: "GOOGLE_API_KEY",
  "google-genai": "GOOGLE_API_KEY",
  mistralai: "MISTRAL_API_KEY",
  mistral: "MISTRAL_API_KEY",
  groq: "GROQ_API_KEY",
  deepseek: "DEEPSEEK_API_KEY",
  xai: "XAI_API_KEY",
  cerebras: "CEREBRAS_API_KEY",
  fireworks: "FIREWORKS_API_KEY",
  together: "TOGETHER_AI_API_KEY",
  "together-ai": "TOGETHER_AI_API_KEY",
  perplexity: "PERPLEXITY_API_KEY",
};

/** Variable that holds a model provider's own key, or undefined for a provider that has none (ollama) or is not known. */
export function providerKeyVariable(provider: string): string | undefined {
  return Object.hasOwn(PROVIDER_KEYS, provider) ? PROVIDER_KEYS[provider] : undefined;
}

/**
 * The variables that may hold a model's key, in the order they are looked at; none = its endpoint gets no key. The provider's own
 * variable counts only for the provider's own endpoint (G3: a key never goes to a server that nobody paired it with).
 */
export function modelKeyVariables(model: ModelSpec): readonly string[] {
  const own = model.baseURL === undefined ? providerKeyVariable(model.provider) : undefined;
  return [
    ...(model.apiKeySecretRef === undefined ? [] : [secretVariable(model.apiKeySecretRef)]),
    ...(own === undefined ? [] : [own]),
  ];
}

const MASK = "[secret]";

/**
 * A filter that replaces every known value by `[secret]`: as it is, URL-encoded, JSON-escaped (once and twice), and inside base64 and
 * base64url text at any of the three alignments. Values under 4 characters are left alone: nothing uses one.
 */
export function maskSecrets(values: Iterable<string>): (text: string) => string {
  const needles = [...new Set([...values].filter((value) => value.length >= secretCharactersMin).flatMap(formsOf))];
  return (text) => {
    const found = needles.flatMap((needle) => occurrences(text, needle)).sort((a, b) => a.start - b.start);
    return found.length === 0 ? text : replaceRanges(text, found);
  };
}

interface Range {
  readonly start: number;
  readonly end: number;
}

function occurrences(text: string, needle: string): Range[] {
  const found: Range[] = [];
  for (let start = text.indexOf(needle); start !== -1; start = text.indexOf(needle, start + 1)) {
    const last = found.at(-1);
    const end = start + needle.length;
    // A value that repeats itself is found at every character of a run: one range, whatever its length.
    if (last === undefined || start > last.end) found.push({ start, end });
    else found[found.length - 1] = { start: last.start, end };
  }
  return found;
}

/** Overlapping finds become one: replacing them one after the other would leave the rest of the second. */
function replaceRanges(text: string, sorted: readonly Range[]): string {
  let masked = "";
  let done = 0;
  for (const { start, end } of sorted) {
    if (end <= done) continue;
    if (start >= done) masked += text.slice(done, start) + MASK;
    done = end;
  }
  return masked + text.slice(done);
}

function formsOf(value: string): string[] {
  const json = JSON.stringify(value).slice(1, -1);
  const url = encodeURIComponent(value.toWellFormed());
  const form = new URLSearchParams({ "": value }).toString().slice(1);
  const escapes = [json, JSON.stringify(json).slice(1, -1), url, form];
  const lowerCase = [url, form].map((text) => text.replaceAll(/%[0-9A-F]{2}/g, (escape) => escape.toLowerCase()));
  return [value, ...escapes, ...lowerCase, ...[0, 1, 2].flatMap((offset) => base64Forms(value, offset))];
}

/** The characters of a base64 text that are fixed by `value` alone when `offset` bytes (mod 3) come before it. */
function base64Forms(value: string, offset: number): string[] {
  const bytes = Buffer.concat([Buffer.alloc(offset), Buffer.from(value)]);
  const start = Math.ceil((offset * 8) / 6);
  const end = Math.floor((bytes.length * 8) / 6);
  return [bytes.toString("base64").slice(start, end), bytes.toString("base64url").slice(start, end)];
}
