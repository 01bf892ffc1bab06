import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { makeLiveCall } from "../../../src/adapters/langchain/live-call.ts";
import { createModel } from "../../../src/adapters/langchain/models.ts";
import { CallFailure, type LiveCall, type ModelAnswer } from "../../../src/ports/step.ts";
import type { ModelSpec } from "../../../src/api/execution.ts";
import { HumanMessage } from "@langchain/core/messages";
import { modelSpec } from "./agent-run.ts";
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

const open: ModelServer[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close()));
});

async function serve(...handlers: Handler[]): Promise<ModelServer> {
  const server = await startServer(...handlers);
  open.push(server);
  return server;
}

interface Options {
  readonly call?: Partial<LiveCall>;
  readonly spec?: Partial<ModelSpec>;
  readonly idleTimeoutMs?: number;
  readonly signal?: AbortSignal;
  readonly declaredOutputCap?: number;
}

async function ask(baseURL: string, options: Options = {}): Promise<ModelAnswer> {
  const bound = await createModel(modelSpec(baseURL, options.spec), { apiKey: "test-key" });
  return makeLiveCall(
    {
      bound,
      messages: [new HumanMessage("Write.")],
      callOptions: {},
      signal: options.signal,
      idleTimeoutMs: options.idleTimeoutMs ?? 60_000,
      declaredOutputCap: options.declaredOutputCap,
      secrets: ["test-key"],
    },
    {
      signal: new AbortController().signal,
      outputCap: undefined,
      meter: () => Promise.resolve(),
      idempotencyKey: "key",
      ...options.call,
    },
  );
}

async function failureOf(answering: Promise<unknown>): Promise<CallFailure> {
  const error = await answering.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(CallFailure);
  return error as CallFailure;
}

describe("metering", () => {
  test("sees all billed text: content, reasoning, refusals, names and arguments of calls", async () => {
    const server = await serve(
      answer({
        deltas: [
          { reasoning_content: "think " },
          { reasoning: "more " },
          { content: "say " },
          { refusal: "no " },
          { tool_calls: [{ index: 0, id: "c", type: "function", function: { name: "find ", arguments: "" } }] },
          { tool_calls: [{ index: 0, function: { arguments: '{"q":' } }] },
          { tool_calls: [{ index: 0, function: { arguments: "1}" } }] },
        ],
      }),
    );
    const metered: string[] = [];
    await ask(server.baseURL, { call: { meter: (piece) => Promise.resolve(void metered.push(piece)) } });
    expect(metered).toEqual(["think ", "more ", "say ", "no ", "find ", '{"q":', "1}"]);
  });

  test("a refused chunk closes the socket and ends the call with the meter's own reason", async () => {
    const server = await serve((response) => {
      sendHead(response);
      for (const content of ["one ", "two "]) sendDelta(response, { role: "assistant", content });
    });
    const reason = new Error("Max Token Limit Exceeded");
    const metered: string[] = [];
    const failed = await ask(server.baseURL, {
      call: {
        meter: (piece) => {
          metered.push(piece);
          return metered.length === 2 ? Promise.reject(reason) : Promise.resolve();
        },
      },
    }).catch((error: unknown) => error);
    expect(failed).toBe(reason);
    expect(metered).toEqual(["one ", "two "]);
    await server.seen[0]?.closed;
  });

  test("hands nothing on while an earlier piece is not bought", async () => {
    const server = await serve(text("one ", "two ", "three "));
    const events: string[] = [];
    await ask(server.baseURL, {
      call: {
        meter: async (piece) => {
          events.push(`ask ${piece}`);
          await new Promise((resolve) => setImmediate(resolve));
          events.push(`bought ${piece}`);
        },
      },
    });
    expect(events).toEqual(["one ", "two ", "three "].flatMap((piece) => [`ask ${piece}`, `bought ${piece}`]));
  });

  test("waiting in the meter is not the provider's silence", async () => {
    const server = await serve(text("one ", "two "));
    const answered = await ask(server.baseURL, {
      idleTimeoutMs: 150,
      call: { meter: () => new Promise((resolve) => void setTimeout(resolve, 250)) },
    });
    expect(answered.message["content"]).toBe("one two ");
  });
});

