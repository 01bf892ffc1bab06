import { type IncomingMessage, request as httpRequest } from "node:http";
import { describe, expect, it } from "vitest";
import { CallLog, type MockCall } from "../../../src/cli/mock-model/calls.ts";
import { ask, chat, chunksOf, payloads, post, serve } from "./harness.ts";

const fullSpeed = { rules: [{ reply: { tokens: 1_000_000 } }] };

describe("chat completions", () => {
  it("answer whole, with usage and finish reason", async () => {
    const model = await serve({ rules: [{ reply: { text: "hello world" } }] });
    const body = await (await chat(model, ask("12345"))).json();
    expect(body).toMatchObject({
      object: "chat.completion",
      model: "gpt-test",
      choices: [{ message: { role: "assistant", content: "hello world" }, finish_reason: "stop" }],
      usage: { prompt_tokens: 2, completion_tokens: 3, total_tokens: 5 },
    });
  });

  it("stream one piece a chunk, then the finish reason, usage when asked, and [DONE]", async () => {
    const model = await serve({ rules: [{ reply: { text: "hello world" } }] });
    const text = await (await chat(model, ask("hi", { stream: true, stream_options: { include_usage: true } }))).text();
    const chunks = chunksOf(text);
    expect(chunks.map((chunk) => chunk.choices[0]?.delta.content)).toEqual([
      "",
      "hell",
      "o wo",
      "rld",
      undefined,
      undefined,
    ]);
    expect(chunks.at(-2)?.choices[0]?.finish_reason).toBe("stop");
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { prompt_tokens: 1, completion_tokens: 3 } });
    expect(payloads(text).at(-1)).toBe("[DONE]");
  });

  it("send no usage in a stream that did not ask for it", async () => {
    const model = await serve({ rules: [{ reply: { text: "x" } }] });
    const text = await (await chat(model, ask("hi", { stream: true }))).text();
    expect(text).not.toContain("usage");
  });

  it("stream parallel tool calls as argument fragments", async () => {
    const toolCalls = [
      { name: "search", arguments: { q: "heat pumps" } },
      { name: "score", arguments: { n: 1 } },
    ];
    const model = await serve({ rules: [{ reply: { toolCalls } }] });
    const chunks = chunksOf(await (await chat(model, ask("hi", { stream: true }))).text());
    const deltas = chunks.flatMap((chunk) => chunk.choices[0]?.delta.tool_calls ?? []);
    expect(deltas.filter((delta) => delta.id !== undefined).map((delta) => delta.function.name)).toEqual([
      "search",
      "score",
    ]);
    const argumentsOf = (index: number): unknown =>
      JSON.parse(
        deltas
          .filter((delta) => delta.index === index)
          .map((delta) => delta.function.arguments)
          .join(""),
      );
    expect([argumentsOf(0), argumentsOf(1)]).toEqual(toolCalls.map((call) => call.arguments));
    expect(deltas.length).toBeGreaterThan(4);
    expect(chunks.at(-1)?.choices[0]?.finish_reason).toBe("tool_calls");
  });

  it("honour the smaller output cap with finish reason length, unless told not to", async () => {
    const model = await serve({
      rules: [{ match: { lastUser: "ignore" }, reply: { tokens: 9, ignoreMaxTokens: true } }, { reply: { tokens: 9 } }],
    });
    const asked = async (text: string) =>
      (await chat(model, ask(text, { max_tokens: 8, max_completion_tokens: 5 }))).json();
    expect(await asked("keep")).toMatchObject({
      choices: [{ finish_reason: "length" }],
      usage: { completion_tokens: 5 },
    });
    expect(await asked("ignore")).toMatchObject({
      choices: [{ finish_reason: "stop" }],
      usage: { completion_tokens: 9 },
    });
    expect(await (await chat(model, ask("exact", { max_tokens: 9 }))).json()).toMatchObject({
      choices: [{ finish_reason: "stop" }],
    });
  });

  it.each([
    ["Zero", { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 }],
    ["Low", { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 }],
    ["High", { prompt_tokens: 10, completion_tokens: 200, total_tokens: 210 }],
    ["Missing", undefined],
    [
      { inputTokens: 7, outputTokens: 8 },
      { prompt_tokens: 7, completion_tokens: 8, total_tokens: 15 },
    ],
  ] as const)("report usage %j", async (usage, expected) => {
    const model = await serve({ rules: [{ reply: { tokens: 20, usage } }] });
    const body = (await (await chat(model, ask("hey"))).json()) as { usage?: object };
    expect(body.usage).toEqual(expected);
  });

  it("carry new ids and fingerprints each time, or counted ones", async () => {
    const ids = async (randomIds: boolean) => {
      const model = await serve({ randomIds, rules: [{ reply: { toolCalls: [{ name: "t" }] } }] });
      const bodies = [await (await chat(model, ask("a"))).text(), await (await chat(model, ask("a"))).text()];
      model.reset();
      return [...bodies, await (await chat(model, ask("a"))).text()];
    };
    const random = await ids(true);
    expect(new Set(random).size).toBe(3);
    const counted = await ids(false);
    expect(counted[2]).toBe(counted[0]);
    expect(counted[1]).not.toBe(counted[0]);
  });
});

