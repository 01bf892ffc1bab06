/** What a what-if makes of records with siblings, finally nodes and dead workers; that it stops what workers stop is in conformance/worker. */
import { expect, test } from "vitest";
import type { ExecutionSpec, GovernancePolicy, PolicySpec } from "../../../src/api/types.ts";
import { combinePolicies } from "../../../src/core/policy/combine.ts";
import { whatIf } from "../../../src/core/policy/what-if.ts";
import { genesis } from "../../../src/core/protocol/names.ts";
import { chain, type EntryDraft } from "../../../src/core/steps/chain.ts";
import type { ItemJournal } from "../../../src/core/trace/journal.ts";

const at = (second: number) => `2026-01-02T03:04:${String(second).padStart(2, "0")}.000Z`;
const own = { attempt: 1, try: 1 };
const identity = (name: string, order: number) =>
  ({ path: [order, 0], kind: "model", name: "m", requestDigest: name, occurrence: 0 }) as const;

const start = (second: number, attempt = 1): EntryDraft => ({
  type: "start",
  ...own,
  attempt,
  snapshot: "",
  runtime: { format: 1, version: "0", node: "v24" },
  tools: {},
  at: at(second),
});
const asked = (name: string, second: number, order = 0): EntryDraft => ({
  type: "intent",
  ...own,
  ...identity(name, order),
  call: 0,
  at: at(second),
});
/** 10 tokens in, `output` out. */
const answered = (name: string, second: number, output: number, order = 0): EntryDraft => ({
  type: "step",
  ...own,
  ...identity(name, order),
  input: { base: null, keep: 0, append: [], header: "" },
  output: null,
  error: null,
  usage: {
    input: 10,
    output,
    total: 10 + output,
    reported: null,
    estimated: { input: 10, output },
    counted: { input: 10, output, total: 10 + output },
    overshoot: 0,
  },
  startedAt: at(second),
  completedAt: at(second),
  outcome: "Ok",
  toolCalls: [],
});
const journal = (node: string, ...drafts: readonly EntryDraft[]): ItemJournal => ({
  node,
  entries: chain(drafts, 0, genesis("u", { node })),
});
const agent = { agent: { ref: "a", prompt: "go" } };
const specOf = (nodes: readonly string[], last: readonly string[] = []): ExecutionSpec => ({
  task: "t",
  models: [{ name: "m", provider: "openai", model: "gpt" }],
  agents: [{ name: "a", model: "m" }],
  nodes: nodes.map((name) => ({ name, ...agent })),
  ...(last.length === 0 ? {} : { finally: last.map((name) => ({ name, ...agent })) }),
});
const policy = (spec: PolicySpec) =>
  combinePolicies([{ policy: { metadata: { name: "p" }, spec } as GovernancePolicy, role: "Ref" }], {
    requirePairing: false,
  });
const tokens = (limit: number) => policy({ maxTokens: limit });

test("the order is that of the clock over nodes, so the node that is first by name does not have to stop first", () => {
  const journals = [
    journal("a", asked("a", 5), answered("a", 6, 90)),
    journal("b", asked("b", 1), answered("b", 2, 90)),
  ];
  const result = whatIf(specOf(["a", "b"]), journals, tokens(150));
  expect(result.calls).toMatchObject([
    { node: "a", step: 1, effect: "Stops", path: "Execution/TotalTokens", tokens: 100 },
  ]);
  expect(result).toMatchObject({ isStopped: true, tokensUsed: 200, tokensSaved: 50, callsSaved: 0, unknown: [] });
});

test("what a sibling had at work when the run would have ended counts as used, and is said to be unknown", () => {
  const journals = [
    journal("a", asked("a", 1), answered("a", 9, 90)),
    journal("b", asked("b", 2), answered("b", 3, 90)),
    journal("c", asked("c", 4), answered("c", 5, 90)),
  ];
  const result = whatIf(specOf(["a", "b", "c"]), journals, tokens(60));
  expect(result.calls).toMatchObject([{ node: "b", effect: "Stops" }]);
  // Of b the 40 beyond its budget, of c all, of a nothing that is certain.
  expect(result).toMatchObject({ tokensSaved: 140, callsSaved: 1 });
  expect(result.unknown).toEqual([expect.stringMatching(/^1 model call was at work .* of 100 tokens/)]);
});

test("later calls are told of where a list refuses them, not for a budget that is used up", () => {
  const journals = [journal("a", asked("1", 1), answered("1", 2, 90), asked("2", 3, 1), answered("2", 4, 90, 1))];
  const both = policy({ maxTokens: 60, models: { deny: ["openai/*"] } });
  expect(whatIf(specOf(["a"]), journals, both).calls.map(({ step, effect, path }) => [step, effect, path])).toEqual([
    [1, "Stops", "spec.models.deny"],
    [2, "After", "spec.models.deny"],
  ]);
  expect(whatIf(specOf(["a"]), journals, tokens(60)).calls).toHaveLength(1);
});

test("finally nodes go on with what the stopped run would have left them, and one that fails ends no other", () => {
  const journals = [
    journal("a", asked("a", 1), answered("a", 2, 90)),
    journal("x", asked("x", 3), answered("x", 4, 30)),
    journal("y", asked("y", 5), answered("y", 6, 10)),
  ];
  const result = whatIf(
    specOf(["a"], ["x", "y"]),
    journals,
    policy({ budgets: [{ name: "n", scope: "Node", unit: "TotalTokens", limit: 35 }] }),
  );
  expect(result.calls.map(({ node, effect }) => [node, effect])).toEqual([
    ["a", "Stops"],
    ["x", "Stops"],
  ]);
  expect(result).toMatchObject({ tokensUsed: 160, tokensSaved: 65 + 5, callsSaved: 0 });
  expect(result.unknown).toEqual([
    expect.stringContaining("2 calls of finally nodes would have been made all the same"),
  ]);
});

test("an image that the policy does not list keeps the run from starting: all of it is saved", () => {
  const spec = specOf(["a"]);
  const withImage = { ...spec, nodes: [{ name: "a", ...agent, image: "other/worker:1" }] };
  const journals = [journal("a", asked("a", 1), answered("a", 2, 90))];
  const result = whatIf(withImage, journals, policy({ images: { allow: ["own/*"] } }));
  expect(result.calls).toMatchObject([
    { step: null, node: "a", kind: "image", name: "other/worker:1", effect: "Stops" },
  ]);
  expect(result).toMatchObject({ isStopped: true, tokensUsed: 100, tokensSaved: 100, callsSaved: 1 });
});

test("a call that was lost with its worker holds its step no longer, and its successor counts as another call", () => {
  const calls = policy({ budgets: [{ name: "c", scope: "Execution", unit: "ModelCalls", limit: 1 }] });
  const journals = [journal("a", start(0), asked("a", 1), start(2, 2), asked("a", 3), answered("a", 4, 90))];
  const result = whatIf(specOf(["a"]), journals, calls);
  expect(result.calls).toMatchObject([{ step: 1, effect: "Stops", path: "Execution/ModelCalls" }]);
  expect(result.unknown).toEqual([expect.stringMatching(/^1 call was lost with a worker/)]);
  const steps = policy({ limits: { maxSteps: 1 } });
  expect(whatIf(specOf(["a"]), journals, steps)).toMatchObject({ isStopped: false, calls: [] });
});
