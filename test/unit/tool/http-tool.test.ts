import { once } from "node:events";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { describe, expect, it, onTestFinished } from "vitest";
import type { HttpToolSpec } from "../../../src/api/execution.ts";
import { createHttpTool, type HttpToolOptions } from "../../../src/adapters/tool/http-tool.ts";
import packageJson from "../../../package.json" with { type: "json" };
import type { Tool } from "../../../src/ports/tool.ts";
import { callContext, certificateFor, failureOf, json, noSecrets, rules, startServer } from "./calls.ts";

function makeTool(http: HttpToolSpec, options: Partial<HttpToolOptions> = {}): Promise<Tool> {
  return createHttpTool({ name: "search", http }, { rules: rules(), readSecret: noSecrets, ...options });
}

const get = (port: number, path = "/"): HttpToolSpec => ({ method: "GET", url: `http://127.0.0.1:${port}${path}` });

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

describe("redirects", () => {
  it("follows them for GET on the same host and port, with one lookup", async () => {
    const server = await startServer((request, response) => {
      if (request.url === "/a?q=1") response.writeHead(302, { location: "/b/../c?x=2#frag" }).end();
      else json({ at: request.url })(request, response);
    });
    let lookups = 0;
    const lookup = () => {
      lookups++;
      return Promise.resolve(["127.0.0.1"]);
    };
    const tool = await makeTool({ method: "GET", url: `http://catalog.test:${server.port}/a` }, { lookup });
    expect(await tool.invoke({ q: 1 }, callContext())).toEqual({ at: "/c?x=2" });
    expect(lookups).toBe(1);
  });

  it.each([
    "http://127.0.0.1:1/",
    "http://localhost:PORT/",
    "https://127.0.0.1:PORT/",
    "//example.com/",
    "http://u:p@127.0.0.1:PORT/",
    "http://[",
  ])("refuses %s and sends the secret nowhere else", async (target) => {
    const server = await startServer((_request, response) => {
      response.writeHead(307, { location: target.replace("PORT", String(server.port)) }).end();
    });
    const headers = [{ name: "Authorization", secretKeyRef: { name: "crm", key: "token" } }];
    const failure = await failureOf(
      (await makeTool({ ...get(server.port), headers }, { readSecret: () => "t0ken" })).invoke({}, callContext()),
    );
    expect(failure).toMatchObject({ failureClass: "ToolFailure", sent: true });
    expect(failure.message).toMatch(/redirects to another scheme, host or port are refused/);
    expect(server.seen).toHaveLength(1);
  });

  it("does not follow one for POST", async () => {
    const server = await startServer((_request, response) => response.writeHead(303, { location: "/done" }).end());
    const failure = await failureOf(
      (await makeTool({ ...get(server.port), method: "POST" })).invoke({}, callContext()),
    );
    expect(failure.message).toMatch(/followed for GET and HEAD only/);
    expect(server.seen).toHaveLength(1);
  });

  it("ends after five", async () => {
    const server = await startServer((_request, response) => response.writeHead(302, { location: "/again" }).end());
    const failure = await failureOf((await makeTool(get(server.port))).invoke({}, callContext()));
    expect(failure.message).toMatch(/more than 5 redirects/);
    expect(server.seen).toHaveLength(6);
  });
});

