import { describe, expect, it } from "vitest";
import packageJson from "../../../package.json" with { type: "json" };
import { createHttpTool } from "../../../src/adapters/tool/http-tool.ts";
import type { HttpToolSpec } from "../../../src/api/tool.ts";
import { callContext, failureOf, get, json, makeTool, noSecrets, rules, startServer } from "./calls.ts";

describe("a call", () => {
  it("sends method, path, query, headers and body, and answers the JSON", async () => {
    const server = await startServer(json({ facts: [1, { a: null }] }));
    const http: HttpToolSpec = {
      method: "POST",
      url: `http://127.0.0.1:${server.port}/items/{id}`,
      query: ["q"],
      headers: [
        { name: "Authorization", secretKeyRef: { name: "crm", key: "token" } },
        { name: "Accept", value: "application/json" },
      ],
    };
    const tool = await makeTool(http, { readSecret: ({ name, key }) => `Bearer ${name}-${key}` });
    expect(await tool.invoke({ id: "a b", q: ["x", "y"], z: 1, b: "ü" }, callContext())).toEqual({
      facts: [1, { a: null }],
    });
    expect(server.seen).toHaveLength(1);
    const [seen] = server.seen;
    expect(seen).toMatchObject({ method: "POST", url: "/items/a%20b?q=x&q=y", body: '{"b":"ü","z":1}' });
    expect(seen?.headers).toEqual({
      host: `127.0.0.1:${server.port}`,
      "user-agent": `oao/${packageJson.version}`,
      accept: "application/json",
      "content-type": "application/json",
      authorization: "Bearer crm-token",
      "content-length": "16",
      "accept-encoding": "identity",
      "idempotency-key": "key-1",
      connection: "close",
    });
  });

  it("checks the arguments before it connects", async () => {
    const server = await startServer(json(1));
    const tool = await makeTool({ ...get(server.port), inputSchema: { required: ["q"] } });
    expect(await failureOf(tool.invoke({}, callContext()))).toMatchObject({
      failureClass: "InvalidRequest",
      sent: false,
    });
    expect(server.connections()).toBe(0);
  });

  it("has a digest of the definition, which the secret's value does not change", async () => {
    const http = { ...get(1), headers: [{ name: "A", secretKeyRef: { name: "s", key: "k" } }] };
    const [one, two] = [
      await makeTool(http, { readSecret: () => "one" }),
      await makeTool(http, { readSecret: () => "two" }),
    ];
    expect(one.digest).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(two.digest).toBe(one.digest);
    expect((await makeTool(get(2))).digest).not.toBe((await makeTool(get(1))).digest);
  });

  it.each<[string, string | undefined, string | Buffer, unknown]>([
    ["a JSON type with a suffix", "application/problem+json; charset=utf-8", '{"a":1}', { a: 1 }],
    ["text", "text/plain", '{"a":1}', '{"a":1}'],
    ["no type", undefined, "hällo", "hällo"],
    ["an older character set", "text/plain; charset=iso-8859-1", Buffer.from([0x68, 0xe4]), "hä"],
    ["an empty body", "application/json", "", null],
  ])("answers %s", async (_what, type, body, expected) => {
    const server = await startServer((_request, response) => {
      if (type !== undefined) response.setHeader("content-type", type);
      response.end(body);
    });
    expect(await (await makeTool(get(server.port))).invoke({}, callContext())).toEqual(expected);
  });

  it("answers a HEAD with status and the headers about the resource", async () => {
    const server = await startServer((_request, response) => {
      response.writeHead(200, { "content-length": "12", etag: '"v1"', "set-cookie": "session=1" }).end();
    });
    const tool = await makeTool({ ...get(server.port), method: "HEAD" });
    expect(await tool.invoke({}, callContext())).toEqual({
      status: 200,
      headers: { "content-length": "12", etag: '"v1"' },
    });
  });

  it.each<[string, string, string | Buffer, RegExp]>([
    ["invalid JSON", "application/json", '{"a":', /labelled JSON and is none/],
    ["bytes that are no text", "image/png", Buffer.from([0x89, 0x50, 0xff, 0xfe]), /is no text \(image\/png\)/],
    ["JSON nested without end", "application/json", "[".repeat(100_000) + "]".repeat(100_000), /nested deeper/],
    ["JSON with half a character", "application/json", String.raw`"\ud800"`, /surrogate/],
  ])("fails on %s", async (_what, type, body, problem) => {
    const server = await startServer((_request, response) => response.setHeader("content-type", type).end(body));
    const failure = await failureOf((await makeTool(get(server.port))).invoke({}, callContext()));
    expect(failure).toMatchObject({ failureClass: "ToolFailure", sent: true });
    expect(failure.message).toMatch(problem);
  });

  it("refuses a compressed answer that it did not ask for", async () => {
    const server = await startServer((_request, response) => response.setHeader("content-encoding", "gzip").end("x"));
    expect((await failureOf((await makeTool(get(server.port))).invoke({}, callContext()))).message).toMatch(
      /compressed \(gzip\)/,
    );
  });
});

