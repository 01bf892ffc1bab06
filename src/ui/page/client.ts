/** Talking to the local server. The token goes into a header of each request; there are no cookies. */
import type { Problem, ServerEvent } from "../wire.ts";

const tokenKey = "oao-token";
const retryMs = 1_500;

/** What the server, or the way to it, said went wrong. */
export class ApiProblem extends Error {
  override readonly name = "ApiProblem";
  readonly problem: Problem;
  constructor(problem: Problem) {
    super(problem.detail);
    this.problem = problem;
  }
}

/**
 * Takes the token, or the code that stands for it once, out of the address, so that it is in no history, bookmark or screenshot,
 * and keeps the token for this origin. Throws ApiProblem: the code is not taken.
 */
export async function takeToken(): Promise<void> {
  const [, isCode, given] = /^#(open:)?([\w-]{43})$/.exec(location.hash) ?? [];
  if (given === undefined) return;
  history.replaceState(null, "", location.pathname + location.search);
  const token = isCode === undefined ? given : (await post<{ token: string }>("open", { code: given })).token;
  localStorage.setItem(tokenKey, token);
}

export function problemOf(error: unknown): Problem {
  if (error instanceof ApiProblem) return error.problem;
  const detail = error instanceof Error ? error.message : String(error);
  return { type: "about:blank", title: "Failed", status: 0, detail };
}

/** `path` below /api/. Throws ApiProblem. */
export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await (await request(path, { signal: signal ?? null })).json()) as T;
}

export async function post<T>(path: string, body: unknown): Promise<T> {
  const answer = await request(path, {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "content-type": "application/json" },
  });
  return (await answer.json()) as T;
}

async function request(path: string, init: RequestInit): Promise<Response> {
  const headers = new Headers(init.headers);
  headers.set("authorization", `Bearer ${localStorage.getItem(tokenKey) ?? ""}`);
  const answer = await fetch(`/api/${path}`, { ...init, headers, credentials: "omit" }).catch((error: unknown) => {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiProblem({
      type: "about:blank",
      title: "No answer",
      status: 0,
      detail:
        "oao ui does not answer: it was ended, or the machine slept. Start it again and open the address it prints.",
    });
  });
  if (answer.ok) return answer;
  throw new ApiProblem((await answer.json()) as Problem);
}

/** Calls back with every event until the returned function is called, connecting anew when the stream ends. */
export function listen(
  path: string,
  onEvent: (event: ServerEvent) => void,
  onConnection: (isLive: boolean) => void,
): () => void {
  const stop = new AbortController();
  void (async () => {
    while (!stop.signal.aborted) {
      try {
        const answer = await request(path, { signal: stop.signal });
        onConnection(true);
        if (answer.body !== null) await readEvents(answer.body, onEvent);
      } catch {
        // Told by the connection's state.
      }
      if (stop.signal.aborted) return;
      onConnection(false);
      await new Promise((resolve) => setTimeout(resolve, retryMs));
    }
  })();
  return () => stop.abort();
}

async function readEvents(body: ReadableStream<Uint8Array>, onEvent: (event: ServerEvent) => void): Promise<void> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let buffer = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    buffer += decoder.decode(value, { stream: true });
    const blocks = buffer.split("\n\n");
    buffer = blocks.pop() ?? "";
    for (const block of blocks) {
      const event = /^event: (.*)$/m.exec(block)?.[1];
      const data = /^data: (.*)$/m.exec(block)?.[1];
      if (event !== undefined && data !== undefined) onEvent({ event, data: JSON.parse(data) } as ServerEvent);
    }
  }
}
