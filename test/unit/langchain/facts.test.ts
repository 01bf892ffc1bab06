/** What OAO relies on, or guards against, in the installed LangChain. A new version that changes one of these shows here. */
import { awaitAllCallbacks } from "@langchain/core/callbacks/promises";
import {
  AIMessage,
  type AIMessageChunk,
  type BaseMessage,
  HumanMessage,
  ToolMessage,
  type UsageMetadata,
} from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { ChatOpenAI, type ChatOpenAICompletions } from "@langchain/openai";
import { createAgent, createMiddleware, toolStrategy } from "langchain";
import { afterEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { openAiProjection } from "../../../src/adapters/langchain/openai.ts";
import { modelRequestDigest } from "../../../src/core/steps/identity.ts";
import { run, toolOf } from "./agent-run.ts";
import {
  answer,
  calls,
  failure,
  type Handler,
  type ModelServer,
  sendDelta,
  sendHead,
  startServer,
  text,
} from "./model-server.ts";
import { RecordingScope } from "./recording-scope.ts";

const open: ModelServer[] = [];
afterEach(async () => {
  vi.restoreAllMocks();
  await Promise.all(open.splice(0).map((server) => server.close()));
});

async function serve(...handlers: Handler[]): Promise<ModelServer> {
  const server = await startServer(...handlers);
  open.push(server);
  return server;
}

function chat(baseURL: string, more: object = {}): ChatOpenAI {
  return new ChatOpenAI({
    model: "scripted",
    apiKey: "k",
    maxRetries: 0,
    configuration: { baseURL, logLevel: "off" },
    ...more,
  });
}

async function errorOf(promise: Promise<unknown>): Promise<Record<string, unknown> & Error> {
  return promise.then(
    () => expect.unreachable("should have failed"),
    (error: unknown) => error as Record<string, unknown> & Error,
  );
}

async function drain(stream: Promise<AsyncIterable<AIMessageChunk>>): Promise<AIMessageChunk> {
  let whole: AIMessageChunk | undefined;
  for await (const chunk of await stream) whole = whole === undefined ? chunk : whole.concat(chunk);
  return whole!;
}

const find = (make: () => unknown = () => "found") =>
  tool(() => make() as string, { name: "find", description: "Finds.", schema: z.object({ q: z.string() }) });
const brief = { type: "object" as const, properties: { headline: { type: "string" } }, required: ["headline"] };
const answers = { name: "extract-1", args: '{"headline":"x"}' };

describe("a recording model, not a recorded message", () => {
  test("a message returned by wrapModelCall loses structured output silently", async () => {
    const recorded = new AIMessage({
      content: "",
      tool_calls: [{ id: "a", name: "extract-1", args: { headline: "x" } }],
    });
    const agent = createAgent({
      model: chat("http://127.0.0.1:9/v1"),
      responseFormat: toolStrategy([{ ...brief, title: "extract-1" }]),
      middleware: [createMiddleware({ name: "recorded", wrapModelCall: () => recorded })],
    });
    const state = (await agent.invoke({ messages: [new HumanMessage("x")] })) as { structuredResponse?: unknown };
    expect(state.structuredResponse).toBeUndefined();
  });

  test("a structured answer comes out of the handler as structuredResponse and messages, not as a message", async () => {
    const server = await serve(calls(answers));
    let handled: unknown;
    const agent = createAgent({
      model: chat(server.baseURL),
      responseFormat: toolStrategy([{ ...brief, title: "extract-1" }]),
      middleware: [
        createMiddleware({
          name: "look",
          wrapModelCall: async (request, handler) => (handled = await handler(request)),
        }),
      ],
    });
    await agent.invoke({ messages: [new HumanMessage("x")] });
    expect(AIMessage.isInstance(handled)).toBe(false);
    expect(Object.keys(handled as object).toSorted()).toEqual(["messages", "structuredResponse"]);
  });

  test("errors thrown in a new-token callback are swallowed", async () => {
    const server = await serve(text("one ", "two"));
    let thrown = 0;
    const callbacks = [
      {
        handleLLMNewToken: () => {
          thrown += 1;
          throw new Error("over budget");
        },
      },
    ];
    vi.spyOn(console, "warn").mockReturnValue(undefined);
    const whole = await drain(chat(server.baseURL).stream("x", { callbacks }));
    await awaitAllCallbacks();
    expect(thrown).toBeGreaterThan(0);
    expect(whole.text).toBe("one two");
  });
});

describe("what differs between two equal runs", () => {
  test("two runs against a server with random ids make requests with equal digests and different bytes", async () => {
    const script = [
      calls({ name: "find", args: '{"q":"a"}' }, { name: "find", args: '{"q":"b"}' }),
      calls({ name: "extract-1", args: '{"wrong":1}' }),
      calls(answers),
    ];
    const runs = await Promise.all(
      [1, 2].map(async () => {
        const server = await serve(...script);
        const scope = new RecordingScope({ tools: { find: () => "found" } });
        await run(server.baseURL, scope, { tools: [toolOf("find")], outputSchema: brief });
        return {
          digests: scope.requests.map(({ header, messages }) => modelRequestDigest(header, messages).digest),
          wire: JSON.stringify(server.seen.map(({ body }) => body)),
        };
      }),
    );
    expect(runs[0]?.digests).toHaveLength(3);
    expect(runs[0]?.digests).toEqual(runs[1]?.digests);
    expect(runs[0]?.wire).not.toBe(runs[1]?.wire);
  });

  test("the projected header and messages are what goes over the wire", async () => {
    const server = await serve(calls({ name: "find", args: '{"q":"a"}' }), text("done"));
    const scope = new RecordingScope({ tools: { find: () => "found" } });
    await run(server.baseURL, scope, { tools: [toolOf("find")] });
    const {
      messages,
      stream: _,
      stream_options: __,
      ...rest
    } = server.seen[1]!.body as { messages: Record<string, unknown>[] } & Record<string, unknown>;
    const { header, messages: projected } = scope.requests[1]!;
    expect(header["request"]).toEqual(rest);
    const ids = (list: readonly unknown[]): unknown =>
      JSON.parse(JSON.stringify(list), (field, value: unknown) =>
        field === "id" || field === "tool_call_id"
          ? "id"
          : field === "arguments" && typeof value === "string"
            ? JSON.parse(value)
            : value,
      );
    expect(ids(projected)).toEqual(ids(messages));
  });

  test("invoke and stream are equal under the projection, although their answers differ", async () => {
    const complete: Handler = (response) => {
      const message = {
        role: "assistant",
        content: null,
        tool_calls: [{ id: "a", type: "function", function: { name: "find", arguments: '{"q":"a"}' } }],
      };
      response.writeHead(200, { "content-type": "application/json" });
      response.end(
        JSON.stringify({
          id: "c",
          model: "m",
          choices: [{ index: 0, message, finish_reason: "tool_calls" }],
          usage: {},
        }),
      );
    };
    const server = await serve(complete, calls({ name: "find", args: '{"q":"a"}' }));
    const model = chat(server.baseURL);
    const invoked = await model.invoke("x");
    const streamed = await drain(model.stream("x"));
    expect(Object.keys(invoked.response_metadata).toSorted()).not.toEqual(
      Object.keys(streamed.response_metadata).toSorted(),
    );
    const [one, two] = [invoked, streamed].map((message: BaseMessage) =>
      openAiProjection().messages(model, [
        message,
        new ToolMessage({ content: "y", tool_call_id: (message as AIMessage).tool_calls![0]!.id! }),
      ]),
    );
    expect(one).toEqual(two);
  });

  test("the name 'model' is put on the message after the middleware, and goes on the wire", async () => {
    const server = await serve(calls({ name: "find", args: '{"q":"a"}' }), text("done"));
    const names: unknown[] = [];
    const agent = createAgent({
      model: chat(server.baseURL),
      tools: [find()],
      middleware: [
        createMiddleware({
          name: "look",
          wrapModelCall: async (request, handler) => {
            const message = await handler(request);
            names.push(message.name);
            return message;
          },
        }),
      ],
    });
    await agent.invoke({ messages: [new HumanMessage("x")] });
    expect(names[0]).toBeUndefined();
    expect((server.seen[1]!.body["messages"] as { name?: string }[])[1]?.name).toBe("model");
  });

  test("ChatOpenAI's own invocationParams are not what it streams", () => {
    const model = chat("http://127.0.0.1:9/v1");
    const inner = (model as unknown as { completions: ChatOpenAICompletions }).completions;
    expect(model.invocationParams({})).not.toHaveProperty("stream_options");
    expect(inner.invocationParams({}, { streaming: true })).toHaveProperty("stream_options");
  });

  test("untitled schemas are numbered by the process, anew on each model call for raw zod", async () => {
    const server = await serve((response, seen) => {
      const last = server.seen.length === 3;
      const { name } = (seen.body["tools"] as { function: { name: string } }[])[0]!.function;
      return calls({ name, args: last ? '{"headline":"x"}' : "{}" })(response, seen);
    });
    const agent = createAgent({ model: chat(server.baseURL), responseFormat: z.object({ headline: z.string() }) });
    await agent.invoke({ messages: [new HumanMessage("x")] });
    const names = server.seen.map(({ body }) => (body["tools"] as { function: { name: string } }[])[0]?.function.name);
    expect(new Set(names).size).toBe(3);
    for (const name of names) expect(name).toMatch(/^extract-\d+$/);
  });

  test("LangChain tells the model about wrong arguments with a stack, and so with paths of this machine", async () => {
    const server = await serve(calls({ name: "find", args: '{"q":1}' }), text("done"));
    await createAgent({ model: chat(server.baseURL), tools: [find()] }).invoke({ messages: [new HumanMessage("x")] });
    const messages = server.seen[1]?.body["messages"] as { content: string }[];
    expect(messages.at(-1)?.content).toMatch(/\n\s+at .*node_modules/);
  });

  test("a wrapToolCall that only passes on makes a throwing tool fatal, wrapped in MiddlewareError", async () => {
    const server = await serve(calls({ name: "find", args: '{"q":"a"}' }), text("done"));
    const closed = new Error("the shop is closed");
    const agent = createAgent({
      model: chat(server.baseURL),
      tools: [find(() => Promise.reject(closed))],
      middleware: [createMiddleware({ name: "pass", wrapToolCall: (request, handler) => handler(request) })],
    });
    const error = await errorOf(agent.invoke({ messages: [new HumanMessage("x")] }));
    expect([error, error.cause]).toContain(closed);
  });

  test("LangGraph replaces a message by a later one with the same id", async () => {
    const server = await serve(
      answer({
        id: "same",
        finish: "tool_calls",
        deltas: [
          { tool_calls: [{ index: 0, id: "a", type: "function", function: { name: "find", arguments: '{"q":"a"}' } }] },
        ],
      }),
      answer({ id: "same", deltas: [{ content: "done" }] }),
    );
    const state = await createAgent({ model: chat(server.baseURL), tools: [find()] }).invoke({
      messages: [new HumanMessage("x")],
    });
    expect(state.messages.map((message) => message.getType())).toEqual(["human", "ai", "tool"]);
  });

  test("LangChain completes arguments that were cut, so that a tool would run with half of them", async () => {
    const server = await serve(calls({ name: "find", args: '{"path":"/data/old' }));
    const whole = await drain(chat(server.baseURL).stream("x"));
    expect(whole.tool_calls?.[0]?.args).toEqual({ path: "/data/old" });
  });

  test("a tool named like a structured answer is never run", async () => {
    const server = await serve(calls({ name: "extract-facts", args: "{}" }));
    let ran = false;
    const extract = tool(() => ((ran = true), "x"), { name: "extract-facts", description: "x", schema: z.object({}) });
    await createAgent({ model: chat(server.baseURL), tools: [extract] }).invoke({ messages: [new HumanMessage("x")] });
    expect(ran).toBe(false);
  });
});

describe("errors and retries", () => {
  test("clients retry six times unless they are told not to", () => {
    const retriesOf = (model: unknown): number => (model as { caller: { maxRetries: number } }).caller.maxRetries;
    expect(retriesOf(new ChatOpenAI({ model: "x", apiKey: "k" }))).toBe(6);
    expect(retriesOf(chat("http://127.0.0.1:9/v1"))).toBe(0);
  });

  test("a 429 carries status and headers; an empty account is told apart", async () => {
    const server = await serve(
      failure(429, { error: { message: "slow down" } }, { "retry-after": "3" }),
      failure(429, { error: { message: "no money", code: "insufficient_quota" } }),
    );
    const limited = await errorOf(chat(server.baseURL).stream("x"));
    expect([limited["status"], (limited["headers"] as Headers).get("retry-after")]).toEqual([429, "3"]);
    const empty = await errorOf(chat(server.baseURL).stream("x"));
    expect([empty["status"], empty["rateLimitType"]]).toEqual([429, "stop"]);
  });

  test("names say little: a 500 and a 401 are both called Error, their status tells", async () => {
    const server = await serve(
      failure(500, { error: { message: "oops" } }),
      failure(401, { error: { message: "who" } }),
    );
    const errors = [await errorOf(chat(server.baseURL).stream("x")), await errorOf(chat(server.baseURL).stream("x"))];
    expect(errors.map((error) => [error.name, error["status"]])).toEqual([
      ["Error", 500],
      ["Error", 401],
    ]);
  });

  test("a stream cut in the middle is a TypeError with the socket's code, never retried", async () => {
    const server = await serve((response) => {
      sendHead(response);
      sendDelta(response, { role: "assistant", content: "one " });
      response.write("", () => response.destroy());
    });
    const error = await errorOf(drain(chat(server.baseURL, { maxRetries: 6 }).stream("x")));
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toBe("terminated");
    expect((error.cause as { code: string }).code).toBe("UND_ERR_SOCKET");
    expect(server.seen).toHaveLength(1);
  });

  test("the client's timeout ends with the headers", async () => {
    const server = await serve(
      () => undefined,
      async (response) => {
        sendHead(response);
        response.flushHeaders();
        await new Promise((resolve) => void setTimeout(resolve, 400));
        sendDelta(response, { role: "assistant", content: "late" }, "c", "stop");
        response.end("data: [DONE]\n\n");
      },
    );
    const model = chat(server.baseURL, { timeout: 150 });
    expect((await errorOf(model.stream("x"))).name).toBe("TimeoutError");
    expect((await drain(model.stream("x"))).text).toBe("late");
  });

  test("a stream that ends without a finish reason succeeds with half the text", async () => {
    const server = await serve(answer({ deltas: [{ content: "half an ans" }], finish: null }));
    const whole = await drain(chat(server.baseURL).stream("x"));
    expect(whole.text).toBe("half an ans");
    expect(whole.response_metadata["finish_reason"]).toBeUndefined();
  });
});

describe("usage", () => {
  test("a stream asks for it; what is missing is undefined", async () => {
    const server = await serve(answer({ deltas: [{ content: "x" }], usage: null }));
    const whole = await drain(chat(server.baseURL).stream("x"));
    expect(server.seen[0]?.body["stream_options"]).toEqual({ include_usage: true });
    expect(whole.usage_metadata).toBeUndefined();
  });

  test("invoke makes a truthy object without counts of it", async () => {
    const server = await serve((response) => {
      response.writeHead(200, { "content-type": "application/json" });
      response.end(
        JSON.stringify({
          id: "c",
          model: "m",
          choices: [{ index: 0, message: { role: "assistant", content: "x" }, finish_reason: "stop" }],
        }),
      );
    });
    const usage = (await chat(server.baseURL).invoke("x")).usage_metadata as unknown as Partial<UsageMetadata>;
    expect(usage).toBeTruthy();
    expect(usage.output_tokens).toBeUndefined();
  });
});

describe("traps", () => {
  test("streaming: true with invoke goes out for tokenizer tables", async () => {
    const server = await serve(text("one"));
    const asked = Promise.withResolvers<string>();
    const own = globalThis.fetch;
    globalThis.fetch = (url) => {
      asked.resolve(url instanceof Request ? url.url : url.toString());
      return new Promise(() => undefined);
    };
    try {
      const model = chat(server.baseURL, { streaming: true, configuration: { baseURL: server.baseURL, fetch: own } });
      void model.invoke("x");
      expect(await asked.promise).toMatch(/tiktoken/);
    } finally {
      globalThis.fetch = own;
    }
  });

  test("streaming: false turns streaming off even for stream", async () => {
    const server = await serve(failure(400, {}));
    await errorOf(chat(server.baseURL, { streaming: false }).stream("x"));
    expect(server.seen[0]?.body["stream"]).not.toBe(true);
  });

  test("a model given as 'openai:…' talks to the Responses API", async () => {
    const server = await serve(failure(400, {}));
    const before = { ...process.env };
    Object.assign(process.env, { OPENAI_BASE_URL: server.baseURL, OPENAI_API_KEY: "k" });
    try {
      await errorOf(createAgent({ model: "openai:scripted" }).invoke({ messages: [new HumanMessage("x")] }));
    } finally {
      process.env = before;
    }
    expect(server.seen[0]?.url).toBe("/v1/responses");
  });
});
