import { afterEach, describe, expect, test } from "vitest";
import { AgentFailure } from "../../../src/adapters/langchain/failures.ts";
import { RecordedFailure } from "../../../src/ports/step.ts";
import { modelSpec, run, toolOf } from "./agent-run.ts";
import { answer, calls, type Handler, type ModelServer, startServer, text } from "./model-server.ts";
import { RecordingScope } from "./recording-scope.ts";

const open: ModelServer[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close()));
});

async function serve(...handlers: Handler[]): Promise<ModelServer> {
  const server = await startServer(...handlers);
  open.push(server);
  return server;
}

const briefSchema = {
  title: "Market brief",
  type: "object",
  properties: { headline: { type: "string" }, score: { type: "integer" } },
  required: ["headline", "score"],
  additionalProperties: false,
};

describe("an answer that would hold a pattern that backtracks", () => {
  test("is refused at once, and the model is asked again", async () => {
    const of = (name: string) => calls({ name: "extract-1", args: JSON.stringify({ name }) });
    const server = await serve(of(`${"a".repeat(40)}!`), of("aaa"));
    const outputSchema = { type: "object", properties: { name: { type: "string", pattern: "^(a+)+$" } } };
    expect(await run(server.baseURL, new RecordingScope(), { outputSchema })).toEqual({ name: "aaa" });
    expect(server.seen).toHaveLength(2);
  });
});

