/** Runs that are kept as they were once recorded: how each is made, and how its record is forked by every later version. */
import type { MockScriptInput } from "../../src/cli/mock-model/script.ts";

export interface FixtureShape {
  /** Of the Execution, and of its bundle. */
  readonly name: string;
  /** Its file; `url` is the scripted model's. */
  readonly manifest: (url: string) => string;
  readonly script: MockScriptInput;
  /** Cancelled as soon as a model call is made that the rule of this name answers. */
  readonly cancelAt?: string;
  /** Of oao run. */
  readonly exitCode: number;
  /** What a fork of it is asked for: it Succeeds. */
  readonly fork: readonly string[];
  /** The model as the fork finds it; absent = the recorded one. */
  readonly forkScript?: MockScriptInput;
  /** Model calls that it makes: of all others the answers are recorded. */
  readonly liveCalls: number;
}

/** Beside every manifest: a module tool with recorded values. */
export const fixtureFiles: Readonly<Record<string, string>> = {
  "dice.mjs": `export async function dice({ sides }, ctx) {
  return { rolled: 1 + Math.floor((await ctx.random()) * sides), at: await ctx.now() };
}
`,
  "wide.yaml": policyNamed("tight", 100_000),
};

function policyNamed(name: string, maxTokens: number): string {
  return `apiVersion: oao.dev/v1alpha1
kind: GovernancePolicy
metadata: { name: ${name} }
spec: { maxTokens: ${maxTokens}, retry: { retryDelaySeconds: 0 } }
`;
}

const head = (name: string, url: string, more = "") => `apiVersion: oao.dev/v1alpha1
kind: Execution
metadata: { name: ${name} }
spec:
  task: Kept as it was recorded
  input: { topic: Wärmepumpen 🔥 }
  models: [{ name: main, provider: openai, model: gpt-5-mini, baseURL: "${url}", parameters: { temperature: 0 } }]
${more}`;
const echo = { reply: { text: "said to $PROMPT" } };
const roll = (sides: number) => ({ name: "dice", arguments: { sides } });

export const fixtureShapes: readonly FixtureShape[] = [
  {
    name: "branches",
    manifest: (url) =>
      head(
        "branches",
        url,
        `  tools: [{ name: dice, effect: ReadOnly, module: { path: dice.mjs } }]
  agents:
    - { name: plain, model: main, systemPrompt: Be brief. }
    - { name: armed, model: main, systemPrompt: Use tools., tools: [dice] }
  nodes:
    - { name: left, agent: { ref: armed, prompt: "left of $(input.topic)" } }
    - { name: right, agent: { ref: plain, prompt: right } }
    - { name: rate, dependsOn: [right], forEach: { items: '["a", "b", "c"]', maxParallel: 2 }, agent: { ref: plain, prompt: "rate $(item)" } }
    - { name: never, dependsOn: [right], when: "false", agent: { ref: plain, prompt: never } }
    - { name: join, dependsOn: [left, rate], agent: { ref: plain, prompt: "join $(nodes.left.output) and $(nodes.rate.output[1])" } }
  finally:
    - { name: tidy, agent: { ref: plain, prompt: tidy } }
---
${policyNamed("namespace-default", 50_000).replace("{ name: namespace-default }", '{ name: namespace-default, labels: { oao.dev/default: "true" } }')}`,
      ),
    script: {
      rules: [
        { match: { system: "Use tools", turn: 0 }, reply: { toolCalls: [roll(6), roll(20), roll(6)] } },
        { match: { prompt: "right", times: 1 }, reply: { status: 500 } },
        echo,
      ],
    },
    exitCode: 0,
    fork: ["--from", "rate[1]/1"],
    liveCalls: 3,
  },
  {
    name: "failed",
    manifest: (url) =>
      head(
        "failed",
        url,
        `  agents:
    - { name: plain, model: main }
    - name: reader
      model: main
      systemPrompt: You tell stories.
      outputSchema: { type: object, required: [total], properties: { total: { type: number } } }
  nodes:
    - { name: sort, agent: { ref: plain, prompt: sort } }
    - { name: read, dependsOn: [sort], agent: { ref: reader, prompt: "read $(nodes.sort.output)" } }
`,
      ),
    script: {
      rules: [{ match: { system: "You read invoices" }, reply: { structured: { total: 48_000 } } }, echo],
    },
    exitCode: 1,
    fork: ["--from-step", "2", "--set", "agents.reader.systemPrompt=You read invoices."],
    liveCalls: 1,
  },
  {
    name: "stopped",
    manifest: (url) =>
      head(
        "stopped",
        url,
        `  policyRef: { name: tight }
  agents: [{ name: plain, model: main }]
  nodes:
    - { name: first, agent: { ref: plain, prompt: first } }
    - { name: second, dependsOn: [first], agent: { ref: plain, prompt: "second $(nodes.first.output)" } }
---
${policyNamed("tight", 120)}`,
      ),
    script: { rules: [{ match: { prompt: "second" }, reply: { tokens: 200 } }, echo] },
    exitCode: 3,
    fork: ["--from", "second/1", "--policy", "wide.yaml"],
    liveCalls: 1,
  },
  {
    name: "cancelled",
    manifest: (url) =>
      head(
        "cancelled",
        url,
        `  agents: [{ name: plain, model: main }]
  nodes:
    - { name: first, agent: { ref: plain, prompt: first } }
    - { name: second, dependsOn: [first], agent: { ref: plain, prompt: "second" } }
`,
      ),
    script: {
      rules: [{ name: "slow", match: { prompt: "second" }, reply: { text: "late", firstTokenDelayMs: 600_000 } }, echo],
    },
    cancelAt: "slow",
    exitCode: 4,
    fork: ["--from", "second/1"],
    forkScript: { rules: [echo] },
    liveCalls: 1,
  },
];