describe("cutting", () => {
  test.each(["before the headers", "in the stream"])(
    "OAO's signal closes the socket %s and its reason is thrown as it is",
    async (where) => {
      const cut = new AbortController();
      const reason = new Error("cut by OAO");
      const server = await serve((response) => {
        if (where === "in the stream") {
          sendHead(response);
          sendDelta(response, { role: "assistant", content: "one " });
        } else cut.abort(reason);
      });
      const failed = await ask(server.baseURL, {
        call: {
          signal: cut.signal,
          meter: () => Promise.resolve(cut.abort(reason)),
        },
      }).catch((error: unknown) => error);
      expect(failed).toBe(reason);
      await server.seen[0]?.closed;
    },
  );

  test("the caller's signal closes the socket too", async () => {
    const stop = new AbortController();
    const server = await serve((response) => {
      sendHead(response);
      sendDelta(response, { role: "assistant", content: "one " });
    });
    const reason = new Error("stopped");
    const failed = await ask(server.baseURL, {
      signal: stop.signal,
      call: { meter: () => Promise.resolve(stop.abort(reason)) },
    }).catch((error: unknown) => error);
    expect(failed).toBe(reason);
    await server.seen[0]?.closed;
  });

  test("a call cut before it began makes no request", async () => {
    const server = await serve(text("never"));
    const reason = new Error("cut by OAO");
    const failed = await ask(server.baseURL, { call: { signal: AbortSignal.abort(reason) } }).catch(
      (error: unknown) => error,
    );
    expect(failed).toBe(reason);
    expect(server.seen).toHaveLength(0);
  });
});

describe("broken answers", () => {
  test("a stream cut in the middle is a NetworkFailure", async () => {
    const server = await serve((response) => {
      sendHead(response);
      sendDelta(response, { role: "assistant", content: "one " });
      response.write("", () => response.destroy());
    });
    expect(await failureOf(ask(server.baseURL))).toMatchObject({ failureClass: "NetworkFailure", sent: true });
    expect(server.seen).toHaveLength(1);
  });

  test.each([
    ["after some text", answer({ deltas: [{ content: "half an ans" }], finish: null })],
    ["at once", answer({ deltas: [], finish: null, usage: null })],
  ])("a stream that ends cleanly %s without a finish reason is a NetworkFailure", async (_, handler) => {
    const server = await serve(handler);
    expect(await failureOf(ask(server.baseURL))).toMatchObject({
      failureClass: "NetworkFailure",
      message: expect.stringContaining("without a finish reason"),
    });
  });

  test.each(["before its headers", "after its headers", "after some text"])(
    "a provider that falls silent %s is a Timeout, and its socket is closed",
    async (when) => {
      const server = await serve((response) => {
        if (when !== "before its headers") sendHead(response);
        if (when === "after its headers") response.flushHeaders();
        if (when === "after some text") sendDelta(response, { role: "assistant", content: "one " });
      });
      expect(await failureOf(ask(server.baseURL, { idleTimeoutMs: 150 }))).toMatchObject({
        failureClass: "Timeout",
        message: "the model server sent nothing for 150 ms",
      });
      await server.seen[0]?.closed;
    },
  );

  test.each([
    ["rate_limit_exceeded", "RateLimit"],
    ["insufficient_quota", "QuotaExhausted"],
    ["server_error", "NetworkFailure"],
    ["context_length_exceeded", "InvalidRequest"],
  ])("an error event %s inside the stream is a %s", async (code, failureClass) => {
    const server = await serve((response) => {
      sendHead(response);
      sendDelta(response, { role: "assistant", content: "one " });
      response.end(`data: ${JSON.stringify({ error: { code, message: "later" } })}\n\n`);
    });
    expect(await failureOf(ask(server.baseURL))).toMatchObject({ failureClass });
  });

  test("what is no event is a NetworkFailure", async () => {
    const server = await serve((response) => {
      sendHead(response);
      response.end("data: {broken\n\n");
    });
    expect(await failureOf(ask(server.baseURL))).toMatchObject({ failureClass: "NetworkFailure" });
  });
});

