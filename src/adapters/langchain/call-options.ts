/**
 * What a call may be given beside its messages. LangGraph passes its own machinery (store, writer, scratchpad) the same
 * way, so the options that reach a provider and a digest are listed.
 */
import type { BaseChatModel } from "@langchain/core/language_models/chat_models";
import { RunnableBinding, type Runnable } from "@langchain/core/runnables";
import type { BaseLanguageModelInput } from "@langchain/core/language_models/base";
import type { AIMessageChunk } from "@langchain/core/messages";

export type CallOptions = Readonly<Record<string, unknown>>;

/** A chat model, or one with options bound to it. */
export type BoundModel = Runnable<BaseLanguageModelInput, AIMessageChunk>;

/** The option that carries OAO's cap to the provider classes of this folder. Never part of a digest. */
export const outputCapOption = "oaoOutputCap";

const names = [
  "stop",
  "tools",
  "tool_choice",
  "strict",
  "parallel_tool_calls",
  "response_format",
  "functions",
  "function_call",
  "seed",
  "reasoning",
  "reasoningEffort",
  "service_tier",
  "prediction",
  "verbosity",
  "modalities",
  "audio",
  "outputConfig",
  "responseSchema",
] as const;

/** The listed options that are set. */
export function pickCallOptions(options: CallOptions): CallOptions {
  const picked: Record<string, unknown> = {};
  for (const name of names) if (options[name] !== undefined) picked[name] = options[name];
  return picked;
}

/** The options bound to a model by bindTools or withConfig, wherever its class keeps them. */
export function boundOptions(bound: BoundModel): CallOptions {
  if (RunnableBinding.isRunnableBinding(bound)) {
    const { config, kwargs } = bound as unknown as { config?: CallOptions; kwargs?: CallOptions };
    return { ...config, ...kwargs };
  }
  const { defaultOptions } = bound as { defaultOptions?: CallOptions };
  return defaultOptions ?? {};
}

/** The chat model under any bindings. */
export function rootModel(bound: BoundModel): BaseChatModel {
  let model: unknown = bound;
  while (RunnableBinding.isRunnableBinding(model)) model = model.bound;
  return model as BaseChatModel;
}
