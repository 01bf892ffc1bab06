/** Requests to the API server: one typed call, with timeouts, and repeats where a repeat is harmless. */
import type { IncomingMessage } from "node:http";
import { createInterface } from "node:readline";
import type { KubeConfig } from "@kubernetes/client-node";
import type { Clock } from "../../ports/clock.ts";
import { type Call, Connection } from "./connection.ts";
import { errorOf, KubeError } from "./kube-error.ts";

export interface KubeRequest {
  /** GET when absent. */
  readonly method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly body?: unknown;
  /** Of a PATCH: which kind `body` is. */
  readonly patch?: keyof typeof patchTypes;
  readonly signal?: AbortSignal | undefined;
  /** Of each try, until the whole answer is there; the client's when absent. */
  readonly timeoutMs?: number;
  /** Whether it may be sent again when no answer came. Absent: not for POST and JSON patches. 429 is always sent again. */
  readonly repeatable?: boolean;
}

export interface KubeClientOptions {
  readonly clock: Clock;
  readonly timeoutMs?: number;
  readonly userAgent?: string;
  /** Of a request that may be repeated; 4 when absent. */
  readonly triesMax?: number;
  /** Told of each repeat. Must not throw. */
  readonly onRetry?: (request: KubeRequest, error: KubeError) => void;
}

const patchTypes = {
  Merge: "application/merge-patch+json",
  Apply: "application/apply-patch+yaml",
  Json: "application/json-patch+json",
} as const;

const triesMaxDefault = 4;
const firstDelayMs = 200;
const delayMsMax = 10_000;
const errorBytesMax = 64 * 1024;

export class KubeClient {
  readonly #connection: Connection;
  readonly #options: KubeClientOptions;
  readonly #timeoutMs: number;

  constructor(config: KubeConfig, options: KubeClientOptions) {
    this.#connection = new Connection(config);
    this.#options = options;
    this.#timeoutMs = options.timeoutMs ?? 30_000;
  }

