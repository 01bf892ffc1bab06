/** What a run that is recorded and then replayed is made of: a spec, a model's script, and what is done to it while it runs. */
import type { ExecutionSpec } from "../../src/api/execution.ts";
import type { PolicySpec } from "../../src/api/policy.ts";
import type { MockScriptInput } from "../../src/cli/mock-model/script.ts";
import type { Phase } from "../../src/api/status.ts";
import type { Outside } from "./replay-outside.ts";
import type { ReplayWorld } from "../support/replay-world.ts";

export interface Urls {
  readonly model: string;
  readonly tool: string;
}

export interface ReplayShape {
  readonly name: string;
  readonly spec: (urls: Urls) => ExecutionSpec;
  readonly script: MockScriptInput;
  readonly policy?: PolicySpec;
  /** What people and machines do to the recorded run named `name`. */
  readonly disturb?: (world: ReplayWorld, outside: Outside, name: string) => void;
  readonly end: readonly [phase: Phase, reason: string];
  /** Of a run that was stopped: the policy under which all of it would have been done. */
  readonly wholePolicy?: PolicySpec;
  /** It was this node that failed, and forked from there it would not again. */
  readonly mendedAt?: string;
}

const http = (tool: string, name: string, effect: "ReadOnly" | "NonIdempotent" = "ReadOnly") => ({
  name,
  effect,
  http: { method: "POST" as const, url: `${tool}/${name}`, inputSchema: { type: "object" } },
});
const dice = {
  name: "dice",
  effect: "Idempotent" as const,
  module: { path: "test/golden/tools/dice.mjs", export: "dice" },
};
export const base = ({ model, tool }: Urls, tools: readonly string[]) => ({
  task: "t",
  input: { topic: "heat pumps" },
  models: [{ name: "m", provider: "openai", model: "mock", baseURL: model, parameters: { temperature: 0 } }],
  tools: [
    ...tools
      .filter((name) => name !== "dice")
      .map((name) => http(tool, name, name === "send" ? "NonIdempotent" : "ReadOnly")),
    ...(tools.includes("dice") ? [dice] : []),
  ],
  agents: [
    { name: "plain", model: "m", systemPrompt: "Be brief." },
    { name: "armed", model: "m", systemPrompt: "Use tools.", tools: [...tools] },
  ],
});
export const plain = (name: string, prompt: string) => ({ name, agent: { ref: "plain", prompt } });
export const armed = (name: string, prompt: string) => ({ name, agent: { ref: "armed", prompt } });
export const search = (q: string) => ({ toolCalls: [{ name: "search", arguments: { q } }] });
export const echo = { reply: { text: "said to $PROMPT" } };
