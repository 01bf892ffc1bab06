/** Provider clients from spec.models entries. Each provider's package is loaded only when a model needs it. */
import type { BaseChatModel } from "@langchain/core/language_models/chat_models";
import type { ModelSpec } from "../../api/execution.ts";
import { baseUrlProblem } from "../../core/policy/endpoints.ts";
import { providerPackage } from "./providers.ts";
import { OaoError } from "../../core/errors/errors.ts";
import { guardedFetch } from "./answer-guard.ts";
import type { ClientOptions } from "./client-options.ts";
import { isolateEnvironment } from "./environment.ts";
import { genericProjection, type Projection } from "./projection.ts";

/** Settings that are OAO's: they would move calls elsewhere, repeat them, or change the form in which they are recorded. */
const reserved: ReadonlySet<string> = new Set([
  "apiKey",
  "anthropicApiKey",
  "openAIApiKey",
  "apiUrl",
  "anthropicApiUrl",
  "baseURL",
  "baseUrl",
  "basePath",
  "endpoint",
  "configuration",
  "clientOptions",
  "createClient",
  "client",
  "model",
  "modelName",
  "modelProvider",
  "modelKwargs",
  "invocationKwargs",
  "messages",
  "tools",
  "tool_choice",
  "functions",
  "n",
  "maxRetries",
  "maxConcurrency",
  "timeout",
  "cache",
  "callbacks",
  "verbose",
  "stream",
  "stream_options",
  "streaming",
  "streamUsage",
  "disableStreaming",
  "outputVersion",
  "useResponsesApi",
  "onFailedAttempt",
  "__includeRawResponse",
]);

/**
 * The client for `spec`: makes each call exactly once, streams, traces nothing.
 * Throws OaoError OAO_INVALID_SPEC for reserved parameters, an unusable baseURL, an unknown provider and a provider whose package is not
 * installed, naming it and the command; OAO_MISSING_SECRET when the provider's own endpoint would be called without a key.
 */
export async function createModel(spec: ModelSpec, options: ClientOptions): Promise<BaseChatModel> {
  isolateEnvironment();
  const refused = Object.keys(spec.parameters ?? {}).filter((name) => reserved.has(name));
  if (refused.length > 0) {
    throw new OaoError(
      "OAO_INVALID_SPEC",
      `model ${spec.name}: parameters ${refused.join(", ")} cannot be set; OAO sets them itself. Remove them (the address of a compatible server goes in baseURL).`,
    );
  }
  const problem = spec.baseURL === undefined ? undefined : baseUrlProblem(spec.baseURL);
  if (problem !== undefined) throw new OaoError("OAO_INVALID_SPEC", `model ${spec.name}: baseURL ${problem}`);
  if (spec.provider !== "openai" && spec.provider !== "anthropic") return createOtherModel(spec, options);
  if (options.apiKey === undefined && spec.baseURL === undefined) {
    throw new OaoError(
      "OAO_MISSING_SECRET",
      `model ${spec.name}: ${spec.provider} needs a key; set apiKeySecretRef, or baseURL for a compatible server without one`,
    );
  }
  const guarded = { ...options, fetch: guardedFetch(options.fetch ?? globalThis.fetch) };
  if (spec.provider === "openai") return (await import("./openai.ts")).createOpenAiModel(spec, guarded);
  return (await import("./anthropic.ts")).createAnthropicModel(spec, guarded);
}

async function createOtherModel(spec: ModelSpec, options: ClientOptions): Promise<BaseChatModel> {
  const provider = await providerPackage(spec.provider);
  if ("problem" in provider) throw new OaoError("OAO_INVALID_SPEC", `model ${spec.name}: ${provider.problem}`);
  const { initChatModel } = await import("langchain/chat_models/universal");
  try {
    const model = await initChatModel(spec.model, {
      ...spec.parameters,
      modelProvider: spec.provider,
      maxRetries: 0,
      outputVersion: "v0",
      ...(options.apiKey === undefined ? {} : { apiKey: options.apiKey }),
      ...(spec.baseURL === undefined ? {} : { baseUrl: spec.baseURL, baseURL: spec.baseURL }),
    });
    return await model._getModelInstance();
  } catch (error) {
    if (!(error instanceof Error) || !/Unable to import|Cannot find (package|module)/.test(error.message)) throw error;
    throw new OaoError(
      "OAO_INVALID_SPEC",
      `model ${spec.name}: provider ${spec.provider} needs the package ${provider.package}, which is not installed; run: npm install ${provider.package}`,
    );
  }
}

/**
 * Start-up canary: one call against a server that always fails must be one request. A client that repeats calls by
 * itself would pay for requests that no journal shows. Opens no socket. Throws OaoError OAO_PROTOCOL.
 */
export async function assertNoHiddenRetries(spec: ModelSpec): Promise<void> {
  let requests = 0;
  const stop = new AbortController();
  const failing: typeof globalThis.fetch = () => {
    requests += 1;
    if (requests > 1) stop.abort();
    return Promise.resolve(
      Response.json({ error: { message: "canary" } }, { status: 503, headers: { "retry-after": "0" } }),
    );
  };
  const model = await createModel(spec, { apiKey: "canary", fetch: failing });
  if (spec.provider !== "openai" && spec.provider !== "anthropic") {
    if ((model as unknown as { caller: { maxRetries: number } }).caller.maxRetries === 0) return;
    throw new OaoError("OAO_PROTOCOL", `the client of ${spec.provider} repeats failed calls by itself`);
  }
  const answered = await model.stream("canary", { signal: stop.signal }).then(
    () => true,
    () => false,
  );
  if (answered || requests !== 1) {
    throw new OaoError("OAO_PROTOCOL", `the client of ${spec.provider} made ${requests} requests for one failing call`);
  }
}

/** The projection of a provider. The wire form of openai is loaded with its client. */
export async function projectionOf(spec: ModelSpec): Promise<Projection> {
  if (spec.provider === "openai") return (await import("./openai.ts")).openAiProjection();
  return genericProjection(spec);
}
