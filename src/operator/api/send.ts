/** From an answer to bytes, made only as fast as they are read (A2). */
import type { IncomingMessage, ServerResponse } from "node:http";

export interface Answer {
  readonly status: number;
  readonly type?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Text as it is there, or parts that are made as they are read; begun only when they are sent. */
  readonly body?: string | AsyncIterable<string>;
}

/** Lines or parts of them; `over` is called once, however it ends. */
export function streamed(
  parts: AsyncIterable<string>,
  { accepts, signal }: { readonly accepts: string; readonly signal: AbortSignal },
  over: () => void = () => undefined,
): Answer {
  // Also where nobody begins to read, as after HEAD.
  signal.addEventListener("abort", over, { once: true });
  if (signal.aborted) over();
  return { status: 200, type: accepts, body: parts };
}

/** One that is read drop by drop ends here. */
const answerMsMax = 330_000;

export async function send(answer: Answer, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { status, type, headers = {}, body = "" } = answer;
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  if (type !== undefined) response.setHeader("Content-Type", type);
  // What of the request is still to come would be taken for the next one.
  if (!request.complete) response.setHeader("Connection", "close");
  response.statusCode = status;
  const isHead = request.method === "HEAD";
  if (typeof body === "string") {
    if (status !== 204) response.setHeader("Content-Length", Buffer.byteLength(body));
    response.end(isHead || status === 204 ? undefined : body);
    return;
  }
  if (isHead) return void response.end();
  response.flushHeaders();
  const late = setTimeout(() => response.destroy(), answerMsMax);
  try {
    for await (const part of body) {
      if (response.destroyed) return;
      if (!response.write(part)) await drained(response);
    }
    response.end();
  } finally {
    clearTimeout(late);
  }
}

/** Resolves when there is room again, or nobody left to write to. */
function drained(response: ServerResponse): Promise<void> {
  if (response.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    const over = () => {
      response.off("drain", over);
      response.off("close", over);
      resolve();
    };
    response.on("drain", over);
    response.on("close", over);
  });
}
