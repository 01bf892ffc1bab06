/** Names and addresses of models, known without loading any provider's client. */
import type { ModelSpec } from "../../api/execution.ts";

const defaultBaseUrls: Readonly<Record<string, string>> = {
  openai: "https://api.openai.com/v1",
  anthropic: "https://api.anthropic.com",
};

/** Paths that the two built-in clients append to their base URL. */
const callPaths: Readonly<Record<string, string>> = {
  openai: "chat/completions",
  anthropic: "v1/messages",
};

/** Where the client starts from: the spec's baseURL, else the provider's own; undefined where only the client knows. */
export function baseUrlOf(spec: ModelSpec): string | undefined {
  return spec.baseURL ?? defaultBaseUrls[spec.provider];
}

/**
 * Absolute URL that calls of this model go to; policies match it.
 * For providers other than openai and anthropic it is the baseURL, or `<provider>:default` where only the client knows it.
 */
export function endpointOf(spec: ModelSpec): string {
  const base = baseUrlOf(spec);
  if (base === undefined) return `${spec.provider}:default`;
  const path = callPaths[spec.provider];
  return path === undefined ? base : `${base.replace(/\/+$/, "")}/${path}`;
}

/** `provider/model`, what the allow and deny lists of a policy match. */
export function policyNameOf(spec: ModelSpec): string {
  return `${spec.provider}/${spec.model}`;
}
