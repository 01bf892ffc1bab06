import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { endpointOf, policyNameOf } from "../../../src/adapters/langchain/endpoints.ts";
import { assertNoHiddenRetries, createModel, projectionOf } from "../../../src/adapters/langchain/models.ts";
import { StepModel } from "../../../src/adapters/langchain/step-model.ts";
import { modelSpec, run } from "./agent-run.ts";
import { calls, failure, type Handler, type ModelServer, startServer, text } from "./model-server.ts";
import { RecordingScope } from "./recording-scope.ts";

const open: ModelServer[] = [];
const environment = { ...process.env };
afterEach(async () => {
  vi.restoreAllMocks();
  process.env = { ...environment };
  await Promise.all(open.splice(0).map((server) => server.close()));
});

async function serve(...handlers: Handler[]): Promise<ModelServer> {
  const server = await startServer(...handlers);
  open.push(server);
  return server;
}

describe("createModel", () => {
  test("passes parameters on, under the wire's own names where LangChain has none", async () => {
    const server = await serve(text("done"));
    const spec = modelSpec(server.baseURL, {
      parameters: { temperature: 0.5, seed: 7, maxTokens: 9, topP: 0.9, repetition_penalty: 1.1 },
    });
    await run(server.baseURL, new RecordingScope(), { modelSpec: spec });
    expect(server.seen[0]?.url).toBe("/v1/chat/completions");
    expect(server.seen[0]?.body).toMatchObject({
      temperature: 0.5,
      seed: 7,
      max_tokens: 9,
      top_p: 0.9,
      repetition_penalty: 1.1,
      stream: true,
    });
  });

  test("takes neither keys nor addresses from the environment", async () => {
    const server = await serve(failure(401, { error: { message: "who" } }));
    const elsewhere = await serve(failure(500, {}));
    Object.assign(process.env, {
      OPENAI_API_KEY: "leaked",
      OPENAI_BASE_URL: elsewhere.baseURL,
      OPENAI_API_BASE: elsewhere.baseURL,
      ANTHROPIC_API_KEY: "leaked",
      ANTHROPIC_AUTH_TOKEN: "leaked",
      ANTHROPIC_BASE_URL: elsewhere.baseURL,
      LANGSMITH_GATEWAY: elsewhere.baseURL,
      LANGSMITH_GATEWAY_API_KEY: "leaked",
    });
    for (const provider of ["openai", "anthropic"]) {
      const model = await createModel(modelSpec(server.baseURL, { provider }), { apiKey: undefined });
      await expect(model.stream("x")).rejects.toThrow("who");
    }
    expect(elsewhere.seen).toHaveLength(0);
    expect(server.seen).toHaveLength(2);
    expect(JSON.stringify(server.seen.map(({ headers }) => headers))).not.toContain("leaked");
  });

  test("traces nothing, whatever the environment says", async () => {
    const server = await serve(text("done"));
    const langsmith = await serve(failure(200, {}));
    Object.assign(process.env, {
      LANGSMITH_TRACING: "true",
      LANGCHAIN_TRACING_V2: "true",
      LANGSMITH_ENDPOINT: langsmith.baseURL,
      LANGCHAIN_ENDPOINT: langsmith.baseURL,
      LANGSMITH_API_KEY: "k",
      LANGCHAIN_CALLBACKS_BACKGROUND: "false",
    });
    await run(server.baseURL, new RecordingScope());
    expect(langsmith.seen).toHaveLength(0);
    expect(process.env["LANGSMITH_TRACING"]).toBeUndefined();
  });

  test.each(["apiKey", "configuration", "streaming", "maxRetries", "useResponsesApi", "baseURL", "tools", "n"])(
    "refuses the parameter %s",
    async (name) => {
      const spec = modelSpec("http://127.0.0.1:9/v1", { parameters: { [name]: 1 } });
      await expect(createModel(spec, { apiKey: "k" })).rejects.toMatchObject({
        code: "OAO_INVALID_SPEC",
        message: expect.stringContaining(name),
      });
    },
  );

  test("names the missing package of another provider and the command that installs it", async () => {
    await expect(
      createModel(modelSpec("http://127.0.0.1:9/v1", { provider: "mistralai" }), { apiKey: "k" }),
    ).rejects.toMatchObject({
      code: "OAO_INVALID_SPEC",
      message:
        "model main: provider mistralai needs the package @langchain/mistralai, which is not installed; run: npm install @langchain/mistralai",
    });
  });

  test.each(["openia", "langsmith"])("refuses the provider %s, and says which there are", async (provider) => {
    await expect(createModel(modelSpec("http://127.0.0.1:9/v1", { provider }), { apiKey: "k" })).rejects.toThrow(
      /unknown provider .*known: openai, anthropic, /,
    );
  });

  test("says that a key is missing before any call is made", async () => {
    const { baseURL: _, ...spec } = modelSpec("");
    await expect(createModel(spec, { apiKey: undefined })).rejects.toMatchObject({ code: "OAO_MISSING_SECRET" });
  });

  test("never uses the Responses API, not even for models that LangChain prefers it for", async () => {
    const server = await serve(text("done"));
    const spec = modelSpec(server.baseURL, { model: "gpt-5-codex" });
    await run(server.baseURL, new RecordingScope(), { modelSpec: spec });
    expect(server.seen[0]?.url).toBe("/v1/chat/completions");
  });
});