describe("what is no model server's answer", () => {
  test("a page says its address, its type and how it begins, and no key", async () => {
    const server = await serve((response) => {
      response.writeHead(200, { "content-type": "text/html; charset=utf-8" });
      response.end(`<!doctype html><title>Welcome</title>${"x".repeat(100_000)}`);
    });
    const failure = await failureOf(ask(server.baseURL));
    expect(failure.failureClass).toBe("InvalidAnswer");
    expect(failure.message).toContain(`${server.baseURL}/chat/completions answered 200 as text/html`);
    expect(failure.message).toContain("<!doctype html><title>Welcome</title>");
    expect(failure.message).toContain("check baseURL");
    expect(failure.message.length).toBeLessThan(400);
    expect(server.seen).toHaveLength(1);
  });

  test.each(["openai", "anthropic"])("an empty answer of %s is named as one", async (provider) => {
    const server = await serve((response) => {
      response.writeHead(200);
      response.end();
    });
    expect(await failureOf(ask(server.baseURL, { spec: { provider } }))).toMatchObject({
      failureClass: "InvalidAnswer",
      message: expect.stringContaining("answered 200 without a content type: an empty body"),
    });
  });

  test("a line without an end is cut off long before it fills the memory", async () => {
    const piece = Buffer.alloc(1024 * 1024, "a");
    let written = 0;
    const server = await serve((response) => {
      sendHead(response);
      sendDelta(response, { role: "assistant", content: "one " });
      response.write("data: ");
      const more = (): void => {
        if (response.destroyed) return;
        written += piece.length;
        response.write(piece, more);
      };
      more();
    });
    expect(await failureOf(ask(server.baseURL))).toMatchObject({
      failureClass: "InvalidAnswer",
      message: `the model server sent a line of more than ${16 * 1024 * 1024} bytes`,
    });
    await server.seen[0]?.closed;
    expect(written).toBeLessThan(64 * 1024 * 1024);
  });
});

describe("refused requests", () => {
  test.each([
    [400, { error: { message: "bad" } }, "InvalidRequest"],
    [401, { error: { message: "bad" } }, "InvalidRequest"],
    [402, { error: { message: "pay" } }, "QuotaExhausted"],
    [403, { error: { message: "bad" } }, "InvalidRequest"],
    [404, { error: { message: "bad" } }, "InvalidRequest"],
    [408, { error: { message: "slow" } }, "Timeout"],
    [409, { error: { message: "busy" } }, "NetworkFailure"],
    [422, { error: { message: "bad" } }, "InvalidRequest"],
    [429, { error: { message: "slow down" } }, "RateLimit"],
    [429, { error: { message: "no money", code: "insufficient_quota" } }, "QuotaExhausted"],
    [500, { error: { message: "oops" } }, "NetworkFailure"],
    [503, { error: { message: "oops" } }, "NetworkFailure"],
    [529, { error: { message: "overloaded" } }, "NetworkFailure"],
  ])("status %d %j is %s, and is asked once", async (status, body, failureClass) => {
    const server = await serve(failure(status, body));
    expect(await failureOf(ask(server.baseURL))).toMatchObject({ failureClass, sent: true, retryAfterMs: undefined });
    expect(server.seen).toHaveLength(1);
  });

  test.each(["openai", "anthropic"])(
    "Retry-After of %s comes through in milliseconds, and the call is made once",
    async (provider) => {
      const server = await serve(failure(429, { error: { message: "slow down" } }, { "retry-after": "7" }));
      const failed = await failureOf(ask(server.baseURL, { spec: { provider } }));
      expect(failed).toMatchObject({ failureClass: "RateLimit", retryAfterMs: 7_000 });
      expect(server.seen).toHaveLength(1);
    },
  );

  test("a refused connection and an unknown host were surely not sent", async () => {
    const probe = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => probe.once("listening", resolve));
    const { port } = probe.address() as AddressInfo;
    await new Promise((resolve) => probe.close(resolve));
    for (const url of [`http://127.0.0.1:${port}/v1`, "http://nowhere.invalid/v1"]) {
      expect(await failureOf(ask(url))).toMatchObject({ failureClass: "NetworkFailure", sent: false });
    }
  });

  test("the key never appears in the failure, even when the server repeats it", async () => {
    const server = await serve(
      failure(401, {
        error: {
          message: "Incorrect API key provided: test-key. Authorization: Bearer abc.def, sk-proj-0123456789abcdef",
        },
      }),
    );
    const failed = await failureOf(ask(server.baseURL));
    expect(server.seen[0]?.headers.authorization).toBe("Bearer test-key");
    expect(failed.message).toBe(
      "401 Incorrect API key provided: [redacted]. Authorization: Bearer [redacted], [redacted]",
    );
    expect(JSON.stringify(failed, Object.getOwnPropertyNames(failed))).not.toContain("test-key");
  });
});