describe("rules", () => {
  it("are tried in order, look at the whole conversation, and end after `times`", async () => {
    const model = await serve({
      rules: [
        { match: { times: 1 }, reply: { status: 429, retryAfterSeconds: 3 } },
        { match: { lastTool: "search" }, reply: { text: "tool said $LAST_TOOL_RESULT" } },
        { match: { turn: 1 }, reply: { text: "second" } },
        { match: { system: "chef", prompt: "soup" }, reply: { json: { cook: "$LAST_USER" } } },
        { match: { model: "gpt-*", tools: ["search"] }, reply: { text: "has search" } },
      ],
    });
    const content = async (body: object) => {
      const parsed = (await (await chat(model, body)).json()) as { choices: [{ message: { content: string } }] };
      return parsed.choices[0].message.content;
    };
    const refused = await chat(model, ask("hi"));
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "3"]);
    expect(await refused.json()).toMatchObject({ error: { code: "rate_limit_exceeded", type: "rate_limit_error" } });
    const call = (id: string, name: string) => ({ id, type: "function", function: { name, arguments: "{}" } });
    const asked = [
      { role: "user", content: "go" },
      { role: "assistant", content: null, tool_calls: [call("c1", "search"), call("c2", "other")] },
      { role: "tool", tool_call_id: "c1", content: "one" },
      { role: "tool", tool_call_id: "c2", content: "two" },
    ];
    expect(await content({ model: "m", messages: asked })).toBe("tool said two");
    const later = [...asked.slice(0, 1), { role: "assistant", content: "x" }, { role: "user", content: "on" }];
    expect(await content({ model: "m", messages: later })).toBe("second");
    const cooking = [
      { role: "system", content: "You are a chef" },
      { role: "user", content: [{ type: "text", text: "soup" }] },
      { role: "user", content: "fast" },
    ];
    expect(await content({ model: "m", messages: cooking })).toBe('{"cook":"fast"}');
    expect(await content(ask("hi", { tools: [{ type: "function", function: { name: "search" } }] }))).toBe(
      "has search",
    );
  });

  it("that do not match give a 400 that shows the request and names the script", async () => {
    const model = await serve({ rules: [{ match: { lastUser: "hello", times: 1 }, reply: { text: "x" } }] });
    await chat(model, ask("hello"));
    const response = await chat(model, ask("hello there"));
    expect(response.status).toBe(400);
    const { error } = (await response.json()) as { error: { message: string; code: string } };
    expect(error.code).toBe("no_rule_matches");
    expect(error.message).toContain("No rule of test.yaml (1 rules) matches");
    expect(error.message).toContain('last message from user: "hello there"');
    expect(error.message).toContain("1 would match but reached their `times`");
  });

  it("answer structured output the way the request asks for it", async () => {
    const model = await serve({ rules: [{ reply: { structured: { a: 1 } } }] });
    const tool = (name: string) => ({ type: "function", function: { name } });
    const byTool = await chat(model, ask("x", { tools: [tool("search"), tool("extract-1")] }));
    const called = { name: "extract-1", arguments: '{"a":1}' };
    expect(await byTool.json()).toMatchObject({ choices: [{ message: { tool_calls: [{ function: called }] } }] });
    const chosen = await chat(model, ask("x", { tools: [tool("Out")], tool_choice: tool("Out") }));
    expect(await chosen.json()).toMatchObject({
      choices: [{ message: { tool_calls: [{ function: { name: "Out" } }] } }],
    });
    const byText = await chat(
      model,
      ask("x", { response_format: { type: "json_schema", json_schema: { name: "o" } } }),
    );
    expect(await byText.json()).toMatchObject({ choices: [{ message: { content: '{"a":1}' } }] });
  });
});