describe("the canary", () => {
  test.each(["openai", "anthropic"])("finds that the client of %s asks once", async (provider) => {
    await expect(assertNoHiddenRetries(modelSpec("http://127.0.0.1:9", { provider }))).resolves.toBeUndefined();
  });

  test("would find a client that asks again", async () => {
    const { AsyncCaller } = await import("@langchain/core/utils/async_caller");
    vi.spyOn(AsyncCaller.prototype, "callWithOptions").mockImplementation(async (_, callable, ...args) =>
      callable(...args).catch(async () => callable(...args)),
    );
    await expect(assertNoHiddenRetries(modelSpec("http://127.0.0.1:9"))).rejects.toMatchObject({
      code: "OAO_PROTOCOL",
    });
  });
});

describe("names and addresses", () => {
  test("are known for the built-in providers and any base URL", () => {
    const { baseURL: _, ...plain } = modelSpec("");
    expect(endpointOf(plain)).toBe("https://api.openai.com/v1/chat/completions");
    expect(endpointOf({ ...plain, provider: "anthropic" })).toBe("https://api.anthropic.com/v1/messages");
    expect(endpointOf(modelSpec("http://a.test/v1/"))).toBe("http://a.test/v1/chat/completions");
    expect(endpointOf(modelSpec("http://a.test", { provider: "ollama" }))).toBe("http://a.test");
    expect(endpointOf({ ...plain, provider: "ollama" })).toBe("ollama:default");
    expect(policyNameOf(plain)).toBe("openai/scripted");
  });

  test("need no LangChain, and openai loads no other provider", async () => {
    const program = (file: string, call: string): string => `
      import { registerHooks } from "node:module";
      const loaded = new Set();
      registerHooks({ load: (url, context, next) => { loaded.add(/node_modules\\/((@[^/]+\\/)?[^/]+)/.exec(url)?.[1]); return next(url, context); } });
      const module = await import(${JSON.stringify(fileURLToPath(new URL(`../../../src/adapters/langchain/${file}`, import.meta.url)))});
      await module.${call};
      console.log(JSON.stringify([...loaded].filter((name) => name !== undefined)));`;
    const loadedBy = async (file: string, call: string): Promise<string[]> => {
      const { stdout } = await promisify(execFile)(process.execPath, [
        "--input-type=module",
        "--eval",
        program(file, call),
      ]);
      return JSON.parse(stdout) as string[];
    };
    const spec = `{ name: "m", model: "m", baseURL: "http://a.test"`;
    expect(await loadedBy("endpoints.ts", `endpointOf(${spec}, provider: "openai" })`)).toEqual([]);
    const openai = await loadedBy("models.ts", `createModel(${spec}, provider: "openai" }, {})`);
    expect(openai).toContain("@langchain/openai");
    expect(openai).not.toContain("@langchain/anthropic");
    const anthropic = await loadedBy("models.ts", `createModel(${spec}, provider: "anthropic" }, {})`);
    expect(anthropic).toContain("@langchain/anthropic");
    expect(anthropic).not.toContain("@langchain/openai");
  });
});

describe("a StepModel in a user's own code", () => {
  test("keeps bindings and structured output, live and replayed alike", async () => {
    const server = await serve(calls({ name: "brief", args: '{"headline":"x"}' }));
    const spec = modelSpec(server.baseURL);
    const model = async (scope: RecordingScope): Promise<StepModel> => {
      let next = 0;
      return new StepModel(await createModel(spec, { apiKey: "k" }), {
        scope,
        spec,
        projection: await projectionOf(spec),
        idleTimeoutMs: 60_000,
        secrets: [],
        answerTools: new Set(),
        callIds: new Set(),
        takeOrdinal: () => next++,
        track: (call) => call,
        thawed: () => undefined,
      });
    };
    const ask = async (scope: RecordingScope): Promise<unknown> => {
      const schema = z.object({ headline: z.string() });
      const step = (await model(scope)) as unknown as {
        withStructuredOutput: (...args: unknown[]) => { invoke(text: string): Promise<unknown> };
      };
      return step.withStructuredOutput(schema, { name: "brief", method: "functionCalling" }).invoke("x");
    };
    const scope = new RecordingScope();
    expect(await ask(scope)).toEqual({ headline: "x" });
    expect(server.seen[0]?.body["tool_choice"]).toEqual({ type: "function", function: { name: "brief" } });
    await server.close();
    const replay = new RecordingScope({ record: scope.steps });
    expect(await ask(replay)).toEqual({ headline: "x" });
    expect(replay.live).toBe(0);
  });

  test("streams through its recorded call", async () => {
    const server = await serve(text("one ", "two"));
    const scope = new RecordingScope();
    await run(server.baseURL, scope);
    expect(scope.requests[0]).toMatchObject({
      model: "main",
      policyName: "openai/scripted",
      endpoint: `${server.baseURL}/chat/completions`,
      secret: undefined,
    });
  });
});
