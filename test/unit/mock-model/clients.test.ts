import { ChatAnthropic } from "@langchain/anthropic";
import { type AIMessageChunk, HumanMessage } from "@langchain/core/messages";
import { concat } from "@langchain/core/utils/stream";
import { ChatOpenAI } from "@langchain/openai";
import { createAgent, tool, toolStrategy } from "langchain";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import type { MockScriptInput } from "../../../src/cli/mock-model/script.ts";
import type { MockModel } from "../../../src/cli/mock-model/server.ts";
import { serve } from "./harness.ts";

const openai = (model: MockModel, more: object = {}) =>
  new ChatOpenAI({
    model: "gpt-test",
    apiKey: "none",
    maxRetries: 0,
    configuration: { baseURL: model.baseURL },
    ...more,
  });
const anthropic = (model: MockModel) =>
  new ChatAnthropic({ model: "claude-test", apiKey: "none", maxRetries: 0, anthropicApiUrl: model.url });

const clients = [
  ["ChatOpenAI", openai, { stop: "stop", tools: "tool_calls", field: "finish_reason" }],
  ["ChatAnthropic", anthropic, { stop: "end_turn", tools: "tool_use", field: "stop_reason" }],
] as const;

interface Streaming {
  stream(input: string): Promise<AsyncIterable<AIMessageChunk>>;
}

async function collect(client: Streaming, text = "hi"): Promise<AIMessageChunk> {
  let all: AIMessageChunk | undefined;
  for await (const chunk of await client.stream(text)) all = all === undefined ? chunk : concat(all, chunk);
  if (all === undefined) throw new Error("an empty stream");
  return all;
}

/** What the model's way of finishing looks like, whichever field the client keeps it in. */
function finishOf(message: AIMessageChunk, field: string): unknown {
  return message.response_metadata[field] ?? message.additional_kwargs[field];
}

const search = tool(({ q }) => `found ${q}`, {
  name: "search",
  description: "Search",
  schema: z.object({ q: z.string() }),
});