describe("the size cap", () => {
  it("lets an answer of exactly the cap through", async () => {
    const server = await startServer((_request, response) => response.end("x".repeat(98)));
    const tool = await makeTool(get(server.port));
    expect(await tool.invoke({}, callContext({ bodyBytesMax: 100 }))).toBe("x".repeat(98));
    expect((await failureOf(tool.invoke({}, callContext({ bodyBytesMax: 99 })))).message).toMatch(
      /100 bytes; the cap is 99 bytes/,
    );
  });

  it("refuses a declared length without reading the body", async () => {
    const server = await startServer((_request, response) => {
      response.writeHead(200, { "content-length": "1000000000" }).flushHeaders();
    });
    const failure = await failureOf((await makeTool(get(server.port))).invoke({}, callContext()));
    expect(failure.message).toMatch(/1000000000 bytes; the cap is 1000000 bytes/);
  });

  it("cuts an endless answer and closes the connection", async () => {
    const { promise: closed, resolve } = Promise.withResolvers<void>();
    const server = await startServer((_request, response) => {
      const chunk = "x".repeat(65_536);
      const write = () => {
        while (response.write(chunk));
      };
      response.on("drain", write).on("close", resolve);
      write();
    });
    const failure = await failureOf((await makeTool(get(server.port))).invoke({}, callContext()));
    expect(failure).toMatchObject({ failureClass: "ToolFailure" });
    expect(failure.message).toMatch(/more than 1000000 bytes; the cap is 1000000 bytes/);
    await closed;
  });
});

describe("statuses", () => {
  const failing = async (
    status: number,
    headers: Record<string, string>,
    body: string,
    http: Partial<HttpToolSpec> = {},
    secret = "",
  ) => {
    const server = await startServer((_request, response) => response.writeHead(status, headers).end(body));
    return failureOf(
      (await makeTool({ ...get(server.port, "/p"), ...http }, { readSecret: () => secret })).invoke(
        { q: "private" },
        callContext(),
      ),
    );
  };

  it.each([
    [400, "ToolFailure"],
    [404, "ToolFailure"],
    [429, "RateLimit"],
    [500, "NetworkFailure"],
    [503, "NetworkFailure"],
    [304, "ToolFailure"],
  ])("%i is %s", async (status, failureClass) => {
    expect(await failing(status, {}, "")).toMatchObject({ failureClass, sent: true, retryAfterMs: undefined });
  });

  it("shows status, place and the body's start, and no arguments", async () => {
    const { message } = await failing(404, {}, `no such item ${"x".repeat(2_000)}`);
    expect(message).toMatch(/^Tool search: GET http:\/\/127\.0\.0\.1:\d+\/p answered 404: no such item x+$/);
    expect(message.length).toBeLessThan(600);
    expect(message).not.toContain("private");
  });

  it("masks the secrets it sent, also where the cut would go through one", async () => {
    const headers = [{ name: "Authorization", secretKeyRef: { name: "crm", key: "token" } }];
    const { message } = await failing(
      401,
      {},
      `${"x".repeat(490)}Bearer t0ken-t0ken ${"y".repeat(100)}`,
      { headers },
      "Bearer t0ken-t0ken",
    );
    expect(message).toContain("x[secret] ");
    expect(message).not.toContain("t0ken");
  });

  it.each([
    ["7", 7_000],
    ["nonsense", undefined],
    [new Date(0).toUTCString(), 0],
  ])("takes Retry-After %j as %j ms", async (value, retryAfterMs) => {
    expect(await failing(429, { "retry-after": value }, "")).toMatchObject({ failureClass: "RateLimit", retryAfterMs });
    expect(await failing(503, { "retry-after": value }, "")).toMatchObject({
      failureClass: "NetworkFailure",
      retryAfterMs,
    });
  });

  it("reads the start of an endless error page only", async () => {
    const server = await startServer((_request, response) => {
      response.writeHead(500);
      const write = () => {
        while (response.write("e".repeat(65_536)));
      };
      response.on("drain", write);
      write();
    });
    expect((await failureOf((await makeTool(get(server.port))).invoke({}, callContext()))).message).toMatch(
      /answered 500: e{500}$/,
    );
  });
});

describe("definitions", () => {
  it("reads the secret when the tool is made", async () => {
    const headers = [{ name: "A", secretKeyRef: { name: "s", key: "k" } }];
    await expect(makeTool({ ...get(1), headers })).rejects.toThrow("no secret is expected to be read");
  });

  it("refuses an entry without http, and an argument named for path and query", async () => {
    await expect(createHttpTool({ name: "x" }, { rules: rules(), readSecret: noSecrets })).rejects.toThrow(
      "Tool x: http: is missing",
    );
    await expect(makeTool({ method: "GET", url: "http://h/{id}", query: ["id"] })).rejects.toThrow(
      /http\.query: id is in the URL's path/,
    );
  });
});
