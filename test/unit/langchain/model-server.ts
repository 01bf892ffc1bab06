/** A Chat Completions server of a few lines: each request is answered by the next handler, byte for byte as written. */
import { randomUUID } from "node:crypto";
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface Seen {
  readonly url: string;
  readonly body: Record<string, unknown>;
  readonly headers: IncomingHttpHeaders;
  /** Resolves when the connection of the answer is closed. */
  readonly closed: Promise<void>;
}

export type Handler = (response: ServerResponse, seen: Seen) => void | Promise<void>;

export interface ModelServer {
  readonly baseURL: string;
  readonly seen: Seen[];
  close(): Promise<void>;
}

/** The last handler answers all further requests. */
export async function startServer(...handlers: Handler[]): Promise<ModelServer> {
  const seen: Seen[] = [];
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      const text = Buffer.concat(parts).toString();
      const entry: Seen = {
        url: request.url ?? "",
        body: text === "" ? {} : (JSON.parse(text) as Record<string, unknown>),
        headers: request.headers,
        closed: new Promise((resolve) => response.once("close", resolve)),
      };
      const handler = handlers[Math.min(seen.length, handlers.length - 1)];
      seen.push(entry);
      void handler?.(response, entry);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    baseURL: `http://127.0.0.1:${port}/v1`,
    seen,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export interface Delta {
  readonly content?: string | null;
  readonly role?: string;
  readonly reasoning?: string;
  readonly reasoning_content?: string;
  readonly refusal?: string;
  readonly tool_calls?: readonly object[];
}

/** Server-sent events: deltas, then the finish reason and usage unless they are left out. */
export interface Answer {
  readonly deltas: readonly Delta[];
  readonly finish?: string | null;
  readonly usage?: object | null;
  readonly id?: string;
}

export function sendHead(response: ServerResponse): void {
  response.writeHead(200, { "content-type": "text/event-stream" });
}

export function sendDelta(response: ServerResponse, delta: Delta, id = "c", finish: string | null = null): void {
  const event = {
    id,
    object: "chat.completion.chunk",
    created: 1,
    model: "m",
    system_fingerprint: randomUUID(),
    choices: [{ index: 0, delta, finish_reason: finish }],
  };
  response.write(`data: ${JSON.stringify(event)}\n\n`);
}

export function answer({
  deltas,
  finish = "stop",
  usage = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
  id,
}: Answer): Handler {
  return (response, seen) => {
    const own = id ?? `chatcmpl-${randomUUID()}`;
    if (seen.body["stream"] !== true) {
      const content = deltas.map((delta) => delta.content ?? "").join("");
      const tool_calls = deltas.flatMap((delta) => delta.tool_calls ?? []);
      const message = { role: "assistant", content, ...(tool_calls.length === 0 ? {} : { tool_calls }) };
      response.writeHead(200, { "content-type": "application/json" });
      response.end(
        JSON.stringify({ id: own, model: "m", choices: [{ index: 0, message, finish_reason: finish }], usage }),
      );
      return;
    }
    sendHead(response);
    for (const delta of deltas) sendDelta(response, { role: "assistant", ...delta }, own);
    if (finish !== null) sendDelta(response, {}, own, finish);
    if (usage !== null) response.write(`data: ${JSON.stringify({ id: own, model: "m", choices: [], usage })}\n\n`);
    response.end("data: [DONE]\n\n");
  };
}

export function text(...pieces: string[]): Handler {
  return answer({ deltas: pieces.map((content) => ({ content })) });
}

export interface Call {
  readonly name: string;
  /** Sent as it is: may be broken JSON. */
  readonly args: string;
  readonly id?: string | null;
}

/** One delta per call, ids random unless given; null sends none. */
export function calls(...list: readonly Call[]): Handler {
  const deltas = (): Delta[] =>
    list.map(({ name, args, id }, index) => ({
      tool_calls: [
        {
          index,
          type: "function",
          ...(id === null ? {} : { id: id ?? `call_${randomUUID()}` }),
          function: { name, arguments: args },
        },
      ],
    }));
  return (response, seen) => answer({ deltas: deltas(), finish: "tool_calls" })(response, seen);
}

export function failure(status: number, body: object, headers: Record<string, string> = {}): Handler {
  return (response) => {
    response.writeHead(status, { "content-type": "application/json", ...headers });
    response.end(JSON.stringify(body));
  };
}
