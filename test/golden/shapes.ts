/** Recorded runs of different shapes: each is a spec, a model script, and the node that runs. */
import type { ExecutionSpec } from "../../src/api/execution.ts";
import type { MockScriptInput } from "../../src/cli/mock-model/script.ts";

export interface Shape {
  readonly name: string;
  readonly spec: (urls: { model: string; tool: string }) => ExecutionSpec;
  readonly script: MockScriptInput;
}

const agentSpec = (tools: readonly string[], outputSchema?: Record<string, unknown>) => ({
  name: "a",
  model: "m",
  systemPrompt: "Be brief.",
  tools: [...tools],
  ...(outputSchema === undefined ? {} : { outputSchema }),
});
const node = { name: "n", agent: { ref: "a", prompt: "Compare $(input.topic)" } };
const input = { topic: "heat pumps" };
const search = (url: string) => ({
  name: "search",
  description: "Search",
  effect: "ReadOnly" as const,
  http: {
    method: "GET" as const,
    url: `${url}/search`,
    query: ["q"],
    inputSchema: { type: "object", properties: { q: { type: "string" } }, required: ["q"] },
  },
});
const dice = {
  name: "dice",
  effect: "Idempotent" as const,
  module: { path: "test/golden/tools/dice.mjs", export: "dice" },
};
const models = (baseURL: string, provider = "openai") => [{ name: "m", provider, model: "mock", baseURL }];

export const shapes: readonly Shape[] = [
  {
    name: "one answer",
    spec: ({ model }) => ({ task: "t", input, models: models(model), agents: [agentSpec([])], nodes: [node] }),
    script: { rules: [{ reply: { tokens: 60 } }] },
  },
  {
    name: "two tools in a row, then an answer",
    spec: ({ model, tool }) => ({
      task: "t",
      input,
      models: models(model),
      tools: [search(tool)],
      agents: [agentSpec(["search"])],
      nodes: [node],
    }),
    script: {
      rules: [
        { match: { turn: 0 }, reply: { toolCalls: [{ name: "search", arguments: { q: "first" } }] } },
        { match: { turn: 1 }, reply: { toolCalls: [{ name: "search", arguments: { q: "second" } }] } },
        { reply: { text: "Both are fine, and here is why in some words." } },
      ],
    },
  },
  {
    name: "three parallel tools, two of them equal, with recorded values inside",
    spec: ({ model, tool }) => ({
      task: "t",
      input,
      models: models(model),
      tools: [search(tool), dice],
      agents: [agentSpec(["search", "dice"])],
      nodes: [node],
    }),
    script: {
      rules: [
        {
          match: { turn: 0 },
          reply: {
            toolCalls: [
              { name: "dice", arguments: { sides: 6 } },
              { name: "search", arguments: { q: "x" } },
              { name: "dice", arguments: { sides: 6 } },
            ],
          },
        },
        { reply: { text: "Done: $LAST_TOOL_RESULT" } },
      ],
    },
  },
  {
    name: "a structured answer after a tool",
    spec: ({ model, tool }) => ({
      task: "t",
      input,
      models: models(model),
      tools: [search(tool)],
      agents: [
        agentSpec(["search"], { type: "object", properties: { verdict: { type: "string" } }, required: ["verdict"] }),
      ],
      nodes: [node],
    }),
    script: {
      rules: [
        { match: { turn: 0 }, reply: { toolCalls: [{ name: "search", arguments: { q: "x" } }] } },
        { reply: { structured: { verdict: "good" } } },
      ],
    },
  },
  {
    name: "a call that is retried twice and a tool that answers an error",
    spec: ({ model, tool }) => ({
      task: "t",
      input,
      models: models(model),
      tools: [search(tool)],
      agents: [agentSpec(["search"])],
      nodes: [node],
    }),
    script: {
      rules: [
        { match: { turn: 0 }, reply: { toolCalls: [{ name: "search", arguments: { q: "broken" } }] } },
        { match: { turn: 1, times: 2 }, reply: { status: 500 } },
        { reply: { text: "I could not search." } },
      ],
    },
  },
  {
    name: "parallel tool calls of which one answers, one fails, one does not fit and one does not exist",
    spec: ({ model, tool }) => ({
      task: "t",
      input,
      models: models(model),
      tools: [search(tool), dice],
      agents: [agentSpec(["search", "dice"])],
      nodes: [node],
    }),
    script: {
      rules: [
        {
          match: { turn: 0 },
          reply: {
            toolCalls: [
              { name: "search", arguments: { q: "broken" } },
              { name: "search", arguments: { query: 7 } },
              { name: "forge", arguments: {} },
              { name: "search", arguments: { q: "x" } },
              { name: "search", arguments: { q: "broken" } },
            ],
          },
        },
        {
          match: { turn: 1 },
          reply: { toolCalls: [{ name: "dice", arguments: { sides: 6 } }], malformedToolArguments: true },
        },
        { reply: { text: "Enough." } },
      ],
    },
  },
  {
    name: "an agent on the Anthropic protocol with a tool",
    spec: ({ model, tool }) => ({
      task: "t",
      input,
      models: models(model.replace(/\/v1$/, ""), "anthropic"),
      tools: [search(tool)],
      agents: [agentSpec(["search"])],
      nodes: [node],
    }),
    script: {
      rules: [
        {
          match: { turn: 0 },
          reply: { toolCalls: [{ name: "search", arguments: { q: "first" } }], text: "Let me look." },
        },
        { match: { turn: 1, times: 1 }, reply: { tokens: 40, cutAfterTokens: 20 } },
        { reply: { text: "Here it is." } },
      ],
    },
  },
];