describe("faults", () => {
  it("cut the socket after exactly the tokens asked for", async () => {
    const model = await serve({ rules: [{ reply: { tokens: 50, cutAfterTokens: 7 } }] });
    const response = await chat(model, ask("x", { stream: true }));
    let text = "";
    const reading = (async () => {
      for await (const bytes of response.body ?? []) text += Buffer.from(bytes).toString();
    })();
    await expect(reading).rejects.toMatchObject({ message: "terminated", cause: { code: "UND_ERR_SOCKET" } });
    expect(chunksOf(text).filter((chunk) => chunk.choices[0]?.delta.content)).toHaveLength(7);
    expect(model.calls()[0]).toMatchObject({ outcome: "cut", tokens: 7, closedAt: undefined });
  });

  it("cut an answer that is not streamed before its first byte", async () => {
    const model = await serve({ rules: [{ reply: { tokens: 50, cutAfterTokens: 7 } }] });
    await expect(chat(model, ask("x"))).rejects.toMatchObject({ message: "fetch failed" });
  });

  it("end a stream cleanly without finish reason and [DONE]", async () => {
    const model = await serve({ rules: [{ reply: { tokens: 50, endAfterTokens: 3 } }] });
    const text = await (await chat(model, ask("x", { stream: true }))).text();
    expect(text).not.toContain("[DONE]");
    expect(chunksOf(text).map((chunk) => chunk.choices[0]?.finish_reason)).toEqual([null, null, null, null]);
    expect(model.calls()[0]).toMatchObject({ outcome: "ended", tokens: 3 });
  });

  it("send an error event in the stream", async () => {
    const model = await serve({ rules: [{ reply: { tokens: 50, errorAfterTokens: 2 } }] });
    const text = await (await chat(model, ask("x", { stream: true }))).text();
    expect(JSON.parse(payloads(text).at(-1) ?? "")).toMatchObject({ error: { type: "server_error" } });
    expect(model.calls()[0]).toMatchObject({ outcome: "error", tokens: 2 });
  });

  it("stall with the socket open until the client leaves", async () => {
    const model = await serve({ rules: [{ reply: { tokens: 50, stallAfterTokens: 4 } }] });
    const controller = new AbortController();
    await chat(model, ask("x", { stream: true }), { signal: controller.signal });
    const stalled = await model.waitForCall((call) => call.outcome === "stalled");
    expect(stalled).toMatchObject({ tokens: 4, closedAt: undefined });
    controller.abort();
    const left = await model.waitForCall((call) => call.closedAt !== undefined);
    expect(left).toMatchObject({ outcome: "stalled", tokensAtClose: 4 });
  });
});

describe("the record of calls", () => {
  it("lets a test act at the k-th token, and keeps the moment the client left", async () => {
    const model = await serve({ defaults: { delayMsPerToken: 1 }, rules: [{ reply: { tokens: 100_000 } }] });
    const controller = new AbortController();
    model.onToken((call) => {
      if (call.tokens === 20) controller.abort();
    });
    const response = await chat(model, ask("x", { stream: true }), { signal: controller.signal });
    await expect(response.text()).rejects.toThrow("aborted");
    const call = await model.waitForCall((seen) => seen.outcome === "clientClosed");
    expect(call.tokensAtClose).toBe(call.tokens);
    expect(call.tokens).toBeGreaterThanOrEqual(20);
    expect(call.closedAt).toBeGreaterThan(call.lastTokenAt ?? Number.NaN);
    expect(BigInt(call.closedAtMonotonicNs ?? "0")).toBeGreaterThan(0n);
  });

  it("stops writing while a client does not read, and goes on when it does", async () => {
    const model = await serve(fullSpeed);
    const { port } = new URL(model.url);
    const body = JSON.stringify(ask("x", { stream: true }));
    const request = httpRequest({ port, host: "127.0.0.1", method: "POST", path: "/v1/chat/completions" });
    request.end(body);
    const response = await new Promise<IncomingMessage>((resolve) => request.once("response", resolve));
    response.pause();
    // Full when two looks with a whole round trip between them see no progress.
    const progress = async (): Promise<number> => {
      const before = model.calls()[0]?.tokens ?? 0;
      for (let trip = 0; trip < 20; trip += 1) await (await fetch(`${model.baseURL}/models`)).text();
      const after = model.calls()[0]?.tokens ?? 0;
      return after > before ? progress() : after;
    };
    const held = await progress();
    expect(held).toBeLessThan(1_000_000);
    response.resume();
    await model.waitForCall((call) => call.tokens > held + 1000);
    request.destroy();
    expect((await model.waitForCall((call) => call.outcome === "clientClosed")).tokens).toBeGreaterThan(held);
  });

  it("gives equal digests to equal questions whatever their ids and output caps", async () => {
    const model = await serve({ rules: [{ reply: { text: "x" } }] });
    const conversation = (id: string, text: string) => [
      { role: "user", content: "go" },
      {
        role: "assistant",
        content: null,
        tool_calls: [{ id, type: "function", function: { name: "t", arguments: "{}" } }],
      },
      { role: "tool", tool_call_id: id, content: text },
    ];
    await chat(model, { model: "m", messages: conversation("a", "r"), max_tokens: 5 });
    await chat(model, { model: "m", messages: conversation("b", "r"), stream: true });
    await chat(model, { model: "m", messages: conversation("b", "other") });
    const digests = model.calls().map((call) => call.digest);
    expect(digests[0]).toBe(digests[1]);
    expect(digests[2]).not.toBe(digests[0]);
  });

  it("is served over HTTP with reset and a replaceable script", async () => {
    const model = await serve({ rules: [{ match: { times: 1 }, reply: { text: "one" } }] });
    await (await chat(model, ask("x"))).text();
    const calls = async () => (await (await fetch(`${model.url}/_oao/calls`)).json()) as MockCall[];
    expect(await calls()).toMatchObject([
      { index: 0, rule: 1, tokens: 1, outcome: "finished", status: 200, messages: 1 },
    ]);
    await post(`${model.url}/_oao/reset`, {});
    expect(await calls()).toEqual([]);
    expect((await chat(model, ask("x"))).status).toBe(200);
    const put = (text: string) => fetch(`${model.url}/_oao/script`, { method: "PUT", body: text });
    const refused = await put("rules: [{ reply: { txt: a } }]");
    expect(refused.status).toBe(400);
    expect(await refused.text()).toContain("did you mean `text`?");
    expect((await put("rules: [{ match: { model: m1 }, reply: { text: two } }]")).status).toBe(200);
    expect(await (await fetch(`${model.url}/_oao/script`)).json()).toMatchObject({
      rules: [{ reply: { text: "two" } }],
    });
    expect(await (await fetch(`${model.baseURL}/models`)).json()).toMatchObject({
      object: "list",
      data: [{ id: "m1" }],
    });
  });

  it("keeps the newest 10,000", () => {
    const log = new CallLog();
    const fields = { path: "/", model: "m", stream: false, digest: "", messages: 1, maxTokens: undefined };
    for (let index = 0; index < 10_100; index += 1) log.begin(fields);
    expect(log.list()).toHaveLength(10_000);
    expect([log.list()[0]?.index, log.list().at(-1)?.index]).toEqual([100, 10_099]);
  });
});

