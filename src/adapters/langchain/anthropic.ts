/** The Anthropic Messages client. Loaded only for provider anthropic. */
import { ChatAnthropic } from "@langchain/anthropic";
import type { UsageMetadata } from "@langchain/core/messages";
import type { ModelSpec } from "../../api/execution.ts";
import { outputCapOption, type CallOptions } from "./call-options.ts";
import { baseUrlOf } from "./endpoints.ts";
import type { ClientOptions } from "./client-options.ts";

/** Adds OAO's output cap, and makes one count of the usage that the API repeats as a running total. */
export class AnthropicChat extends ChatAnthropic {
  override invocationParams(options?: this["ParsedCallOptions"]): ReturnType<ChatAnthropic["invocationParams"]> {
    const params = super.invocationParams(options);
    const cap = (options as CallOptions | undefined)?.[outputCapOption];
    if (typeof cap !== "number") return params;
    // The API refuses a cap that does not exceed the thinking budget; the meter cuts such a call.
    const thinking = params.thinking?.type === "enabled" ? params.thinking.budget_tokens : 0;
    return cap <= thinking ? params : { ...params, max_tokens: Math.min(params.max_tokens ?? cap, cap) };
  }

  /** The base class leaves running totals in its chunks, which are summed when chunks are joined. */
  override async *_streamResponseChunks(
    ...call: Parameters<ChatAnthropic["_streamResponseChunks"]>
  ): ReturnType<ChatAnthropic["_streamResponseChunks"]> {
    let counted = 0;
    for await (const chunk of super._streamResponseChunks(...call)) {
      const message = chunk.message as { usage_metadata?: UsageMetadata };
      const usage = message.usage_metadata;
      if (usage !== undefined) {
        const more = Math.max(0, usage.output_tokens - counted);
        message.usage_metadata = { ...usage, output_tokens: more, total_tokens: usage.input_tokens + more };
        counted += more;
      }
      yield chunk;
    }
  }
}

/** A client that makes each call exactly once, to the spec's endpoint whatever the environment says. */
export function createAnthropicModel(spec: ModelSpec, options: ClientOptions): AnthropicChat {
  const { max_tokens, ...parameters } = spec.parameters ?? {};
  return new AnthropicChat({
    ...(max_tokens === undefined ? {} : { maxTokens: Number(max_tokens) }),
    ...parameters,
    model: spec.model,
    // The client would else take ANTHROPIC_API_KEY, which is not meant for this endpoint.
    apiKey: options.apiKey ?? "none",
    anthropicApiUrl: baseUrlOf(spec) ?? "",
    maxRetries: 0,
    outputVersion: "v0",
    clientOptions: {
      // ANTHROPIC_AUTH_TOKEN would be sent beside the key.
      authToken: null,
      // Its log would hold prompts and answers; ANTHROPIC_LOG could turn it on.
      logLevel: "off",
      ...(options.fetch === undefined ? {} : { fetch: options.fetch }),
    },
  });
}