describe("an agent", () => {
  test("answers with the model's final text", async () => {
    const server = await serve(text("Hel", "lo."));
    const scope = new RecordingScope();
    expect(await run(server.baseURL, scope)).toBe("Hello.");
    expect(scope.entered).toEqual(["0,0"]);
    expect(scope.metered).toEqual(["Hel", "lo."]);
    expect(server.seen[0]?.body["messages"]).toEqual([
      { role: "system", content: "Be short." },
      { role: "user", content: "Write." },
    ]);
  });

  test("hands a tool's text on as it is and other values as canonical JSON", async () => {
    const server = await serve(
      calls({ name: "say", args: '{"q":"a"}' }, { name: "count", args: '{"q":"b"}' }),
      text("done"),
    );
    const scope = new RecordingScope({ tools: { say: () => "plain\ntext", count: () => ({ b: 1, a: [2] }) } });
    expect(await run(server.baseURL, scope, { tools: [toolOf("say"), toolOf("count")] })).toBe("done");
    expect(scope.entered).toEqual(["0,0", "0,1", "0,2", "1,0"]);
    const messages = server.seen[1]?.body["messages"] as { role: string; content: string }[];
    expect(messages.filter(({ role }) => role === "tool").map(({ content }) => content)).toEqual([
      "plain\ntext",
      '{"a":[2],"b":1}',
    ]);
  });

  test("replays byte for byte with the server stopped, whatever order its tools ended in", async () => {
    const names = ["a", "b", "c", "d"];
    const server = await serve(
      calls(...names.map((q) => ({ name: "find", args: JSON.stringify({ q }) }))),
      text("done"),
    );
    const ended: string[] = [];
    const gates = new Map(names.map((name) => [name, Promise.withResolvers<void>()]));
    const started = { count: 0 };
    const scope = new RecordingScope({
      tools: {
        find: async ({ q }: { q: string }) => {
          started.count += 1;
          if (started.count === names.length) gates.get("c")?.resolve();
          await gates.get(q)?.promise;
          ended.push(q);
          const next = { c: "a", a: "d", d: "b" }[q];
          if (next !== undefined) gates.get(next)?.resolve();
          return { found: q };
        },
      },
    });
    const live = await run(server.baseURL, scope, { tools: [toolOf("find")] });
    expect(ended).toEqual(["c", "a", "d", "b"]);
    const sent = server.seen[1]?.body["messages"] as { role: string; content: string }[];
    expect(sent.filter(({ role }) => role === "tool").map(({ content }) => content)).toEqual(
      names.map((found) => JSON.stringify({ found })),
    );
    await server.close();
    const replay = new RecordingScope({ record: scope.steps });
    expect(await run(server.baseURL, replay, { tools: [toolOf("find")] })).toBe(live);
    expect(replay.live).toBe(0);
    expect(replay.bytes()).toBe(scope.bytes());
  });

  test("gives the same structured answer live and replayed, after a retry of a wrong one", async () => {
    const server = await serve(
      calls({ name: "extract-1", args: '{"headline":"x"}' }),
      calls({ name: "extract-1", args: '{"headline":"x","score":3}' }),
    );
    const scope = new RecordingScope();
    const live = await run(server.baseURL, scope, { outputSchema: briefSchema });
    expect(live).toEqual({ headline: "x", score: 3 });
    expect(server.seen[0]?.body["tool_choice"]).toBe("required");
    const retried = server.seen[1]?.body["messages"] as { role: string; content: string }[];
    expect(retried.map(({ role }) => role)).toEqual(["system", "user", "assistant", "tool"]);
    expect(retried.at(-1)?.content).toMatch(/^Failed to parse structured output for tool 'extract-1'/);
    await server.close();
    const replay = new RecordingScope({ record: scope.steps });
    expect(await run(server.baseURL, replay, { outputSchema: briefSchema })).toEqual(live);
    expect(replay.bytes()).toBe(scope.bytes());
  });

  test("asks for a structured answer under the same name in every run of a process", async () => {
    const server = await serve(calls({ name: "extract-1", args: '{"headline":"x","score":3}' }));
    const { title: _, ...untitled } = briefSchema;
    for (const outputSchema of [untitled, untitled, briefSchema]) {
      await run(server.baseURL, new RecordingScope(), { outputSchema });
    }
    const names = server.seen.map(({ body }) => (body["tools"] as { function: { name: string } }[])[0]?.function.name);
    expect(names).toEqual(["extract-1", "extract-1", "extract-1"]);
  });

  test("calls nothing else beside a structured answer, and leaves no call without a result", async () => {
    const server = await serve(
      calls(
        { name: "find", args: '{"q":"a"}' },
        { name: "extract-1", args: '{"headline":"x"}' },
        { name: "extract-1", args: '{"headline":"y"}' },
      ),
      calls({ name: "extract-1", args: '{"headline":"x","score":3}' }),
    );
    const scope = new RecordingScope();
    await run(server.baseURL, scope, { outputSchema: briefSchema, tools: [toolOf("find")] });
    expect(scope.entered).toEqual(["0,0", "1,0"]);
    const messages = server.seen[1]?.body["messages"] as {
      role: string;
      tool_calls?: { id: string }[];
      tool_call_id?: string;
    }[];
    expect(messages.at(-2)?.tool_calls).toHaveLength(1);
    expect(messages.at(-1)?.tool_call_id).toBe(messages.at(-2)?.tool_calls?.[0]?.id);
  });

  test("accepts the object as text from a server that ignores tool_choice, and only when it fits", async () => {
    const server = await serve(text('{"headline":"x","score":3}'), text('{"headline":"x"}'));
    expect(await run(server.baseURL, new RecordingScope(), { outputSchema: briefSchema })).toEqual({
      headline: "x",
      score: 3,
    });
    await expect(run(server.baseURL, new RecordingScope(), { outputSchema: briefSchema })).rejects.toMatchObject({
      name: "AgentFailure",
      failureClass: "NoAnswer",
    });
  });

  test("tells the model about wrong, broken and unknown calls without making a step", async () => {
    const server = await serve(
      calls(
        { name: "find", args: '{"q":1}' },
        { name: "find", args: '{"q":"cut in the mid' },
        { name: "guess", args: "{}" },
        { name: "find", args: '{"q":"ok"}' },
      ),
      text("done"),
    );
    const scope = new RecordingScope({ tools: { find: () => "found" } });
    expect(await run(server.baseURL, scope, { tools: [toolOf("find")] })).toBe("done");
    expect(scope.entered).toEqual(["0,0", "0,3", "1,0"]);
    const messages = server.seen[1]?.body["messages"] as { role: string; content: string }[];
    expect(messages.filter(({ role }) => role === "tool").map(({ content }) => content)).toEqual([
      "Error: the arguments do not fit the tool's schema: arguments/q must be string",
      "Error: there is no tool guess; available: find",
      "found",
      "Error: the arguments are not a JSON object; send them again as valid JSON",
    ]);
    await server.close();
    const replay = new RecordingScope({ record: scope.steps });
    expect(await run(server.baseURL, replay, { tools: [toolOf("find")] })).toBe("done");
    expect(replay.bytes()).toBe(scope.bytes());
  });

  test("tells the model about a tool's recorded failure, without a stack", async () => {
    const server = await serve(calls({ name: "find", args: '{"q":"a"}' }), text("done"));
    const scope = new RecordingScope({
      tools: { find: () => Promise.reject(new RecordedFailure("ToolFailure", "the shop is closed")) },
    });
    expect(await run(server.baseURL, scope, { tools: [toolOf("find")] })).toBe("done");
    const messages = server.seen[1]?.body["messages"] as { content: string }[];
    expect(messages.at(-1)?.content).toBe("Error: the shop is closed");
  });

  test("ends with a violation as it was thrown, once its other tool calls have ended", async () => {
    const server = await serve(
      calls({ name: "slow", args: '{"q":"a"}' }, { name: "stop", args: '{"q":"b"}' }),
      text("never"),
    );
    const violation = new Error("Max Token Limit Exceeded");
    const stopped = Promise.withResolvers<void>();
    let slowEnded = false;
    const scope = new RecordingScope({
      tools: {
        slow: async () => {
          await stopped.promise;
          await new Promise((resolve) => setImmediate(resolve));
          slowEnded = true;
          return "late";
        },
        stop: () => {
          stopped.resolve();
          return Promise.reject(violation);
        },
      },
    });
    const failed = await run(server.baseURL, scope, { tools: [toolOf("slow"), toolOf("stop")] }).catch(
      (error: unknown) => error,
    );
    expect(failed).toBe(violation);
    expect(slowEnded).toBe(true);
    expect(server.seen).toHaveLength(1);
  });

  test("ends with the reason of its signal as it is", async () => {
    const server = await serve(calls({ name: "find", args: '{"q":"a"}' }), text("never"));
    const stop = new AbortController();
    const reason = new Error("suspended by its owner");
    const scope = new RecordingScope({
      tools: {
        find: () => {
          stop.abort(reason);
          return "found";
        },
      },
    });
    const failed = await run(server.baseURL, scope, { tools: [toolOf("find")], signal: stop.signal }).catch(
      (error: unknown) => error,
    );
    expect(failed).toBe(reason);
  });

  test("ends with a violation also when its signal is aborted before the scope could throw it", async () => {
    const stop = new AbortController();
    const violation = new Error("Max Token Limit Exceeded");
    const scope = new RecordingScope();
    scope.model = async () => {
      stop.abort(new Error("stopped"));
      await new Promise((resolve) => setImmediate(resolve));
      throw violation;
    };
    const failed = await run("http://127.0.0.1:9/v1", scope, { signal: stop.signal }).catch((error: unknown) => error);
    expect(failed).toBe(violation);
  });

  test("ends with the recorded failure of a model call as it was thrown", async () => {
    const record = new Map();
    const failure = new RecordedFailure("InvalidRequest", "no such model");
    const scope = new RecordingScope({ record });
    scope.model = () => Promise.reject(failure);
    const failed = await run("http://127.0.0.1:9/v1", scope).catch((error: unknown) => error);
    expect(failed).toBe(failure);
  });

  test("makes maxIterations model calls and no more", async () => {
    const server = await serve(calls({ name: "find", args: '{"q":"a"}' }));
    const scope = new RecordingScope({ tools: { find: () => "found" } });
    const failed = await run(server.baseURL, scope, { tools: [toolOf("find")], maxIterations: 30 }).catch(
      (error: unknown) => error,
    );
    expect(failed).toBeInstanceOf(AgentFailure);
    expect(failed).toMatchObject({ failureClass: "MaxIterations" });
    expect(server.seen).toHaveLength(30);
    const exact = await serve(calls({ name: "find", args: '{"q":"a"}' }), text("done"));
    expect(
      await run(exact.baseURL, new RecordingScope({ tools: { find: () => "found" } }), {
        tools: [toolOf("find")],
        maxIterations: 2,
      }),
    ).toBe("done");
  });

  test("shares no counter with other agents of its process", async () => {
    const script = [
      calls({ name: "find", args: '{"q":"a"}' }),
      calls({ name: "find", args: '{"q":"b"}' }),
      text("done"),
    ];
    const servers = await Promise.all(Array.from({ length: 5 }, () => serve(...script)));
    const scopes = servers.map(() => new RecordingScope({ tools: { find: () => "found" } }));
    await Promise.all(servers.map((server, at) => run(server.baseURL, scopes[at]!, { tools: [toolOf("find")] })));
    for (const scope of scopes) expect(scope.entered).toEqual(["0,0", "0,1", "1,0", "1,1", "2,0"]);
  });

  test("keeps its history when a server repeats message ids, repeats call ids or sends none", async () => {
    const repeated = (id: string | null): Handler =>
      answer({
        id: "same",
        finish: "tool_calls",
        deltas: [0, 1].map((index) => ({
          tool_calls: [
            {
              index,
              ...(id === null ? {} : { id }),
              type: "function",
              function: { name: "find", arguments: `{"q":"${index}"}` },
            },
          ],
        })),
      });
    const server = await serve(
      repeated("call"),
      repeated("call"),
      repeated(null),
      answer({ id: "same", deltas: [{ content: "done" }] }),
    );
    const scope = new RecordingScope({ tools: { find: ({ q }: { q: string }) => `found ${q}` } });
    expect(await run(server.baseURL, scope, { tools: [toolOf("find")] })).toBe("done");
    expect(scope.entered).toEqual(["0,0", "0,1", "0,2", "1,0", "1,1", "1,2", "2,0", "2,1", "2,2", "3,0"]);
    const messages = server.seen[3]?.body["messages"] as {
      role: string;
      tool_call_id?: string;
      content: string;
      tool_calls?: { id: string }[];
    }[];
    expect(messages.map(({ role }) => role).join(" ")).toBe(
      "system user assistant tool tool assistant tool tool assistant tool tool",
    );
    const ids = messages.flatMap(({ tool_calls }) => tool_calls?.map(({ id }) => id) ?? []);
    expect(new Set(ids).size).toBe(6);
    expect(messages.filter(({ role }) => role === "tool").map(({ tool_call_id }) => tool_call_id)).toEqual(ids);
  });

  test("refuses a tool whose name LangChain would take for a structured answer", async () => {
    await expect(
      run("http://127.0.0.1:9/v1", new RecordingScope(), { tools: [toolOf("extract-facts")] }),
    ).rejects.toMatchObject({
      failureClass: "InvalidSpec",
    });
  });

  test("answers through the Anthropic API, live and replayed alike", async () => {
    const { startMockModel } = await import("../../../src/cli/mock-model/server.ts");
    const mock = await startMockModel({
      script: {
        rules: [
          { match: { turn: 0 }, reply: { toolCalls: [{ name: "find", arguments: { q: "a" } }] } },
          { match: { turn: 1 }, reply: { structured: { headline: "x", score: 3 } } },
        ],
      },
    });
    const spec = modelSpec(mock.url, { provider: "anthropic", parameters: { maxTokens: 512 } });
    const options = { modelSpec: spec, tools: [toolOf("find")], outputSchema: briefSchema };
    const scope = new RecordingScope({ tools: { find: () => "found" }, call: { outputCap: 100 } });
    const live = await run(mock.url, scope, options);
    expect(mock.calls().map((call) => call.maxTokens)).toEqual([100, 100]);
    await mock.close();
    expect(live).toEqual({ headline: "x", score: 3 });
    const replay = new RecordingScope({ record: scope.steps });
    expect(await run(mock.url, replay, options)).toEqual(live);
    expect(replay.bytes()).toBe(scope.bytes());
  });
});