describe("the server", () => {
  it("refuses bodies above 8 MiB, announced or chunked, bodies that are no JSON, and unknown paths", async () => {
    const model = await serve({ rules: [{ reply: { text: "x" } }] });
    expect((await chat(model, ask("x".repeat(8 * 1024 * 1024)))).status).toBe(413);
    const chunked = new ReadableStream({
      start(controller) {
        for (let mib = 0; mib < 9; mib += 1) controller.enqueue(Buffer.alloc(1024 * 1024, 0x20));
        controller.close();
      },
    });
    const init = { method: "POST", body: chunked, duplex: "half" } as RequestInit;
    expect((await fetch(`${model.baseURL}/chat/completions`, init)).status).toBe(413);
    const broken = await fetch(`${model.baseURL}/chat/completions`, { method: "POST", body: "{" });
    expect([broken.status, await broken.json()]).toMatchObject([400, { error: { type: "invalid_request_error" } }]);
    expect((await chat(model, { model: "m" })).status).toBe(400);
    expect((await fetch(`${model.url}/v2`)).status).toBe(404);
    expect((await chat(model, ask("still here"))).status).toBe(200);
  });

  it("serves a thousand streams at once", async () => {
    const model = await serve({ defaults: { tokensPerSecond: 100 }, rules: [{ reply: { tokens: 20 } }] });
    const answers = await Promise.all(
      Array.from({ length: 1000 }, async () => (await chat(model, ask("x", { stream: true }))).text()),
    );
    expect(answers.filter((text) => !text.endsWith("data: [DONE]\n\n"))).toEqual([]);
    expect(model.calls().filter((call) => call.outcome === "finished" && call.tokens === 20)).toHaveLength(1000);
  }, 60_000);

  it("closes with answers open and rejects who waits", async () => {
    const model = await serve({ defaults: { delayMsPerToken: 3_600_000 }, rules: [{ reply: { tokens: 10 } }] });
    const response = await chat(model, ask("x", { stream: true }));
    await model.waitForCall((call) => call.tokens === 1);
    const waiting = model.waitForCall((call) => call.tokens === 2);
    await Promise.all([
      expect(waiting).rejects.toThrow("closed before a call met the condition"),
      expect(response.text()).rejects.toThrow("terminated"),
      model.close(),
    ]);
    expect(model.calls()[0]).toMatchObject({ outcome: "clientClosed", tokens: 1 });
  });
});
