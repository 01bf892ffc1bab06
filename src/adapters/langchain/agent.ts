/** One run of an agent: LangChain's createAgent with OAO's middleware innermost. */
import type { BaseChatModel } from "@langchain/core/language_models/chat_models";
import { AIMessage, HumanMessage, SystemMessage, ToolMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { createAgent, createMiddleware } from "langchain";
import type { AgentSpec, ModelSpec } from "../../api/execution.ts";
import { canonicalJson } from "../../core/digest/digest.ts";
import type { Json, JsonObject } from "../../core/digest/json.ts";
import { RecordedFailure, type StepScope } from "../../ports/step.ts";
import { answerFormat, answerPrefix, type Answer } from "./answer.ts";
import { isolateEnvironment } from "./environment.ts";
import { AgentFailure, unwrap } from "./failures.ts";
import { messageId } from "./message.ts";
import { parseJson, plainJson } from "./plain.ts";
import { projectionOf } from "./models.ts";
import { schemaCheck, type SchemaCheck } from "./schema.ts";
import { idleTimeoutDefaultMs, StepModel, type StepRun } from "./step-model.ts";

/** What a model is told about a tool. The tool itself runs inside `scope.tool`. */
export interface AgentTool {
  readonly name: string;
  readonly description: string;
  readonly inputSchema: JsonObject;
}

export interface AgentRunOptions {
  readonly agent: AgentSpec;
  readonly prompt: string;
  readonly systemPrompt: string | undefined;
  /** From createModel. */
  readonly model: BaseChatModel;
  readonly modelSpec: ModelSpec;
  readonly scope: StepScope;
  readonly tools: readonly AgentTool[];
  readonly outputSchema?: JsonObject | undefined;
  /** Model calls at most. */
  readonly maxIterations: number;
  readonly signal: AbortSignal;
  readonly idleTimeoutMs?: number | undefined;
  /** Values kept out of messages of failures, beside the model's own key. */
  readonly secrets?: readonly string[] | undefined;
}

/**
 * Runs the agent to its end. Returns the structured answer when `outputSchema` is given, else the final text.
 * Throws AgentFailure, RecordedFailure of a model call, the reason of `signal` when it was aborted, and whatever else
 * the scope threw (cuts, violations), as it was. When it settles, no call of the scope is left running.
 */
export async function runAgent(options: AgentRunOptions): Promise<Json> {
  options.signal.throwIfAborted();
  isolateEnvironment();
  const answer =
    options.outputSchema === undefined ? undefined : answerFormat(options.agent.name, options.outputSchema);
  const run = new Run(options, answer, await projectionOf(options.modelSpec));
  const agent = createAgent({
    model: options.model,
    // A plain string: many compatible servers know no content blocks in system messages.
    ...(options.systemPrompt === undefined ? {} : { systemPrompt: new SystemMessage(options.systemPrompt) }),
    tools: options.tools.map(declaration),
    middleware: [run.middleware()],
    ...(answer === undefined ? {} : { responseFormat: answer.format }),
  });
  try {
    const state = (await agent.invoke(
      { messages: [new HumanMessage(options.prompt)] },
      // Two supersteps per model call; the count of model calls is what ends a run.
      { signal: options.signal, recursionLimit: 2 * options.maxIterations + 10 },
    )) as { messages: readonly unknown[]; structuredResponse?: unknown };
    return run.output(state);
  } catch (error) {
    await run.settled();
    throw run.reason(error);
  }
}

function declaration({ name, description, inputSchema }: AgentTool) {
  if (name.startsWith(answerPrefix)) {
    throw new AgentFailure(
      "InvalidSpec",
      `tool ${name}: names of tools must not start with '${answerPrefix}'; rename it`,
    );
  }
  // OpenAI refuses object schemas without properties.
  const schema = { properties: {}, ...inputSchema, type: "object" as const };
  return tool(() => Promise.reject(new Error("only declared")), { name, description, schema });
}

/** The state of one run. Counters live here, so agents in one process share nothing. */
class Run {
  readonly #options: AgentRunOptions;
  readonly #answer: Answer | undefined;
  readonly #model: StepModel;
  readonly #checks = new Map<string, SchemaCheck>();
  readonly #ordinals = new Map<string | undefined, number>();
  readonly #malformed = new Map<string | undefined, string>();
  readonly #open = new Set<Promise<unknown>>();
  #modelCalls = 0;
  #scopeError: { readonly error: unknown } | undefined;

  constructor(options: AgentRunOptions, answer: Answer | undefined, projection: StepRun["projection"]) {
    this.#options = options;
    this.#answer = answer;
    for (const { name, inputSchema } of options.tools) {
      const compiled = schemaCheck(inputSchema);
      if ("problem" in compiled) throw new AgentFailure("InvalidSpec", `tool ${name}: inputSchema ${compiled.problem}`);
      this.#checks.set(name, compiled.check);
    }
    this.#model = new StepModel(options.model, {
      scope: options.scope,
      spec: options.modelSpec,
      projection,
      idleTimeoutMs: options.idleTimeoutMs ?? idleTimeoutDefaultMs,
      secrets: [...(options.secrets ?? []), ...keyOf(options.model)],
      answerTools: new Set(answer === undefined ? [] : [answer.toolName]),
      callIds: new Set(),
      takeOrdinal: () => this.#takeOrdinal(),
      track: (call) => this.#track(call),
      thawed: (ordinal, { malformed }) => {
        this.#ordinals.set(messageId(ordinal), ordinal);
        for (const [id, text] of malformed) this.#malformed.set(id, text);
      },
    });
  }

  middleware() {
    return createMiddleware({
      name: "oao",
      wrapModelCall: (request, handler) => handler({ ...request, model: this.#model }),
      wrapToolCall: ({ toolCall, state }) => this.#callTool(toolCall, state.messages),
    });
  }

  /**
   * Reaches `scope.tool` before any await (J5). Arguments that do not fit make no step: refusing them is a function of
   * the recorded message, without an outside call, so a replay refuses them the same way.
   */
  async #callTool(call: ToolCall, messages: readonly unknown[]): Promise<ToolMessage> {
    const message = messages.findLast((candidate) => AIMessage.isInstance(candidate));
    const index = message?.tool_calls?.findIndex((candidate) => candidate.id === call.id) ?? -1;
    const ordinal = this.#ordinals.get(message?.id);
    const args = plainJson(call.args);
    const refusal = this.#refuse(call, args);
    if (refusal !== undefined) return toolMessage(call, `Error: ${refusal}`, "error");
    try {
      if (ordinal === undefined || index < 0) throw new Error(`tool call ${call.name} belongs to no recorded message`);
      const output = await this.#track(this.#options.scope.tool(ordinal, index, { tool: call.name, arguments: args }));
      return toolMessage(call, typeof output === "string" ? output : canonicalJson(output), "success");
    } catch (error) {
      if (error instanceof RecordedFailure) return toolMessage(call, `Error: ${error.message}`, "error");
      throw error;
    }
  }

  #refuse(call: ToolCall, args: Json): string | undefined {
    const check = this.#checks.get(call.name);
    if (check === undefined) return `there is no tool ${call.name}; available: ${[...this.#checks.keys()].join(", ")}`;
    const malformed = this.#malformed.get(call.id);
    if (malformed !== undefined) return "the arguments are not a JSON object; send them again as valid JSON";
    const problem = check(args);
    return problem === undefined ? undefined : `the arguments do not fit the tool's schema: ${problem}`;
  }

  #takeOrdinal(): number {
    const { maxIterations, agent } = this.#options;
    if (this.#modelCalls >= maxIterations) {
      throw new AgentFailure(
        "MaxIterations",
        `agent ${agent.name} made ${maxIterations} model calls without finishing (maxIterations)`,
      );
    }
    this.#modelCalls += 1;
    return this.#modelCalls - 1;
  }

  async #track<T>(call: Promise<T>): Promise<T> {
    this.#open.add(call);
    try {
      return await call;
    } catch (error) {
      if (!(error instanceof RecordedFailure)) this.#scopeError ??= { error };
      throw error;
    } finally {
      this.#open.delete(call);
    }
  }

  /**
   * What ended the run. A cut or violation of the scope says more than the abort of the run that races with it;
   * LangChain wraps errors, and LangGraph may make its own of an aborted signal.
   */
  reason(error: unknown): unknown {
    if (this.#scopeError !== undefined) return this.#scopeError.error;
    return this.#options.signal.aborted ? this.#options.signal.reason : unwrap(error);
  }

  async settled(): Promise<void> {
    await Promise.allSettled(this.#open);
  }

  output(state: { readonly messages: readonly unknown[]; readonly structuredResponse?: unknown }): Json {
    const last = state.messages.findLast((message) => AIMessage.isInstance(message));
    const text = last?.text ?? "";
    if (this.#answer === undefined) return text;
    if (state.structuredResponse !== undefined) return plainJson(state.structuredResponse);
    // Servers that ignore tool_choice often answer with the object as text.
    const parsed = parseJson(text);
    if (parsed !== undefined && this.#answer.check(parsed) === undefined) return parsed;
    throw new AgentFailure(
      "NoAnswer",
      `agent ${this.#options.agent.name} ended without an answer that fits its outputSchema`,
    );
  }
}

interface ToolCall {
  readonly name: string;
  readonly id?: string | undefined;
  readonly args: Record<string, unknown>;
}

function toolMessage(call: ToolCall, content: string, status: "success" | "error"): ToolMessage {
  return new ToolMessage({ content, name: call.name, tool_call_id: call.id ?? "", status });
}

function keyOf(model: BaseChatModel): string[] {
  const { apiKey } = model as { apiKey?: unknown };
  return typeof apiKey === "string" ? [apiKey] : [];
}