describe("addresses", () => {
  const strict = { rules: rules({ allowLoopback: false }) };

  it.each(["127.0.0.1", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]"])(
    "does not connect to %s unless allowed",
    async (host) => {
      const server = await startServer(json(1));
      const tool = await makeTool({ method: "GET", url: `http://${host}:${server.port}/` }, strict);
      const failure = await failureOf(tool.invoke({}, callContext()));
      expect(failure).toMatchObject({ failureClass: "InvalidRequest", sent: false });
      expect(failure.message).toMatch(/may not connect to .* is a loopback address/);
      expect(server.connections()).toBe(0);
    },
  );

  it("does not connect to a host that the rules refuse, nor resolve it", async () => {
    const asked: unknown[] = [];
    const refusing = rules({
      allowHost: (host, port) => {
        asked.push([host, port]);
        return { allowed: false, reason: "no policy names it" };
      },
    });
    const tool = await makeTool(
      { method: "GET", url: "https://Evil.Example./" },
      { rules: refusing, lookup: () => Promise.reject(new Error("resolved")) },
    );
    expect((await failureOf(tool.invoke({}, callContext()))).message).toBe(
      "Tool search may not connect to evil.example: no policy names it",
    );
    expect(asked).toEqual([["evil.example", 443]]);
  });

  it("refuses a name with a public and a loopback address", async () => {
    const server = await startServer(json(1));
    const lookup = () => Promise.resolve(["93.184.215.14", "127.0.0.1"]);
    const tool = await makeTool({ method: "GET", url: `http://rebind.test:${server.port}/` }, { ...strict, lookup });
    expect(await failureOf(tool.invoke({}, callContext()))).toMatchObject({
      failureClass: "InvalidRequest",
      sent: false,
    });
    expect(server.connections()).toBe(0);
  });

  it("asks DNS once and connects to what was checked, whatever a second answer would be", async () => {
    const server = await startServer(json("the checked one"));
    const answers = [["127.0.0.1"], ["127.0.0.2"]];
    // Another listener at the second answer, on the same port: reaching it would mean that the name was resolved again.
    const other = createServer((socket) => socket.end("HTTP/1.1 200 OK\r\n\r\nthe rebound one"));
    other.listen(server.port, "127.0.0.2");
    await once(other, "listening");
    onTestFinished(() => void other.close());
    const asked: string[] = [];
    const lookup = (host: string) => {
      asked.push(host);
      return Promise.resolve(answers.shift() ?? []);
    };
    // 127.0.0.1 plays the public address; the address that must not be reached is denied.
    const guarded = rules({ allowLoopback: true, denyCidrs: ["127.0.0.2/32"] });
    const tool = await makeTool(
      { method: "GET", url: `http://rebind.test:${server.port}/` },
      { rules: guarded, lookup },
    );
    expect(await tool.invoke({}, callContext())).toBe("the checked one");
    expect(asked).toEqual(["rebind.test"]);
    expect(server.seen[0]?.headers.host).toBe(`rebind.test:${server.port}`);
    // The next call resolves again, and the rebound name is refused.
    expect((await failureOf(tool.invoke({}, callContext()))).message).toMatch(/127\.0\.0\.2 is in the denied range/);
  });

  it("tries the next checked address when one does not answer", async () => {
    const server = await startServer(json("here"));
    const lookup = () => Promise.resolve(["127.0.0.3", "127.0.0.1"]);
    const tool = await makeTool({ method: "GET", url: `http://two.test:${server.port}/` }, { lookup });
    expect(await tool.invoke({}, callContext())).toBe("here");
  });

  it("resolves localhost with the system's resolver", async () => {
    const server = await startServer(json("here"));
    const tool = await makeTool({ method: "GET", url: `http://localhost:${server.port}/` });
    expect(await tool.invoke({}, callContext())).toBe("here");
  });

  it.each<[string, HttpToolOptions["lookup"], RegExp]>([
    [
      "does not resolve",
      () => Promise.reject(new Error("getaddrinfo ENOTFOUND gone.test")),
      /gone\.test does not resolve: .*ENOTFOUND/,
    ],
    ["has no address", () => Promise.resolve([]), /gone\.test has no address/],
    [
      "refuses the connection",
      () => Promise.resolve(["127.0.0.1"]),
      /connecting to gone\.test:1 failed: .*ECONNREFUSED/,
    ],
  ])("says that nothing was sent when the host %s", async (_what, lookup, problem) => {
    const tool = await makeTool({ method: "GET", url: "http://gone.test:1/" }, lookup === undefined ? {} : { lookup });
    const failure = await failureOf(tool.invoke({}, callContext()));
    expect(failure).toMatchObject({ failureClass: "NetworkFailure", sent: false });
    expect(failure.message).toMatch(problem);
  });
});

describe("https", () => {
  const tlsTool = async (certificateName: string) => {
    const certificate = certificateFor(certificateName);
    const server = await startServer(json("safe"), certificate);
    const lookup = () => Promise.resolve(["127.0.0.1"]);
    const tool = await makeTool(
      {
        method: "GET",
        url: `https://catalog.test:${server.port}/`,
        headers: [{ name: "A", secretKeyRef: { name: "s", key: "k" } }],
      },
      { lookup, readSecret: () => "t0ken" },
    );
    return { certificate, server, tool };
  };
  const trust = (cert: string) => {
    const before = getCACertificates("default");
    setDefaultCACertificates([...before, cert]);
    onTestFinished(() => setDefaultCACertificates(before));
  };

  it("checks the certificate for the URL's host though it connects to an address", async () => {
    const { certificate, server, tool } = await tlsTool("catalog.test");
    trust(certificate.cert);
    expect(await tool.invoke({}, callContext())).toBe("safe");
    expect(server.seen[0]?.headers).toMatchObject({ host: `catalog.test:${server.port}`, a: "t0ken" });
  });

  it("sends nothing to a server with another name's certificate", async () => {
    const { certificate, server, tool } = await tlsTool("other.test");
    trust(certificate.cert);
    const failure = await failureOf(tool.invoke({}, callContext()));
    expect(failure).toMatchObject({ failureClass: "NetworkFailure", sent: false });
    expect(failure.message).toMatch(/catalog\.test.*altnames/s);
    expect(server.seen).toHaveLength(0);
  });

  it("sends nothing to a server whose certificate nobody vouches for", async () => {
    const { server, tool } = await tlsTool("catalog.test");
    const failure = await failureOf(tool.invoke({}, callContext()));
    expect(failure).toMatchObject({ failureClass: "NetworkFailure", sent: false });
    expect(failure.message).toMatch(/self-signed/);
    expect(server.seen).toHaveLength(0);
  });
});

