/**
 * The scripted model server: the OpenAI Chat Completions and the Anthropic Messages API over node:http, answers from a
 * script. Used by `oao mock-model`, the demo and the tests, and by anyone who tests a manifest without a key.
 */
import { randomBytes, randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { anthropic } from "./anthropic.ts";
import { CallLog, type CallEvent, type MockCall } from "./calls.ts";
import { ClientStream } from "./client-stream.ts";
import type { Dialect } from "./dialect.ts";
import { openai } from "./openai.ts";
import { BadRequest, type RequestView } from "./request.ts";
import { respond, sendJson } from "./respond.ts";
import { RuleBook } from "./rules.ts";
import { loadScript, parseScript, ScriptError, withDefaults, type MockScriptInput } from "./script.ts";

const BODY_BYTES_MAX = 8 * 1024 * 1024;
/** Longer than a client keeps an idle connection, so that none is closed under a request being sent. */
const KEEP_ALIVE_MS = 75_000;

export interface MockModelOptions {
  readonly script: MockScriptInput;
  /** Name of the script in messages. */
  readonly fileName?: string;
  /** 0 or absent: a free port. */
  readonly port?: number;
  /** Default 127.0.0.1. */
  readonly host?: string;
}

/** A running server. Records of calls change while their call is open. */
export interface MockModel {
  /** Origin, for example `http://127.0.0.1:8080`: the base URL of Anthropic clients and of `/_oao/…`. */
  readonly url: string;
  /** `${url}/v1`: the base URL of OpenAI clients. */
  readonly baseURL: string;
  calls(): readonly MockCall[];
  /**
   * The first call, present or to come, for which `predicate` holds; asked at once and after each token and each end.
   * Rejects when the server closes first.
   */
  waitForCall(predicate: (call: MockCall) => boolean): Promise<MockCall>;
  /** Run `listener` synchronously after each token written. Returns the function that ends this. */
  onToken(listener: (call: MockCall) => void): () => void;
  /** Run `listener` when an answer ends, and when the client of a stalled one leaves. */
  onEnd(listener: (call: MockCall) => void): () => void;
  /** Forget calls and the uses of rules. */
  reset(): void;
  /** Close all connections, open answers included. */
  close(): Promise<void>;
}

class BodyTooLarge extends Error {
  override readonly name = "BodyTooLarge";

  constructor() {
    super(`The body is larger than ${BODY_BYTES_MAX} bytes.`);
  }
}

/** Throws BodyTooLarge, or the socket's error when the client leaves while sending. */
async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    // Beyond the limit the rest is read and dropped, so that the client gets to read the answer.
    if (bytes <= BODY_BYTES_MAX) chunks.push(chunk);
  }
  if (bytes > BODY_BYTES_MAX) throw new BodyTooLarge();
  return Buffer.concat(chunks).toString("utf8");
}

const paths = {
  "/v1/chat/completions": "chat",
  "/chat/completions": "chat",
  "/v1/messages": "messages",
  "/messages": "messages",
  "/v1/models": "models",
  "/models": "models",
  "/_oao/calls": "calls",
  "/_oao/reset": "reset",
  "/_oao/script": "script",
} as const;

function isPath(path: string): path is keyof typeof paths {
  return Object.hasOwn(paths, path);
}

function isRefusal(error: unknown): error is Error {
  return error instanceof BadRequest || error instanceof SyntaxError || error instanceof BodyTooLarge;
}

class MockServer {
  readonly log = new CallLog();
  #book: RuleBook;
  #ids = 0;

  constructor(book: RuleBook) {
    this.#book = book;
  }

