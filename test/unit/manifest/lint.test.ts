import fc from "fast-check";
import { expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { cyclesOf, graphOf } from "../../../src/core/manifest/graph.ts";
import { lintManifest } from "../../../src/core/manifest/lint.ts";
import { policyProblems } from "../../../src/core/manifest/policy-problems.ts";
import { formatProblem, nearest } from "../../../src/core/manifest/problem.ts";
import { combinePolicies } from "../../../src/core/policy/combine.ts";

type Fields = Record<string, unknown>;

function manifest(spec: Fields): string {
  return stringify({
    apiVersion: "oao.dev/v1alpha1",
    kind: "Execution",
    metadata: { name: "run" },
    spec: {
      task: "t",
      models: [{ name: "main", provider: "openai", model: "m" }],
      tools: [{ name: "search", http: { method: "GET", url: "https://x.example" } }],
      agents: [{ name: "writer", model: "main", tools: ["search"] }],
      nodes: [{ name: "a", tool: { ref: "search" } }],
      ...spec,
    },
  });
}

function policyManifest(spec: Fields): string {
  return stringify({ apiVersion: "oao.dev/v1alpha1", kind: "GovernancePolicy", metadata: { name: "p" }, spec });
}

/** `path  message  (hint)`, without places. */
function lint(text: string): string[] {
  return lintManifest(text, "f.yaml").problems.map(
    ({ severity, path, message, hint }) =>
      `${severity === "Warning" ? "warning " : ""}${path}  ${message}${hint === "" ? "" : `  (${hint})`}`,
  );
}

const tool = { tool: { ref: "search" } };
const agent = (prompt: string) => ({ agent: { ref: "writer", prompt } });

test("a sound manifest has no problem and comes back exactly as written", () => {
  const text = `apiVersion: oao.dev/v1alpha1
kind: Execution
metadata: {name: market-brief, namespace: team-a}
spec:
  task: Brief on $(input.topic)
  input: {topic: heat pumps, __proto__: {x: 1}}
  models: [{name: main, provider: openai, model: gpt-5-mini, parameters: {temperature: 0.5}}]
  tools: [{name: score, module: {path: tools/score.js}}]
  agents: [{name: researcher, model: main, systemPrompt: "You know $(input.topic).", tools: [score]}]
  nodes:
    - {name: gather, agent: {ref: researcher, prompt: "Facts on $(input.topic)"}}
    - name: rank-all
      dependsOn: [gather]
      when: nodes.gather.output.facts.size() > 0
      forEach: {items: nodes.gather.output.facts}
      tool: {ref: score, arguments: {fact: $(item), n: 3}}
    - {name: write, dependsOn: [rank-all], agent: {ref: researcher, prompt: '$(nodes["rank-all"].output) and $(nodes.gather.output)'}}
  finally:
    - {name: note, runOnCancel: true, tool: {ref: score, arguments: {last: $(nodes.write.output)}}}
`;
  const { executions, policies, problems } = lintManifest(text, "f.yaml");
  expect(problems).toEqual([]);
  expect(policies).toEqual([]);
  expect(JSON.stringify(executions[0]?.object.spec.input)).toBe('{"topic":"heat pumps","__proto__":{"x":1}}');
  expect(executions[0]?.object.spec.parallelism).toBeUndefined();
});

test.each<[string, Fields, string[]]>([
  [
    "an unknown field",
    { parallelsim: 3 },
    ['spec.parallelsim  unknown field "parallelsim"  (did you mean "parallelism"?)'],
  ],
  [
    "a field one level too high",
    { nodes: [{ name: "a", agent: { ref: "writer", prompt: "p" }, prompt: "x" }] },
    ['spec.nodes[0].prompt  unknown field "prompt"  (prompt belongs inside agent)'],
  ],
  [
    "a missing field",
    { nodes: [{ name: "a", agent: { ref: "writer" } }] },
    ["spec.nodes[0].agent.prompt  prompt is missing"],
  ],
  ["no nodes", { nodes: undefined }, ["spec.nodes  nodes is missing"]],
  ["an empty field", { parallelism: null }, ["spec.parallelism  parallelism is empty  (remove it or give it a value)"]],
  [
    "text for a number",
    { parallelism: "4" },
    ['spec.parallelism  must be a number, but is the text "4"  (remove the quotes)'],
  ],
  ["a number for text", { task: 4 }, ['spec.task  must be text, but is 4  (write "4" in quotes)']],
  ["a fraction", { parallelism: 1.5 }, ["spec.parallelism  must be a whole number, but is 1.5"]],
  [
    "an object for a list",
    { finally: { name: "x" } },
    ["spec.finally  must be a list, but is an object  (start each entry with '-')"],
  ],
  ["a number that is too large", { parallelism: 5000 }, ["spec.parallelism  must be at most 1000, but is 5000"]],
  [
    "a text that is too long",
    { task: "x".repeat(70_000) },
    ["spec.task  has 70000 characters; at most 65536 are allowed"],
  ],
  [
    "too many entries",
    { finally: Array.from({ length: 51 }, (_, i) => ({ name: `f${i}`, ...tool })) },
    ["spec.finally  has 51 entries; at most 50 are allowed"],
  ],
  [
    "a value outside of an enum",
    { desiredState: "suspended" },
    [
      'spec.desiredState  must be one of Running, Suspended, Cancelled, but is the text "suspended"  (did you mean "Suspended"?)',
    ],
  ],
  [
    "a name with capitals",
    { nodes: [{ name: "A", ...tool }] },
    ["spec.nodes[0].name  the text \"A\" must be a DNS label: lower case letters, digits and '-', as in 'rank-facts'"],
  ],
  [
    "PolicyViolation in a retry list",
    { nodes: [{ name: "a", ...tool, retry: { maxRetries: 1, retryOn: ["PolicyViolation"] } }] },
    [
      "spec.nodes[0].retry.retryOn[0]  a PolicyViolation is never retried: a run that breaks a policy stops  (remove it; if the limit is wrong, change the policy)",
    ],
  ],
  [
    "a digest that is none",
    { expectedHash: { task: "sha256:0" } },
    [
      'spec.expectedHash.task  the text "sha256:0" must be sha256: and 64 lower case hexadecimal digits, as oao hash prints it',
    ],
  ],
  [
    "an expectation of nothing",
    { expectedHash: {} },
    [
      "spec.expectedHash  expectedHash is empty, so it expects nothing  (give it one of hash, task, policy, agents, tools, runtime, as oao hash FILE prints them)",
    ],
  ],
  [
    "a node kind of a later version",
    { nodes: [{ name: "a", graph: { path: "g.js" } }] },
    ["spec.nodes[0].graph  graph is not supported by this version  (remove it)"],
  ],
  [
    "a duplicate node",
    {
      nodes: [
        { name: "a", ...tool },
        { name: "a", ...tool },
      ],
    },
    ['spec.nodes[1].name  name "a" is already used by nodes[0]  (give one of them another name)'],
  ],
  [
    "a name in nodes and finally",
    { finally: [{ name: "a", ...tool }] },
    ['spec.finally[0].name  name "a" is already used in nodes'],
  ],
  [
    "two kinds",
    { nodes: [{ name: "a", ...tool, ...agent("p") }] },
    ["spec.nodes[0].tool  the node has agent and tool; exactly one of agent, tool and approval must be set"],
  ],
  [
    "no kind",
    { nodes: [{ name: "a" }] },
    ["spec.nodes[0]  the node has none of agent, tool and approval; exactly one must be set"],
  ],
  [
    "an unknown tool",
    { nodes: [{ name: "a", tool: { ref: "serch" } }] },
    ['spec.nodes[0].tool.ref  there is no tool "serch" in spec.tools  (did you mean "search"?)'],
  ],
  [
    "an unknown agent",
    { nodes: [{ name: "a", agent: { ref: "x", prompt: "p" } }] },
    ['spec.nodes[0].agent.ref  there is no agent "x" in spec.agents  (known: writer)'],
  ],
  [
    "an unknown model",
    { agents: [{ name: "w", model: "mian" }] },
    ['spec.agents[0].model  there is no model "mian" in spec.models  (did you mean "main"?)'],
  ],
  [
    "an unknown dependency",
    {
      nodes: [
        { name: "gather", ...tool },
        { name: "b", dependsOn: ["gahter"], ...tool },
      ],
    },
    ['spec.nodes[1].dependsOn[0]  there is no node "gahter" in spec.nodes  (did you mean "gather"?)'],
  ],
  [
    "a self-edge",
    { nodes: [{ name: "a", dependsOn: ["a"], ...tool }] },
    ['spec.nodes[0].dependsOn[0]  node "a" depends on itself  (remove it)'],
  ],
  [
    "a dependency on a finally node",
    { nodes: [{ name: "a", dependsOn: ["z"], ...tool }], finally: [{ name: "z", ...tool }] },
    ['spec.nodes[0].dependsOn[0]  "z" is in finally: those start after all nodes have ended  (remove it)'],
  ],
  [
    "runOnCancel on an agent node",
    { finally: [{ name: "z", runOnCancel: true, ...agent("p") }] },
    [
      "spec.finally[0].runOnCancel  runOnCancel is for tool nodes: a cancelled run makes no model calls  (remove it, or do the work in a tool)",
    ],
  ],
  [
    "an expression in an address",
    { models: [{ name: "main", provider: "openai", model: "m", baseURL: "https://$(input.host)/v1" }] },
    [
      "spec.models[0].baseURL  $( … ) is not evaluated in baseURL: it stays as it is  (expressions are evaluated in task, systemPrompt, prompt, a tool node's arguments and an approval's message)",
    ],
  ],
  [
    "an expression in free text",
    { input: { a: "$(x)" } },
    [
      "warning spec.input.a  $( … ) is not evaluated in a: it stays as it is  (expressions are evaluated in task, systemPrompt, prompt, a tool node's arguments and an approval's message)",
    ],
  ],
])("%s is one problem that says what to do", (_, spec, wanted) => {
  expect(lint(manifest(spec))).toEqual(wanted);
});

test.each<[string, Fields, string]>([
  [
    "a cycle, named",
    {
      nodes: [
        { name: "a", dependsOn: ["c"], ...tool },
        { name: "b", dependsOn: ["a"], ...tool },
        { name: "c", dependsOn: ["b"], ...tool },
      ],
    },
    "the nodes wait for each other: a → c → b → a",
  ],
  [
    "an output of a node that is not awaited",
    {
      nodes: [
        { name: "a", ...tool },
        { name: "b", ...agent("$(nodes.a.output)") },
      ],
    },
    'node "b" reads the output of "a" but does not depend on it, so it may not be there  (add a to dependsOn of b)',
  ],
  [
    "an output of an unknown node",
    {
      nodes: [
        { name: "gather", ...tool },
        { name: "b", dependsOn: ["gather"], ...agent("$(nodes.gathr.output)") },
      ],
    },
    'there is no node "gathr"  (did you mean "gather"?)',
  ],
  ["a node's own output", { nodes: [{ name: "a", ...agent("$(nodes.a.output)") }] }, 'node "a" reads its own output'],
  [
    "a system prompt that not every user can fill",
    {
      agents: [{ name: "writer", model: "main", systemPrompt: "$(nodes.x.output)" }],
      nodes: [
        { name: "x", ...tool },
        { name: "b", ...agent("p") },
      ],
    },
    'spec.agents[0].systemPrompt  node "b" reads the output of "x"',
  ],
  ["an output in the task", { task: "$(nodes.a.output)" }, "spec.task  the task is read before any node has run"],
  [
    "a name that CEL reads as a subtraction",
    {
      nodes: [
        { name: "sign-off", ...tool },
        { name: "b", dependsOn: ["sign-off"], ...agent("$(nodes.sign-off.output)") },
      ],
    },
    'write nodes["sign-off"].output',
  ],
  [
    "item outside of forEach",
    { nodes: [{ name: "a", ...agent("$(item)") }] },
    "item exists only in the work of a node with forEach  (add forEach to the node)",
  ],
  [
    "item in when",
    { nodes: [{ name: "a", forEach: { items: "[1]" }, when: "item > 0", ...tool }] },
    "spec.nodes[0].when  item exists only",
  ],
  ["CEL that does not parse", { nodes: [{ name: "a", when: "1 +", ...tool }] }, "spec.nodes[0].when  "],
  [
    "a template where CEL is wanted",
    { nodes: [{ name: "a", when: "$(input.x)", ...tool }] },
    "when is CEL itself  (write the expression without $( and ))",
  ],
  [
    "an expression deep in arguments",
    { nodes: [{ name: "a", tool: { ref: "search", arguments: { x: [{ y: "$(1 +)" }] } } }] },
    "spec.nodes[0].tool.arguments.x[0].y  ",
  ],
])("%s is a problem", (_, spec, wanted) => {
  const found = lint(manifest(spec));
  expect(found).toHaveLength(1);
  expect(found[0]).toContain(wanted);
});

test.each<[string, Fields, string[]]>([
  ["no rule", { enforcement: "Audit" }, ["spec  the policy holds no rule  (set at least one, for example maxTokens)"]],
  [
    "only a misspelt rule",
    { models: { alow: ["x"] } },
    [
      "spec  the policy holds no rule  (set at least one, for example maxTokens)",
      'spec.models.alow  unknown field "alow"  (did you mean "allow"?)',
    ],
  ],
  [
    "warnPercent",
    { budgets: [{ name: "b", scope: "Node", unit: "ModelCalls", limit: 1, warnPercent: 80 }] },
    ["spec.budgets[0].warnPercent  warnPercent is not supported by this version  (remove it)"],
  ],
  [
    "a retry of violations",
    { retry: { retryOn: ["PolicyViolation"] } },
    [
      "spec.retry.retryOn[0]  a PolicyViolation is never retried: a run that breaks a policy stops  (remove it; if the limit is wrong, change the policy)",
    ],
  ],
  [
    "two budgets of one name",
    { budgets: [0, 1].map(() => ({ name: "x", scope: "Call", unit: "TotalTokens", limit: 1 })) },
    ['spec.budgets[1].name  name "x" is already used by budgets[0]  (give one of them another name)'],
  ],
])("a policy with %s", (_, spec, wanted) => {
  expect(lint(policyManifest(spec)).sort()).toEqual(wanted.sort());
});

test("every problem of a file is reported at once, by line, over all its documents", () => {
  const text = `${manifest({ parallelsim: 1, nodes: [{ name: "a" }] })}---\n${policyManifest({ maxTokens: 1, tools: { approval: [] } })}---\nnot: ours\n---\n- 3\n`;
  const { problems, executions, policies } = lintManifest(text, "f.yaml");
  expect(problems.map(({ code }) => code)).toEqual([
    "NodeKind",
    "UnknownField",
    "NotSupported",
    "MissingField",
    "WrongType",
  ]);
  expect(problems.map(({ line }) => line)).toEqual(problems.map(({ line }) => line).toSorted((a, b) => a - b));
  expect([executions.length, policies.length]).toEqual([0, 0]);
});

test("objects of other groups in the file are passed over with a warning", () => {
  const { problems, executions } = lintManifest(`${manifest({})}---\napiVersion: v1\nkind: Secret\n`, "f.yaml");
  expect(problems).toMatchObject([{ severity: "Warning", code: "ForeignKind" }]);
  expect(executions).toHaveLength(1);
});

test.each([
  ["kind: Excution\napiVersion: oao.dev/v1alpha1", 'did you mean "Execution"?'],
  ["kind: Execution\napiVersion: oao.dev/v1", "must be oao.dev/v1alpha1"],
  ["apiVersion: oao.dev/v1alpha1", "kind is missing"],
])("a wrong header %j is told", (text, wanted) => {
  expect(lint(text).join("\n")).toContain(wanted);
});

test("sizes that kubectl or the API server would refuse are measured", () => {
  const input = (bytes: number) => ({ input: { text: "x".repeat(bytes) } });
  expect(lint(manifest(input(200_000)))).toEqual([]);
  expect(lint(manifest(input(300_000)))[0]).toContain("use kubectl apply --server-side");
  expect(lintManifest(manifest(input(800_000)), "f").problems).toMatchObject([{ severity: "Error", code: "TooLarge" }]);
  // What counts is what is stored: who set each field too.
  const row = Object.fromEntries(Array.from({ length: 80 }, (_, at) => [`k${at}`, 1]));
  const rows = Object.fromEntries(Array.from({ length: 1_000 }, (_, at) => [`row${at}`, row]));
  const [first] = lint(JSON.stringify({ ...parse(manifest({})), spec: { ...parse(manifest({})).spec, input: rows } }));
  expect(first).toMatch(/would store 1[0-9]{6} bytes of this manifest/);
  expect(lint(manifest(input(690_000)))[0]).toContain("use kubectl apply --server-side");
});

test("a problem is one line with file, line, column, path and message, and what to do below", () => {
  const [problem] = lintManifest(manifest({ parallelism: "4" }), "run.yaml").problems;
  expect(problem === undefined ? "" : formatProblem(problem)).toBe(
    'run.yaml:25:16  spec.parallelism  must be a number, but is the text "4"\n    remove the quotes',
  );
});

test("a hostile manifest of a thousand wrong nodes is answered", () => {
  const nodes = Array.from({ length: 1000 }, (_, i) => ({
    name: `n${i}`,
    dependsOn: Array.from({ length: 50 }, (__, j) => `m${(i * 50 + j) % 3000}`),
    ...tool,
  }));
  expect(
    lintManifest(JSON.stringify({ ...JSON.parse(JSON.stringify({ kind: "Execution" })), spec: { nodes } }), "f")
      .problems.length,
  ).toBeGreaterThan(50_000);
});

test("cycles are found in long chains without recursion", () => {
  const nodes = Array.from({ length: 20_000 }, (_, i) => ({ name: `n${i}`, dependsOn: [`n${(i + 1) % 20_000}`] }));
  expect(cyclesOf(graphOf({ nodes }, "nodes")).map((cycle) => cycle.length)).toEqual([20_001]);
  expect(cyclesOf(graphOf({ nodes: nodes.slice(1) }, "nodes"))).toEqual([]);
});

test("a cycle is reported exactly when there is one", () => {
  const edges = fc.array(fc.tuple(fc.nat(5), fc.nat(5)), { maxLength: 12 });
  fc.assert(
    fc.property(edges, (pairs) => {
      const nodes = Array.from({ length: 6 }, (_, i) => ({
        name: `n${i}`,
        dependsOn: pairs.filter(([from]) => from === i).map(([, to]) => `n${to}`),
      }));
      const graph = graphOf({ nodes }, "nodes");
      // A node that reaches itself is in a cycle.
      const reachableFrom = (start: string) => {
        const seen = new Set<string>();
        const open = [...(graph.dependencies.get(start) ?? [])];
        for (let next = open.pop(); next !== undefined; next = open.pop()) {
          if (!seen.has(next)) open.push(...(graph.dependencies.get(next) ?? []));
          seen.add(next);
        }
        return seen;
      };
      const cyclic = nodes.some(({ name }) => reachableFrom(name).has(name));
      const cycles = cyclesOf(graph);
      expect(cycles.length > 0).toBe(cyclic);
      for (const cycle of cycles) {
        expect(cycle[0]).toBe(cycle.at(-1));
        for (const [index, name] of cycle.slice(1).entries())
          expect(graph.dependencies.get(cycle[index] ?? "")).toContain(name);
      }
    }),
    { numRuns: 500, seed: 19 },
  );
});

test("what the policies refuse is a problem at the place in the file", () => {
  const { executions } = lintManifest(manifest({}), "f.yaml");
  const policy = (enforcement: "Enforce" | "Audit") =>
    combinePolicies(
      [
        {
          role: "Ref",
          policy: {
            apiVersion: "oao.dev/v1alpha1",
            kind: "GovernancePolicy",
            metadata: { name: "p" },
            spec: { enforcement, tools: { deny: ["search"] } },
          },
        },
      ],
      { requirePairing: true },
    );
  const problems = (enforcement: "Enforce" | "Audit") =>
    executions.flatMap((one) => policyProblems(one, policy(enforcement)));
  expect(problems("Enforce")).toMatchObject([
    {
      path: "spec.tools[0]",
      line: 12,
      severity: "Error",
      message: "PolicyViolation: Tool Denied: search (policy p, spec.tools.deny)",
    },
  ]);
  expect(problems("Audit")).toMatchObject([{ severity: "Warning" }]);
});

test.each([
  ["dependson", ["dependsOn", "name"], "dependsOn"],
  ["mian", ["main"], "main"],
  ["xyz", ["main"], undefined],
  ["", ["a"], undefined],
  ["x".repeat(10_000), ["a"], undefined],
])("the name nearest to %j", (name, known, wanted) => {
  expect(nearest(name, known)).toBe(wanted);
});
