/** Looks at a model server's answer before its client does: a page is no answer, and no line may fill the memory. */
import { CallFailure } from "../../ports/step.ts";

type Fetch = typeof globalThis.fetch;

export interface AnswerLimits {
  /** Longest line of a streamed answer, bytes: clients hold a whole line before they read it. */
  readonly lineBytesMax: number;
}

const defaults: AnswerLimits = { lineBytesMax: 16 * 1024 * 1024 };
const shownBytes = 120;
const newline = 0x0a;

/**
 * `fetch` whose answers are checked: a successful answer that is neither JSON nor a stream of events fails as
 * InvalidAnswer and says what came from where; a longer line than `lineBytesMax` fails as InvalidAnswer when it gets
 * there. The clients wrap what is thrown: `classify` finds it in the causes.
 */
export function guardedFetch(fetch: Fetch, limits: AnswerLimits = defaults): Fetch {
  return async (input, init) => {
    const response = await fetch(input, init);
    if (!response.ok || response.body === null) return response;
    const type = response.headers.get("content-type") ?? "";
    if (!/json|event-stream/i.test(type)) throw await notAnAnswer(input, response, type);
    const body = response.body.pipeThrough(lineLimit(limits.lineBytesMax));
    const guarded = new Response(body, response);
    // The constructor forgets it, and clients put it into their errors.
    Object.defineProperty(guarded, "url", { value: response.url });
    return guarded;
  };
}

async function notAnAnswer(input: Parameters<Fetch>[0], response: Response, type: string): Promise<CallFailure> {
  const start = await firstBytes(response);
  const what = type === "" ? "without a content type" : `as ${type.split(";")[0] ?? type}`;
  const shown = start === "" ? "an empty body" : JSON.stringify(start);
  return new CallFailure(
    "InvalidAnswer",
    `${addressOf(input)} answered ${response.status} ${what}: ${shown}. That is no model server's answer: check baseURL (most end in /v1).`,
  );
}

/** Reads no more than it shows, then lets go of the connection. */
async function firstBytes(response: Response): Promise<string> {
  const reader = response.body?.getReader();
  let bytes = Buffer.alloc(0);
  while (reader !== undefined && bytes.length < shownBytes) {
    const { done, value } = await reader.read();
    if (done) break;
    bytes = Buffer.concat([bytes, value.subarray(0, shownBytes)]);
  }
  await reader?.cancel();
  return bytes.subarray(0, shownBytes).toString("utf8").toWellFormed().trim();
}

/** Without credentials and query, which may hold keys. */
function addressOf(input: Parameters<Fetch>[0]): string {
  const url = new URL(input instanceof Request ? input.url : input);
  return `${url.origin}${url.pathname}`;
}

function lineLimit(bytesMax: number): TransformStream<Uint8Array, Uint8Array> {
  let lineBytes = 0;
  return new TransformStream({
    transform(chunk, controller) {
      const last = chunk.lastIndexOf(newline);
      lineBytes = last === -1 ? lineBytes + chunk.length : chunk.length - last - 1;
      if (lineBytes > bytesMax)
        throw new CallFailure("InvalidAnswer", `the model server sent a line of more than ${bytesMax} bytes`);
      controller.enqueue(chunk);
    },
  });
}