  reset(): void {
    this.log.reset();
    this.#book.reset();
    this.#ids = 0;
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = new URL(request.url ?? "/", "http://localhost").pathname;
    const route = `${request.method} ${isPath(path) ? paths[path] : path}`;
    if (route === "POST chat") return this.#complete(openai, path, request, response);
    if (route === "POST messages") return this.#complete(anthropic, path, request, response);
    const client = new ClientStream(response);
    const body = await readBody(request);
    switch (route) {
      case "GET models":
        return sendJson(client, 200, this.#models());
      case "GET calls":
        return sendJson(client, 200, this.log.list());
      case "POST reset":
        this.reset();
        return sendJson(client, 200, { reset: true });
      case "GET script":
        return sendJson(client, 200, this.#book.script);
      case "PUT script":
        return this.#replaceScript(client, body);
      default:
        return sendJson(client, 404, {
          error: {
            message: `There is no ${route}. Known: ${Object.keys(paths).join(", ")}.`,
            type: "invalid_request_error",
          },
        });
    }
  }

  #models(): object {
    const { models, rules } = this.#book.script;
    const named = rules.flatMap(({ match }) =>
      match.model === undefined || match.model.includes("*") ? [] : [match.model],
    );
    const list = models ?? (named.length > 0 ? [...new Set(named)] : ["mock-model"]);
    const data = list.map((id) => ({ id, object: "model", created: 1_700_000_000, owned_by: "oao-mock-model" }));
    return { object: "list", data };
  }

  #replaceScript(client: ClientStream, body: string): void {
    try {
      this.#book = new RuleBook(loadScript(body, "PUT /_oao/script"), "PUT /_oao/script");
      sendJson(client, 200, { rules: this.#book.script.rules.length });
    } catch (error) {
      if (!(error instanceof ScriptError)) throw error;
      sendJson(client, 400, { error: { message: error.message, problems: error.problems } });
    }
  }

  async #complete(dialect: Dialect, path: string, message: IncomingMessage, response: ServerResponse): Promise<void> {
    const book = this.#book;
    const client = new ClientStream(response);
    let request: RequestView;
    try {
      request = dialect.read(JSON.parse(await readBody(message)));
    } catch (error) {
      if (client.closed) return; // it left before it had asked anything
      if (!isRefusal(error)) throw error;
      const status = error instanceof BodyTooLarge ? 413 : 400;
      const refused = this.log.begin({ path, model: "", stream: false, digest: "", messages: 0, maxTokens: undefined });
      refused.answered(status);
      sendJson(client, status, dialect.errorBody({ status, code: undefined, message: error.message }));
      return refused.end("error");
    }
    const { model, stream, digest, messages, maxTokens } = request;
    const call = this.log.begin({ path, model, stream, digest, messages, maxTokens });
    client.onLeft(() => call.clientClosed());
    const found = book.take(request);
    if (found === undefined) {
      call.answered(400);
      const text = book.explainNoMatch(request);
      sendJson(client, 400, dialect.errorBody({ status: 400, code: "no_rule_matches", message: text }));
      return call.end("error");
    }
    const { rule, number } = found;
    const reply = withDefaults(rule.reply, book.script.defaults);
    call.answered(reply.status ?? 200, { number, name: rule.name });
    await respond({
      dialect,
      request,
      reply,
      call,
      client,
      names: this.#names(dialect),
      newToolId: () => this.#id(dialect.toolIdPrefix),
    });
  }

  #id(prefix: string): string {
    this.#ids += 1;
    return prefix + (this.#book.script.randomIds ? randomUUID().replaceAll("-", "") : String(this.#ids));
  }

  #names(dialect: Dialect): { id: string; fingerprint: string; created: number } {
    const id = this.#id(dialect.idPrefix);
    if (!this.#book.script.randomIds) return { id, fingerprint: "fp_mock", created: 1_700_000_000 };
    return { id, fingerprint: `fp_${randomBytes(5).toString("hex")}`, created: Math.floor(Date.now() / 1000) };
  }
}

function listen(server: Server, port: number, host: string): Promise<AddressInfo> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port, host, backlog: 4096 }, () => {
      server.off("error", reject);
      resolve(server.address() as AddressInfo);
    });
  });
}

function waitIn(log: CallLog, closing: AbortSignal, predicate: (call: MockCall) => boolean): Promise<MockCall> {
  const present = log.list().find(predicate);
  if (present !== undefined) return Promise.resolve(present);
  return new Promise((resolve, reject) => {
    const onClose = (): void => {
      stop();
      reject(new Error(`the mock model closed before a call met the condition; it had ${log.list().length} calls`));
    };
    const stop = log.subscribe((call) => {
      if (!predicate(call)) return;
      stop();
      closing.removeEventListener("abort", onClose);
      resolve(call);
    });
    closing.addEventListener("abort", onClose, { once: true });
    if (closing.aborted) onClose();
  });
}

/** Start a server. Throws ScriptError for a bad script and the system's error (EADDRINUSE, …) when it cannot listen. */
export async function startMockModel(options: MockModelOptions): Promise<MockModel> {
  const fileName = options.fileName ?? "the script";
  const host = options.host ?? "127.0.0.1";
  const mock = new MockServer(new RuleBook(parseScript(options.script, fileName), fileName));
  const closing = new AbortController();
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS, noDelay: true }, (request, response) => {
    mock.handle(request, response).catch((error: unknown) => {
      if (response.destroyed) return; // the client left while sending
      if (!response.headersSent) response.writeHead(error instanceof BodyTooLarge ? 413 : 500);
      response.end(error instanceof Error ? error.message : String(error));
    });
  });
  const address = await listen(server, options.port ?? 0, host);
  const url = `http://${address.family === "IPv6" ? `[${address.address}]` : address.address}:${address.port}`;
  const subscribe = (wanted: CallEvent, listener: (call: MockCall) => void): (() => void) =>
    mock.log.subscribe((call, event) => {
      if (event === wanted) listener(call);
    });
  return {
    url,
    baseURL: `${url}/v1`,
    calls: () => mock.log.list(),
    waitForCall: (predicate) => waitIn(mock.log, closing.signal, predicate),
    onToken: (listener) => subscribe("token", listener),
    onEnd: (listener) => subscribe("end", listener),
    reset: () => mock.reset(),
    close: () =>
      new Promise<void>((resolve) => {
        closing.abort();
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
