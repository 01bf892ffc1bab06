import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { AIMessage, HumanMessage, SystemMessage, ToolMessage, type BaseMessage } from "@langchain/core/messages";
import { describe, expect, test } from "vitest";
import { createModel, projectionOf } from "../../../src/adapters/langchain/models.ts";
import { digestOf, exampleMessages, exampleTools, type ExampleOptions } from "./example-request.ts";
import { modelSpec } from "./agent-run.ts";

const providers = ["openai", "anthropic"];

describe.each(providers)("the request digest of %s", (provider) => {
  const digest = (options: ExampleOptions = {}): Promise<string> => digestOf({ provider, ...options });

  test("is equal for random message and call ids, response metadata and usage", async () => {
    expect(await digest({ ids: "x", metadata: { system_fingerprint: "a" } })).toBe(
      await digest({ ids: "y", metadata: { system_fingerprint: "b" } }),
    );
  });

  test("is equal in another process", async () => {
    const script = fileURLToPath(new URL("./example-request.ts", import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, [script, provider], {
      env: { ...process.env, OPENAI_BASE_URL: "http://other.invalid", LC_OUTPUT_VERSION: "v1" },
    });
    expect(stdout.trim()).toBe(await digest({ ids: "here" }));
  });

  test("is equal whatever the endpoint and the key", async () => {
    expect(await digest({ baseURL: "http://a.invalid/v1" })).toBe(await digest({ baseURL: "http://b.invalid/v1" }));
  });

  test("is equal with and without OAO's own output cap", async () => {
    expect(await digest({ callOptions: { oaoOutputCap: 5 } })).toBe(await digest());
  });

  test.each<[string, ExampleOptions]>([
    ["a text", { prompt: "Other." }],
    ["the system prompt", { system: "Other." }],
    ["the temperature", { parameters: { temperature: 0.5 } }],
    ["the output cap of the user", { parameters: { maxTokens: 99 } }],
    ["the model", { model: "other" }],
    ["a tool's description", { tools: exampleTools({ description: "Other." }) }],
    ["the order of tools", { tools: exampleTools().toReversed() }],
    ["the number of tools", { tools: exampleTools().slice(1) }],
    ["a tool result's text", { result: "other" }],
    ["the order of tool results", { swapResults: true }],
    ["a call's arguments", { args: { q: "other" } }],
    ["the tool choice", { callOptions: { tool_choice: "any" } }],
  ])("is different for another %s", async (_, options) => {
    expect(await digest(options)).not.toBe(await digest());
  });
});

describe("the projection", () => {
  test.each(providers)(
    "of %s keeps what it made of a message, and sees when the message or its place changes",
    async (provider) => {
      const spec = modelSpec("http://a.invalid/v1", { provider });
      const model = await createModel(spec, { apiKey: "k" });
      const projection = await projectionOf(spec);
      const fresh = async (messages: BaseMessage[]) => (await projectionOf(spec)).messages(model, messages);
      const messages = exampleMessages({ ids: "x" });
      const before = projection.messages(model, messages);
      const again = projection.messages(model, [...messages, new HumanMessage("More.")]);
      for (const [index, message] of before.entries()) expect(again[index]).toBe(message);
      messages[1]!.content = "Other.";
      messages[2]!.name = "other";
      expect(projection.messages(model, messages)).toEqual(await fresh(messages));
      expect(projection.messages(model, messages)).not.toEqual(before);
      const shorter = messages.slice(1);
      expect(projection.messages(model, shorter)).toEqual(await fresh(shorter));
    },
  );

  test("of openai is the wire form with positions for ids and parsed arguments", async () => {
    const spec = modelSpec("http://a.invalid/v1", { parameters: { temperature: 0.5, seed: 7, maxTokens: 9 } });
    const projection = await projectionOf(spec);
    const model = await createModel(spec, { apiKey: "k" });
    expect(projection.header(model, {})).toEqual({
      v: 1,
      form: "openai-chat",
      request: { model: "scripted", temperature: 0.5, seed: 7, max_tokens: 9 },
    });
    expect(projection.messages(model, exampleMessages({ ids: "x" }))).toEqual([
      { role: "system", content: "Be short." },
      { role: "user", content: "Write." },
      {
        role: "assistant",
        name: "model",
        content: "",
        tool_calls: [
          { id: "m2.0", type: "function", function: { name: "find", arguments: { q: "a" } } },
          { id: "m2.1", type: "function", function: { name: "find", arguments: { q: "b" } } },
        ],
      },
      { role: "tool", name: "find", content: "found", tool_call_id: "m2.0" },
      { role: "tool", name: "find", content: "found b", tool_call_id: "m2.1" },
    ]);
  });

  test("of other providers is OAO's own, equal for streamed blocks and plain text", async () => {
    const spec = modelSpec("http://a.invalid", { provider: "anthropic" });
    const projection = await projectionOf(spec);
    const model = await createModel(spec, { apiKey: "k" });
    const streamed: BaseMessage[] = [
      new SystemMessage("Be short."),
      new HumanMessage("Write."),
      new AIMessage({
        content: [
          { type: "text", text: "I ", index: 0 },
          { type: "text", text: "look.", index: 0 },
          { type: "tool_use", id: "x", name: "find", input: '{"q":"a"}', index: 1 },
        ],
        tool_calls: [{ id: "x", name: "find", args: { q: "a" } }],
      }),
      new ToolMessage({ content: "found", name: "find", tool_call_id: "x" }),
    ];
    expect(projection.messages(model, streamed)).toEqual([
      { role: "system", content: "Be short." },
      { role: "human", content: "Write." },
      { role: "ai", content: "I look.", calls: [{ id: "m2.0", name: "find", args: { q: "a" } }] },
      { role: "tool", name: "find", content: "found", call: "m2.0" },
    ]);
  });
});
