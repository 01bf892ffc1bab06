/**
 * A chat model whose calls are recorded steps. It wraps the user's model, so that LangChain itself does binding, parsing
 * and structured-output retries, live and replayed alike; a recorded message returned by a middleware would lose them.
 */
import { BaseChatModel } from "@langchain/core/language_models/chat_models";
import type { BaseMessage } from "@langchain/core/messages";
import type { ChatResult } from "@langchain/core/outputs";
import type { ModelSpec } from "../../api/execution.ts";
import type { ModelRequest, StepScope } from "../../ports/step.ts";
import { type BoundModel, boundOptions, type CallOptions, pickCallOptions, rootModel } from "./call-options.ts";
import { endpointOf, policyNameOf } from "./endpoints.ts";
import { makeLiveCall } from "./live-call.ts";
import { type Thawed, thaw } from "./message.ts";
import type { Projection } from "./projection.ts";

export const idleTimeoutDefaultMs = 60_000;

/** What the models of one run share. One per run: nothing of it may be shared between agents. */
export interface StepRun {
  readonly scope: StepScope;
  readonly spec: ModelSpec;
  readonly projection: Projection;
  readonly idleTimeoutMs: number;
  readonly secrets: readonly string[];
  readonly answerTools: ReadonlySet<string>;
  readonly callIds: Set<string>;
  /** The number of this model call; throws when the run may make no more. Called synchronously at entry (J5). */
  takeOrdinal(): number;
  /** Follows a call to its end, so that nothing is left running when the run ends. */
  track<T>(call: Promise<T>): Promise<T>;
  thawed(ordinal: number, thawed: Thawed): void;
}

export class StepModel extends BaseChatModel {
  readonly #bound: BoundModel;
  readonly #run: StepRun;

  constructor(bound: BoundModel, run: StepRun) {
    super({ outputVersion: "v0" });
    this.#bound = bound;
    this.#run = run;
  }

  override _llmType(): string {
    return "oao-step";
  }

  override bindTools(tools: Parameters<NonNullable<BaseChatModel["bindTools"]>>[0], kwargs?: CallOptions): StepModel {
    const model = rootModel(this.#bound);
    if (model.bindTools === undefined)
      throw new TypeError(`the client of ${this.#run.spec.provider} cannot call tools`);
    const bound = model.bindTools(tools, { ...boundOptions(this.#bound), ...kwargs });
    return new StepModel(bound, this.#run);
  }

  override withConfig(config: CallOptions): ReturnType<BaseChatModel["withConfig"]> {
    return new StepModel(this.#bound.withConfig(config), this.#run);
  }

  /** The provider's own way to structured output, with every model it makes recorded. */
  // `never` stands for the base class's overloads: all are handed on as they are.
  override withStructuredOutput(schema: never, config?: never): never {
    const model = rootModel(this.#bound);
    const recording = Object.create(model, {
      bindTools: { value: this.bindTools.bind(this) },
      withConfig: { value: this.withConfig.bind(this) },
    }) as BaseChatModel;
    return model.withStructuredOutput.call(recording, schema, config) as never;
  }

  override async _generate(messages: BaseMessage[], options: this["ParsedCallOptions"]): Promise<ChatResult> {
    const run = this.#run;
    const ordinal = run.takeOrdinal();
    const callOptions = { ...pickCallOptions(boundOptions(this.#bound)), ...pickCallOptions(options) };
    const request: ModelRequest = {
      model: run.spec.name,
      policyName: policyNameOf(run.spec),
      endpoint: endpointOf(run.spec),
      secret: run.spec.apiKeySecretRef?.name,
      header: run.projection.header(this.#bound, callOptions),
      messages: run.projection.messages(this.#bound, messages),
      declaredOutputCap: run.projection.declaredOutputCap(this.#bound, callOptions),
    };
    const recorded = await run.track(
      run.scope.model(ordinal, request, (call) =>
        makeLiveCall(
          {
            bound: this.#bound,
            messages,
            callOptions: pickCallOptions(options),
            signal: options.signal,
            idleTimeoutMs: run.idleTimeoutMs,
            declaredOutputCap: request.declaredOutputCap,
            secrets: run.secrets,
          },
          call,
        ),
      ),
    );
    const thawed = thaw(recorded, { ordinal, answerTools: run.answerTools, callIds: run.callIds });
    run.thawed(ordinal, thawed);
    return { generations: [{ text: thawed.message.text, message: thawed.message }] };
  }
}