describe("usage", () => {
  test.each([
    ["as reported", { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 }, { input: 3, output: 2, total: 5 }],
    ["zero", { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 }, { input: 0, output: 0, total: 0 }],
    ["missing", null, undefined],
    // LangChain's merging makes zeros of what is no number: the estimate stands for those too.
    ["no numbers", { prompt_tokens: "many", completion_tokens: null }, { input: undefined, output: 0, total: 0 }],
  ])("%s", async (_, usage, expected) => {
    const server = await serve(answer({ deltas: [{ content: "one" }], usage }));
    expect((await ask(server.baseURL)).usage).toEqual(expected);
  });

  test("counts once when a server repeats its running usage in every chunk", async () => {
    const server = await serve((response) => {
      sendHead(response);
      for (const [at, content] of ["one ", "two "].entries()) {
        const usage = { prompt_tokens: 3, completion_tokens: at + 1, total_tokens: at + 4 };
        response.write(
          `data: ${JSON.stringify({ id: "c", model: "m", choices: [{ index: 0, delta: { role: "assistant", content }, finish_reason: at === 1 ? "stop" : null }], usage })}\n\n`,
        );
      }
      response.end("data: [DONE]\n\n");
    });
    const answered = await ask(server.baseURL);
    expect(answered.usage).toEqual({ input: 3, output: 2, total: 5 });
    expect(answered.message["response_metadata"]).not.toHaveProperty("usage");
  });
});

describe("the Anthropic API", () => {
  const events =
    (...list: Record<string, unknown>[]): Handler =>
    (response) => {
      sendHead(response);
      for (const event of list) response.write(`event: ${String(event["type"])}\ndata: ${JSON.stringify(event)}\n\n`);
      response.end();
    };
  const start = {
    type: "message_start",
    message: {
      id: "m",
      type: "message",
      role: "assistant",
      model: "x",
      content: [],
      usage: { input_tokens: 25, output_tokens: 1 },
    },
  };
  const block = (index: number, content_block: object, ...deltas: object[]): Record<string, unknown>[] => [
    { type: "content_block_start", index, content_block },
    ...deltas.map((delta) => ({ type: "content_block_delta", index, delta })),
    { type: "content_block_stop", index },
  ];
  const body = [
    ...block(
      0,
      { type: "thinking", thinking: "" },
      { type: "thinking_delta", thinking: "think " },
      { type: "signature_delta", signature: "s" },
    ),
    ...block(1, { type: "text", text: "" }, { type: "text_delta", text: "say " }),
    ...block(
      2,
      { type: "tool_use", id: "t", name: "find ", input: {} },
      { type: "input_json_delta", partial_json: '{"q":' },
      { type: "input_json_delta", partial_json: "1}" },
    ),
  ];
  const end = (reason: string | null, output_tokens: number): Record<string, unknown> => ({
    type: "message_delta",
    delta: { stop_reason: reason },
    usage: { output_tokens },
  });

  test("is metered like any other, and its running totals are counted once", async () => {
    const server = await serve(events(start, ...body, end(null, 9), end("tool_use", 15), { type: "message_stop" }));
    const metered: string[] = [];
    const answered = await ask(server.baseURL, {
      spec: {
        provider: "anthropic",
        parameters: { thinking: { type: "enabled", budget_tokens: 1024 }, maxTokens: 2048 },
      },
      call: { meter: (piece) => Promise.resolve(void metered.push(piece)) },
    });
    expect(metered).toEqual(["think ", "say ", "find ", '{"q":', "1}"]);
    expect(answered.usage).toEqual({ input: 25, output: 15, total: 40 });
    expect(answered.message).toMatchObject({
      tool_calls: [{ id: "t", name: "find ", args: { q: 1 } }],
      response_metadata: { finish_reason: "tool_use" },
    });
  });

  test("does not get away with an answer that just ends", async () => {
    const server = await serve(
      events(start, ...block(0, { type: "text", text: "" }, { type: "text_delta", text: "half" })),
    );
    expect(await failureOf(ask(server.baseURL, { spec: { provider: "anthropic" } }))).toMatchObject({
      failureClass: "NetworkFailure",
    });
  });

  test.each([
    ["overloaded_error", "NetworkFailure"],
    ["rate_limit_error", "RateLimit"],
    ["invalid_request_error", "InvalidRequest"],
  ])("an error event %s is a %s", async (type, failureClass) => {
    const server = await serve(events(start, { type: "error", error: { type, message: "later" } }));
    expect(await failureOf(ask(server.baseURL, { spec: { provider: "anthropic" } }))).toMatchObject({ failureClass });
  });

  test("keeps a cap that exceeds the thinking budget", async () => {
    const server = await serve(events(start, end("end_turn", 2), { type: "message_stop" }));
    const spec = {
      provider: "anthropic",
      parameters: { thinking: { type: "enabled", budget_tokens: 1024 }, maxTokens: 2048 },
    };
    await ask(server.baseURL, { spec, call: { outputCap: 500 } });
    await ask(server.baseURL, { spec, call: { outputCap: 1500 } });
    expect(server.seen.map((seen) => seen.body["max_tokens"])).toEqual([2048, 1500]);
  });
});

