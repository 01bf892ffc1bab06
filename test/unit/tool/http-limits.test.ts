import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { callContext, failureOf, get, json, makeTool, startServer } from "./calls.ts";

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

  it("closes the connection of a refused redirect whose body does not end", async () => {
    const redirect = "HTTP/1.1 302 Found\r\nlocation: http://other.test/\r\ncontent-length: 10\r\n\r\nabc";
    const server = await rawServer((socket) => void socket.write(redirect));
    const failure = await failureOf((await makeTool(get(server.port))).invoke({}, callContext()));
    expect(failure.message).toMatch(/redirects to another/);
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