describe("time limit and cut", () => {
  /** A server that speaks no HTTP by itself: `speak` has the bare socket, after the request's head came if `afterHead`. */
  const rawServer = async (speak: (socket: Socket) => void, afterHead = true) => {
    const { promise: closed, resolve } = Promise.withResolvers<void>();
    const sockets = new Set<Socket>();
    const server = createServer((socket) => {
      sockets.add(socket);
      socket.on("error", () => undefined).on("close", () => resolve());
      if (afterHead) socket.once("data", () => speak(socket));
      else {
        socket.resume();
        speak(socket);
      }
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    onTestFinished(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    return { port: (server.address() as AddressInfo).port, closed };
  };

  it.each<[string, (socket: Socket) => void]>([
    ["never answers", () => undefined],
    [
      "stops in the middle of the body",
      (socket) => void socket.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"),
    ],
    [
      "stops in the middle of an error page",
      (socket) => void socket.write("HTTP/1.1 500 No\r\ncontent-length: 10\r\n\r\nabc"),
    ],
  ])("ends a server that %s in Timeout, and closes the connection", async (_what, speak) => {
    const server = await rawServer(speak);
    const failure = await failureOf((await makeTool(get(server.port))).invoke({}, callContext({ timeoutMs: 200 })));
    expect(failure).toMatchObject({ failureClass: "Timeout", sent: true });
    expect(failure.message).toBe("Tool search did not end within 200 ms");
    await server.closed;
  });

  it("ends a TLS handshake that hangs in Timeout, with nothing sent", async () => {
    const server = await rawServer(() => undefined, false);
    const tool = await makeTool({ method: "GET", url: `https://127.0.0.1:${server.port}/` });
    expect(await failureOf(tool.invoke({}, callContext({ timeoutMs: 200 })))).toMatchObject({
      failureClass: "Timeout",
      sent: false,
    });
    await server.closed;
  });

  it("ends a lookup that hangs in Timeout, and does not connect when it answers later", async () => {
    const server = await startServer(json(1));
    const { promise, resolve } = Promise.withResolvers<string[]>();
    const tool = await makeTool({ method: "GET", url: `http://slow.test:${server.port}/` }, { lookup: () => promise });
    expect(await failureOf(tool.invoke({}, callContext({ timeoutMs: 50 })))).toMatchObject({
      failureClass: "Timeout",
      sent: false,
    });
    resolve(["127.0.0.1"]);
    await makeTool(get(server.port)).then((other) => other.invoke({}, callContext()));
    expect(server.connections()).toBe(1);
  });

  it("bears a limit longer than a timer can be", async () => {
    const server = await startServer(json("slow enough"));
    expect(await (await makeTool(get(server.port))).invoke({}, callContext({ timeoutMs: 31_536_000_000 }))).toBe(
      "slow enough",
    );
  });

  it("closes the connection when the run cuts the call", async () => {
    const controller = new AbortController();
    const server = await rawServer(() => controller.abort());
    const failure = await failureOf(
      (await makeTool(get(server.port))).invoke({}, callContext({ signal: controller.signal })),
    );
    expect(failure.message).toBe("The call of tool search was stopped");
    expect(failure.sent).toBe(true);
    await server.closed;
  });

  it("does not start when the run was cut before", async () => {
    const server = await startServer(json(1));
    const failure = await failureOf(
      (await makeTool(get(server.port))).invoke({}, callContext({ signal: AbortSignal.abort() })),
    );
    expect(failure.sent).toBe(false);
    expect(server.connections()).toBe(0);
  });

  it.each<[string, (socket: Socket) => void, RegExp]>([
    ["hangs up", (socket) => socket.destroy(), /GET http:\/\/127\.0\.0\.1:\d+ failed/],
    [
      "hangs up in the body",
      (socket) => void socket.end("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"),
      /broke off after 3 bytes/,
    ],
    ["speaks no HTTP", (socket) => void socket.end("SSH-2.0-OpenSSH\r\n"), /failed: Parse Error/],
    [
      "upgrades",
      (socket) => void socket.end("HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
      /failed/,
    ],
  ])("takes a server that %s for a NetworkFailure after sending", async (_what, speak, problem) => {
    const server = await rawServer(speak);
    const failure = await failureOf((await makeTool(get(server.port))).invoke({}, callContext()));
    expect(failure).toMatchObject({ failureClass: "NetworkFailure", sent: true });
    expect(failure.message).toMatch(problem);
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