describe("the output cap", () => {
  test.each([
    ["alone", undefined, 50, { max_tokens: 50 }],
    ["below the user's", { maxTokens: 80 }, 50, { max_tokens: 50 }],
    ["above the user's", { max_tokens: 20 }, 50, { max_tokens: 20 }],
    ["none", { maxTokens: 80 }, undefined, { max_tokens: 80 }],
  ])("%s", async (_, parameters, outputCap, expected) => {
    const server = await serve(text("one"));
    await ask(server.baseURL, { ...(parameters && { spec: { parameters } }), call: { outputCap } });
    expect(server.seen[0]?.body).toMatchObject(expected);
  });

  test("goes under the name that reasoning models want", async () => {
    const server = await serve(text("one"));
    await ask(server.baseURL, { spec: { model: "o3-mini" }, call: { outputCap: 50 } });
    expect(server.seen[0]?.body).toMatchObject({ max_completion_tokens: 50 });
    expect(server.seen[0]?.body).not.toHaveProperty("max_tokens");
  });

  test("an answer that ends at OAO's cap says so; one that ends at the user's does not", async () => {
    const server = await serve(answer({ deltas: [{ content: "one" }], finish: "length" }));
    expect(await ask(server.baseURL, { call: { outputCap: 50 } })).toMatchObject({ truncatedByCap: true });
    expect(await ask(server.baseURL, { call: { outputCap: 50 }, declaredOutputCap: 50 })).not.toHaveProperty(
      "truncatedByCap",
    );
  });
});

describe("the frozen message", () => {
  test("is plain JSON with repaired text and no completed arguments", async () => {
    const server = await serve(
      calls(
        { name: "find", args: '{"q":"\\ud83d"}', id: "a" },
        { name: "find", args: '{"q":"hal', id: "b" },
        { name: "now", args: "", id: "c" },
      ),
    );
    const { message } = await ask(server.baseURL);
    expect(message).toMatchObject({
      content: "",
      tool_calls: [
        { type: "tool_call", id: "a", name: "find", args: { q: "\ufffd" } },
        { type: "tool_call", id: "c", name: "now", args: {} },
      ],
      invalid_tool_calls: [{ type: "invalid_tool_call", id: "b", name: "find", args: '{"q":"hal' }],
      response_metadata: { finish_reason: "tool_calls" },
    });
    expect(message).not.toHaveProperty("lc");
    expect(message["additional_kwargs"]).toEqual({});
  });

  test("holds whatever came first when a server names no role", async () => {
    const server = await serve((response) => {
      sendHead(response);
      sendDelta(response, { content: "one " });
      sendDelta(response, { content: "two" }, "c", "stop");
      response.end("data: [DONE]\n\n");
    });
    expect((await ask(server.baseURL)).message["content"]).toBe("one two");
  });
});
