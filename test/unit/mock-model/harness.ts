import { onTestFinished } from "vitest";
import type { MockScriptInput } from "../../../src/cli/mock-model/script.ts";
import { startMockModel, type MockModel } from "../../../src/cli/mock-model/server.ts";

/** A server that ends with the test. */
export async function serve(script: MockScriptInput): Promise<MockModel> {
  const model = await startMockModel({ script, fileName: "test.yaml" });
  onTestFinished(() => model.close());
  return model;
}

/** A request with one user message and whatever else is given. */
export function ask(text: string, more: object = {}): object {
  return { model: "gpt-test", messages: [{ role: "user", content: text }], ...more };
}

export function post(url: string, body: object, init: RequestInit = {}): Promise<Response> {
  return fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    ...init,
  });
}

export function chat(model: MockModel, body: object, init: RequestInit = {}): Promise<Response> {
  return post(`${model.baseURL}/chat/completions`, body, init);
}

export interface Chunk {
  readonly id: string;
  readonly choices: readonly {
    readonly delta: {
      readonly content?: string;
      readonly tool_calls?: readonly { index: number; id?: string; function: { name?: string; arguments: string } }[];
    };
    readonly finish_reason: string | null;
  }[];
  readonly usage?: object | null;
}

/** The `data:` payloads of an SSE text. */
export function payloads(text: string): string[] {
  return text.split("\n\n").flatMap((frame) => {
    const data = frame.split("\n").find((line) => line.startsWith("data: "));
    return data === undefined ? [] : [data.slice("data: ".length)];
  });
}

export function chunksOf(text: string): Chunk[] {
  return payloads(text)
    .filter((data) => data !== "[DONE]")
    .map((data) => JSON.parse(data) as Chunk);
}
