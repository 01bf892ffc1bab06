/** The OpenAI Chat Completions client and its wire form. Loaded only for provider openai. */
import { ChatOpenAICompletions, convertMessagesToCompletionsMessageParams } from "@langchain/openai";
import type { ModelSpec } from "../../api/execution.ts";
import type { JsonObject } from "../../core/digest/json.ts";
import { outputCapOption, type BoundModel, type CallOptions, pickCallOptions, rootModel } from "./call-options.ts";
import { baseUrlOf } from "./endpoints.ts";
import { plainJson } from "./plain.ts";
import { positionIds, projectEach, type Projection } from "./projection.ts";
import type { ClientOptions } from "./client-options.ts";

/** Constructor fields that are call parameters; any other parameter goes on the wire under its own name. */
const fieldNames: ReadonlySet<string> = new Set([
  "temperature",
  "topP",
  "frequencyPenalty",
  "presencePenalty",
  "logitBias",
  "stop",
  "stopSequences",
  "user",
  "logprobs",
  "topLogprobs",
  "reasoning",
  "service_tier",
  "promptCacheKey",
  "promptCacheRetention",
  "verbosity",
  "supportsStrictToolCalling",
]);

const capNames: ReadonlySet<string> = new Set([
  "maxTokens",
  "maxCompletionTokens",
  "max_tokens",
  "max_completion_tokens",
]);

type ConvertDelta = ChatOpenAICompletions["_convertCompletionsDeltaToBaseMessageChunk"];

/**
 * Chat Completions only: ChatOpenAI switches some model names and options to the Responses API, which has another wire
 * form. Adds the output cap, and keeps the reasoning and refusal text that the base class drops, so that it is metered.
 */
export class OpenAiChat extends ChatOpenAICompletions {
  override invocationParams(
    options?: this["ParsedCallOptions"],
    extra?: { streaming?: boolean },
  ): ReturnType<ChatOpenAICompletions["invocationParams"]> {
    const params = super.invocationParams(options, extra);
    const cap = (options as CallOptions | undefined)?.[outputCapOption];
    if (typeof cap !== "number") return params;
    const name = "max_completion_tokens" in params ? "max_completion_tokens" : "max_tokens";
    return { ...params, [name]: Math.min(params[name] ?? cap, cap) };
  }

  protected override _convertCompletionsDeltaToBaseMessageChunk(
    ...[delta, rawResponse, defaultRole]: Parameters<ConvertDelta>
  ): ReturnType<ConvertDelta> {
    // Some servers never name the role; the base class would then make a chunk that is no answer.
    const role = (delta["role"] as typeof defaultRole) ?? defaultRole ?? "assistant";
    const chunk = super._convertCompletionsDeltaToBaseMessageChunk({ ...delta, role }, rawResponse, role);
    const { reasoning, refusal } = delta as { reasoning?: unknown; refusal?: unknown };
    if (typeof reasoning === "string") chunk.additional_kwargs["reasoning_content"] ??= reasoning;
    if (typeof refusal === "string") chunk.additional_kwargs["refusal"] = refusal;
    return chunk;
  }
}

/** A client that makes each call exactly once, to the spec's endpoint whatever the environment says. */
export function createOpenAiModel(spec: ModelSpec, options: ClientOptions): OpenAiChat {
  const fields: Record<string, unknown> = {};
  const modelKwargs: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(spec.parameters ?? {})) {
    if (capNames.has(name)) fields["maxTokens"] = value;
    else (fieldNames.has(name) ? fields : modelKwargs)[name] = value;
  }
  return new OpenAiChat({
    ...fields,
    modelKwargs,
    model: spec.model,
    // The client insists on a key and would else take OPENAI_API_KEY, which is not meant for this endpoint.
    apiKey: options.apiKey ?? "none",
    maxRetries: 0,
    outputVersion: "v0",
    configuration: {
      // Its log would hold prompts and answers; OPENAI_LOG could turn it on.
      logLevel: "off",
      baseURL: baseUrlOf(spec) ?? null,
      ...(options.fetch === undefined ? {} : { fetch: options.fetch }),
    },
  });
}

interface Completions {
  readonly model: string;
  invocationParams(options: CallOptions, extra: { streaming: boolean }): object;
}

/** `completions` is where ChatOpenAI keeps the model that really makes the call (langchain.md). */
function completionsOf(bound: BoundModel): Completions {
  const model = rootModel(bound) as unknown as Completions & { completions?: Completions };
  return model.completions ?? model;
}

/** The wire form of Chat Completions without what two equal requests may differ in. One per run. */
export function openAiProjection(): Projection {
  let model = "";
  const project = projectEach((message, at, call) => {
    // A message with audio becomes two; only the first can hold calls or answer one.
    const [first, ...more] = plainJson(
      convertMessagesToCompletionsMessageParams({ messages: [message], model }),
    ) as JsonObject[];
    const { ids, messages } = positionIds(first ?? {}, at, call);
    return { ids, messages: [...messages, ...more] };
  });
  const paramsOf = (bound: BoundModel, callOptions: CallOptions): Record<string, unknown> => ({
    ...completionsOf(bound).invocationParams(pickCallOptions(callOptions), { streaming: true }),
  });
  return {
    header(bound, callOptions) {
      const { stream: _, stream_options: __, ...params } = paramsOf(bound, callOptions);
      return { v: 1, form: "openai-chat", request: plainJson(params) };
    },
    messages(bound, messages) {
      model = completionsOf(bound).model;
      return project(messages);
    },
    declaredOutputCap(bound, callOptions) {
      const { max_tokens, max_completion_tokens } = paramsOf(bound, callOptions);
      const cap = max_completion_tokens ?? max_tokens;
      return typeof cap === "number" ? cap : undefined;
    },
  };
}