describe.each(clients)("%s", (_name, connect, words) => {
  it("reads a streamed text with usage and finish reason", async () => {
    const model = await serve({ rules: [{ reply: { text: "hello world" } }] });
    const message = await collect(connect(model));
    expect(message.text).toBe("hello world");
    expect(message.usage_metadata).toMatchObject({ input_tokens: 1, output_tokens: 3, total_tokens: 4 });
    expect(finishOf(message, words.field)).toBe(words.stop);
  });

  it("reads an answer that is not streamed", async () => {
    const model = await serve({ rules: [{ reply: { text: "hello world" } }] });
    const message = await connect(model).invoke("hi");
    expect(message.text).toBe("hello world");
    expect(message.usage_metadata).toMatchObject({ input_tokens: 1, output_tokens: 3 });
  });

  it("reads parallel tool calls from their fragments, with other ids each time", async () => {
    const toolCalls = [
      { name: "search", arguments: { q: "heat pumps" } },
      { name: "search", arguments: {} },
    ];
    const model = await serve({ rules: [{ reply: { text: "Let me look.", toolCalls } }] });
    const [first, second] = [await collect(connect(model)), await collect(connect(model))];
    expect(first.tool_calls?.map(({ name, args }) => ({ name, arguments: args }))).toEqual(toolCalls);
    expect(first.text).toBe("Let me look.");
    expect(finishOf(first, words.field)).toBe(words.tools);
    const ids = [first, second].flatMap((message) => message.tool_calls?.map((call) => call.id) ?? []);
    expect(new Set(ids).size).toBe(4);
  });

  it("sees malformed arguments as an invalid tool call", async () => {
    const reply = { toolCalls: [{ name: "search", arguments: { q: "x" } }], malformedToolArguments: true };
    const model = await serve({ rules: [{ reply }] });
    const message = await collect(connect(model));
    expect(message.tool_calls).toEqual([]);
    expect(message.invalid_tool_calls).toMatchObject([{ name: "search" }]);
  });

  it("runs an agent through a tool to structured output", async () => {
    const script: MockScriptInput = {
      rules: [
        {
          match: { turn: 0, tools: ["search"] },
          reply: { toolCalls: [{ name: "search", arguments: { q: "$PROMPT" } }] },
        },
        { match: { lastTool: "search" }, reply: { structured: { summary: "$LAST_TOOL_RESULT" } } },
      ],
    };
    const model = await serve(script);
    const agent = createAgent({
      model: connect(model),
      tools: [search],
      responseFormat: toolStrategy(z.object({ summary: z.string() })),
    });
    const result = await agent.invoke({ messages: [new HumanMessage("pumps")] });
    expect(result.structuredResponse).toEqual({ summary: "found pumps" });
    expect(model.calls().map((call) => [call.rule, call.outcome])).toEqual([
      [1, "finished"],
      [2, "finished"],
    ]);
  });

  it("gets TypeError terminated from a cut in the middle", async () => {
    const model = await serve({ rules: [{ reply: { tokens: 50, cutAfterTokens: 5 } }] });
    const failed = await collect(connect(model)).catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(Error);
    expect(String(failed)).toContain("terminated");
    expect(model.calls()).toMatchObject([{ outcome: "cut", tokens: 5 }]);
  });

  it("gets an error from an error event and from each error status", async () => {
    const model = await serve({
      rules: [
        { match: { lastUser: "event" }, reply: { tokens: 50, errorAfterTokens: 5 } },
        { match: { lastUser: "429" }, reply: { status: 429, retryAfterSeconds: 7 } },
        { match: { lastUser: "500" }, reply: { status: 500 } },
        { match: { lastUser: "401" }, reply: { status: 401 } },
      ],
    });
    await expect(collect(connect(model), "event")).rejects.toThrow("scripted error");
    await expect(collect(connect(model), "500")).rejects.toMatchObject({ status: 500 });
    await expect(collect(connect(model), "401")).rejects.toMatchObject({ status: 401 });
    const limited = (await collect(connect(model), "429").catch((error: unknown) => error)) as {
      status: number;
      headers: Headers;
    };
    expect([limited.status, limited.headers.get("retry-after")]).toEqual([429, "7"]);
    expect(model.calls()).toHaveLength(4);
  });

  it("leaves a stalled stream when aborted", async () => {
    const model = await serve({ rules: [{ reply: { tokens: 50, stallAfterTokens: 5 } }] });
    const controller = new AbortController();
    const stream = await connect(model).stream("hi", { signal: controller.signal });
    const reading = (async () => {
      for await (const chunk of stream) expect(chunk).toBeDefined();
    })();
    await model.waitForCall((call) => call.outcome === "stalled");
    controller.abort();
    await expect(reading).rejects.toThrow(/abort/i);
    const call = await model.waitForCall((seen) => seen.closedAt !== undefined);
    expect(call.tokensAtClose).toBe(5);
  });
});

describe("ChatOpenAI", () => {
  it("takes exhausted quota from the error code", async () => {
    const model = await serve({ rules: [{ reply: { status: 429, errorCode: "insufficient_quota" } }] });
    await expect(collect(openai(model))).rejects.toMatchObject({ status: 429, code: "insufficient_quota" });
  });

  it("times out when the headers are late", async () => {
    const model = await serve({ rules: [{ reply: { text: "x", headerDelayMs: 3_600_000 } }] });
    await expect(collect(openai(model, { timeout: 100 }))).rejects.toThrow(/time/i);
    expect((await model.waitForCall((call) => call.outcome === "clientClosed")).tokens).toBe(0);
  });

  it("shows missing usage as none", async () => {
    const model = await serve({ rules: [{ reply: { text: "x", usage: "Missing" } }] });
    expect((await collect(openai(model))).usage_metadata).toBeUndefined();
  });

  it("gets truncated text without a finish reason from a stream that ends early", async () => {
    const model = await serve({ rules: [{ reply: { text: "hello world", endAfterTokens: 2 } }] });
    const message = await collect(openai(model));
    expect(message.text).toBe("hello wo");
    expect(message.response_metadata["finish_reason"]).toBeUndefined();
  });

  it("gets structured output by response_format", async () => {
    const model = await serve({ rules: [{ reply: { structured: { n: 3 } } }] });
    const schema = z.object({ n: z.number() });
    const parsed = await openai(model).withStructuredOutput(schema, { method: "jsonSchema", name: "Out" }).invoke("x");
    expect(parsed).toEqual({ n: 3 });
  });
});
