/** One request with everything that may vary; run as a program it prints the digest, for comparing processes. */
import { randomUUID } from "node:crypto";
import { AIMessage, HumanMessage, SystemMessage, ToolMessage, type BaseMessage } from "@langchain/core/messages";
import { boundOptions } from "../../../src/adapters/langchain/call-options.ts";
import { createModel, projectionOf } from "../../../src/adapters/langchain/models.ts";
import type { ModelSpec } from "../../../src/api/execution.ts";
import { modelRequestDigest } from "../../../src/core/steps/identity.ts";

export interface ExampleOptions {
  readonly provider?: string;
  readonly model?: string;
  readonly baseURL?: string;
  readonly parameters?: ModelSpec["parameters"];
  readonly system?: string;
  readonly prompt?: string;
  readonly ids?: string;
  readonly metadata?: Record<string, unknown>;
  readonly args?: Record<string, unknown>;
  readonly result?: string;
  readonly swapResults?: boolean;
  readonly tools?: readonly object[];
  readonly callOptions?: Readonly<Record<string, unknown>>;
}

export function exampleTools({ description = "Finds." }: { description?: string } = {}): object[] {
  return ["find", "save"].map((name) => ({
    type: "function",
    function: { name, description, parameters: { type: "object", properties: { q: { type: "string" } } } },
  }));
}

export function exampleMessages(options: ExampleOptions): BaseMessage[] {
  const ids = options.ids ?? randomUUID();
  const results = [
    new ToolMessage({ content: options.result ?? "found", name: "find", tool_call_id: `${ids}-a` }),
    new ToolMessage({ content: "found b", name: "find", tool_call_id: `${ids}-b` }),
  ];
  return [
    new SystemMessage({ content: options.system ?? "Be short.", id: `${ids}-1` }),
    new HumanMessage({ content: options.prompt ?? "Write.", id: `${ids}-2` }),
    new AIMessage({
      content: "",
      name: "model",
      id: `${ids}-3`,
      response_metadata: options.metadata ?? {},
      usage_metadata: { input_tokens: ids.length, output_tokens: 1, total_tokens: 1 } as never,
      tool_calls: [
        { id: `${ids}-a`, name: "find", args: options.args ?? { q: "a" } },
        { id: `${ids}-b`, name: "find", args: { q: "b" } },
      ],
    }),
    ...(options.swapResults === true ? results.toReversed() : results),
  ];
}

export async function digestOf(options: ExampleOptions): Promise<string> {
  const spec: ModelSpec = {
    name: "main",
    provider: options.provider ?? "openai",
    model: options.model ?? "scripted",
    baseURL: options.baseURL ?? "http://a.invalid/v1",
    ...(options.parameters && { parameters: options.parameters }),
  };
  const model = await createModel(spec, { apiKey: randomUUID() });
  const projection = await projectionOf(spec);
  const bound = model.bindTools?.([...(options.tools ?? exampleTools())] as never[], options.callOptions) as never;
  const header = projection.header(bound, boundOptions(bound));
  return modelRequestDigest(header, projection.messages(bound, exampleMessages(options))).digest;
}

if (process.argv[1] === import.meta.filename) console.log(await digestOf({ provider: process.argv[2] ?? "openai" }));