  /** The parsed answer. Throws KubeError, after up to `triesMax` tries where the request may be repeated. */
  async request<T>(request: KubeRequest): Promise<T> {
    const triesMax = this.#options.triesMax ?? triesMaxDefault;
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.#once<T>(request);
      } catch (error) {
        if (!(error instanceof KubeError) || tries === triesMax || !mayRepeat(request, error)) throw error;
        this.#options.onRetry?.(request, error);
        const { clock } = this.#options;
        const backoffMs = firstDelayMs * 2 ** (tries - 1) * (0.75 + clock.random() / 2);
        await clock
          .sleep(Math.min(error.retryAfterMs ?? backoffMs, delayMsMax), request.signal)
          .catch((reason: unknown) => Promise.reject(aborted(request, reason)));
      }
    }
  }

  /**
   * Lines of a long answer (watch, logs), as they come; resolves when the server ends it. `timeoutMs` is for the head only.
   * Throws KubeError; never repeats.
   */
  async lines(request: KubeRequest, onLine: (line: string) => void): Promise<void> {
    await this.#timed(request, async (call, headIsThere) => {
      const answer = await this.#connection.send(call);
      headIsThere();
      if (!isSuccess(answer)) throw await this.#refusal(request, answer);
      // One that breaks after nobody reads it any more is nobody's error.
      answer.on("error", () => undefined);
      try {
        for await (const line of createInterface({ input: answer, crlfDelay: Infinity })) if (line !== "") onLine(line);
      } finally {
        answer.destroy();
      }
      // A connection that breaks ends the lines as a full answer does.
      if (!answer.complete) throw new Error("the connection broke");
    });
  }

  /** After a connection turned out to lead nowhere: others like it are not used again. */
  dropIdleConnections(): void {
    this.#connection.dropIdle();
  }

  close(): void {
    this.#connection.close();
  }

  async #once<T>(request: KubeRequest): Promise<T> {
    return this.#timed(request, async (call) => {
      const answer = await this.#connection.send(call);
      if (!isSuccess(answer)) throw await this.#refusal(request, answer);
      return JSON.parse(await text(answer)) as T;
    });
  }

  async #refusal(request: KubeRequest, answer: IncomingMessage): Promise<KubeError> {
    const seconds = Number(answer.headers["retry-after"]);
    const retryAfterMs = Number.isFinite(seconds) && seconds > 0 ? seconds * 1_000 : undefined;
    return errorOf(answer.statusCode ?? 0, await text(answer, errorBytesMax), describe(request), retryAfterMs);
  }

  /** Runs `work` under the timeout and the caller's signal; whatever is thrown comes out as KubeError. */
  async #timed<T>(request: KubeRequest, work: (call: Call, inTime: () => void) => Promise<T>): Promise<T> {
    const stop = new AbortController();
    const onAbort = () => stop.abort(request.signal?.reason);
    if (isAborted(request)) throw aborted(request, request.signal?.reason);
    request.signal?.addEventListener("abort", onAbort, { once: true });
    const timeoutMs = request.timeoutMs ?? this.#timeoutMs;
    const timer = setTimeout(
      () => stop.abort(new KubeError(0, "Timeout", `${describe(request)}: no answer in ${timeoutMs} ms`)),
      timeoutMs,
    );
    try {
      return await work(callOf(request, stop.signal, this.#options.userAgent), () => clearTimeout(timer));
    } catch (thrown) {
      const error: unknown = stop.signal.aborted ? stop.signal.reason : thrown;
      if (isAborted(request)) throw aborted(request, error);
      if (error instanceof KubeError && error.reason === "Timeout") this.#connection.dropIdle();
      if (error instanceof KubeError) throw error;
      throw new KubeError(0, "Unreachable", `${describe(request)}: ${messageOf(error)}`, { cause: error });
    } finally {
      clearTimeout(timer);
      request.signal?.removeEventListener("abort", onAbort);
    }
  }
}

function callOf(request: KubeRequest, signal: AbortSignal, userAgent = "oao"): Call {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(request.query ?? {})) if (value !== undefined) query.set(name, `${value}`);
  const type = request.patch === undefined ? "application/json" : patchTypes[request.patch];
  return {
    method: request.method ?? "GET",
    path: query.size === 0 ? request.path : `${request.path}?${query}`,
    headers: {
      Accept: "application/json",
      "User-Agent": userAgent,
      ...(request.body === undefined ? {} : { "Content-Type": type }),
    },
    body: request.body === undefined ? undefined : JSON.stringify(request.body),
    signal,
  };
}

function mayRepeat(request: KubeRequest, error: KubeError): boolean {
  if (error.reason === "Aborted" || error.reason === "Credentials") return false;
  if (error.status === 429) return true;
  const isRepeatable = request.repeatable ?? (request.method !== "POST" && request.patch !== "Json");
  return (
    isRepeatable &&
    (error.status === 0 || error.status === 503 || (error.status >= 500 && error.retryAfterMs !== undefined))
  );
}

function isSuccess(answer: IncomingMessage): boolean {
  return answer.statusCode !== undefined && answer.statusCode >= 200 && answer.statusCode < 300;
}

async function text(answer: IncomingMessage, bytesMax = Infinity): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > bytesMax) break;
  }
  return Buffer.concat(chunks).toString("utf8");
}

function isAborted(request: KubeRequest): boolean {
  return request.signal?.aborted === true;
}

function aborted(request: KubeRequest, cause: unknown): KubeError {
  return new KubeError(0, "Aborted", `${describe(request)}: given up`, { cause });
}

function describe(request: KubeRequest): string {
  return `${request.method ?? "GET"} ${request.path}`;
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // A name with several addresses, none of which answers.
  if (error instanceof AggregateError) return error.errors.map(messageOf).join("; ");
  return error.message;
}
