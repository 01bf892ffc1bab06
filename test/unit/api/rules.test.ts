import { Environment } from "@marcbachmann/cel-js";
import fc from "fast-check";
import { expect, test } from "vitest";
import { immutableFields } from "../../../src/api/execution-update-rules.ts";
import { type Fields, isFields } from "../../../src/api/fields.ts";
import { kinds } from "../../../src/api/json-schema.ts";
import { checkRules, checkUpdate, rules, updateRules } from "../../../src/api/rules.ts";

const environment = new Environment({ unlistedVariablesAreDyn: true, homogeneousAggregateLiterals: false });

/** What the API server would say: true = the rule holds. */
function celHolds(cel: string, self: unknown, oldSelf?: unknown): boolean {
  // This library has no two-variable macros; whether a name is in a map's keys or in the list of them is the same.
  // The rule as it is runs in test/cluster/crds.test.ts, on a real API server.
  const oneVariable = cel.replaceAll(".transformMapEntry(i, x, {x.name: i}) : {}", ".map(x, x.name) : []");
  const result: unknown = environment.evaluate(oneVariable, { self, oldSelf });
  if (typeof result !== "boolean") throw new Error(`${cel} gave ${String(result)}`);
  return result;
}

function placesOf(root: unknown, at: readonly string[]): Fields[] {
  const [step, ...rest] = at;
  if (step === undefined) return isFields(root) ? [root] : [];
  if (step === "*") return Array.isArray(root) ? root.flatMap((entry) => placesOf(entry, rest)) : [];
  return isFields(root) && root[step] !== undefined ? placesOf(root[step], rest) : [];
}

const name = fc.constantFrom("a", "b", "c");
const names = fc.uniqueArray(name, { maxLength: 3 });
const optional = { requiredKeys: [] };
const header = fc.record(
  { name, value: fc.constant("v"), secretKeyRef: fc.constant({ name: "s", key: "k" }) },
  { requiredKeys: ["name"] },
);
const tool = fc.record(
  {
    name: fc.constantFrom("a", "b", "c", "extract-a", "extracts"),
    http: fc.record({ url: fc.constant("u"), headers: fc.array(header, { maxLength: 2 }) }, { requiredKeys: ["url"] }),
    module: fc.constantFrom(
      { path: "p" },
      { configMapRef: { name: "m", key: "k.js" } },
      {},
      { path: "p", configMapRef: {} },
    ),
  },
  { requiredKeys: ["name"] },
);
const node = fc.record(
  {
    name,
    dependsOn: names,
    agent: fc.record({ ref: name }),
    tool: fc.record({ ref: name }),
    approval: fc.constant({ message: "m" }),
    forEach: fc.constant({ items: "[1]" }),
    retry: fc.constant({ maxRetries: 1 }),
    timeoutSeconds: fc.constant(1),
    budget: fc.constant([{ unit: "ModelCalls", limit: 1 }]),
    runOnCancel: fc.boolean(),
  },
  { requiredKeys: ["name"] },
);
const list = <T extends { name: string }>(entry: fc.Arbitrary<T>) =>
  fc.uniqueArray(entry, { maxLength: 3, selector: (value) => value.name });
const replay = fc.record(
  {
    executionRef: fc.constant({ name: "a" }),
    fromStep: fc.constantFrom(1, 2),
    from: fc.constant({ node: "a", step: 1 }),
    mode: fc.constantFrom("Strict", "Fork"),
    toolOutputs: fc.constantFrom("Recorded", "Live"),
    times: fc.constantFrom(1, 100),
  },
  { requiredKeys: ["executionRef"] },
);
const executionSpec = fc.record(
  {
    nodes: list(node),
    finally: list(node),
    models: list(fc.record({ name })),
    tools: list(tool),
    agents: list(fc.record({ name, model: name, tools: names }, { requiredKeys: ["name", "model"] })),
    desiredState: fc.constantFrom("Running", "Suspended", "Cancelled"),
    task: fc.constantFrom("x", "y"),
    input: fc.constantFrom({}, { a: 1 }, { a: { b: [1, 2] } }),
    parallelism: fc.constantFrom(1, 2),
    activeDeadlineSeconds: fc.constantFrom(1, 2),
    policyRef: fc.constantFrom({ name: "a" }, { name: "b" }),
    replay,
    expectedHash: fc.constantFrom({}, { hash: "x" }, { tools: "y" }),
  },
  optional,
);
const policySpec = fc.record(
  {
    enforcement: fc.constantFrom("Enforce", "Audit"),
    maxTokens: fc.constant(5),
    budgets: fc.array(
      fc.record({
        name,
        scope: fc.constantFrom("Call", "Node", "Execution"),
        unit: fc.constantFrom("TotalTokens", "ModelCalls", "ToolCalls"),
      }),
      { maxLength: 2 },
    ),
    models: fc.constantFrom({}, { allow: [] }, { deny: [] }, { alow: ["x"] }, { deny: ["x"] }),
    tools: fc.constantFrom({}, { effects: {} }, { effects: { a: "ReadOnly" } }, { hosts: [] }),
    limits: fc.constantFrom({}, { maxSteps: 3 }),
    recording: fc.constantFrom({}, { redact: [] }, { content: "Full" }),
    onInDoubt: fc.constant("Fail"),
  },
  optional,
);
const specs = { Execution: executionSpec, GovernancePolicy: policySpec } as const;

/** Rules whose CEL and function were seen to say the same, and both of what they can say: only that shows something. */
class Comparison {
  readonly differences: string[] = [];
  readonly #told = new Map<string, Set<boolean>>();
  compare(cel: string, byCel: boolean, byFunction: boolean): void {
    if (byCel !== byFunction) this.differences.push(`${cel} gives ${byCel}, its function ${byFunction}`);
    this.#told.set(cel, (this.#told.get(cel) ?? new Set()).add(byCel));
  }
  saidBoth(cel: string): boolean {
    return this.#told.get(cel)?.size === 2;
  }
}

test.each(kinds)("the CEL of every rule of %s says the same as its check, on random specs", (kind) => {
  const withCel = rules[kind].flatMap((rule) => (rule.cel === undefined ? [] : [{ ...rule, cel: rule.cel }]));
  const comparison = new Comparison();
  fc.assert(
    fc.property(specs[kind], (spec) => {
      for (const rule of withCel) {
        for (const self of placesOf({ spec }, rule.at)) {
          comparison.compare(rule.cel, celHolds(rule.cel, self), rule.check(self).length === 0);
        }
      }
      expect(comparison.differences).toEqual([]);
    }),
    { numRuns: 600, seed: 7 },
  );
  expect(withCel.filter(({ cel }) => !comparison.saidBoth(cel))).toEqual([]);
});

test("the CEL of every update rule says the same as its function, on random edits", () => {
  const comparison = new Comparison();
  fc.assert(
    fc.property(executionSpec, executionSpec, (before, after) => {
      for (const rule of updateRules.Execution) {
        comparison.compare(rule.cel, celHolds(rule.cel, after, before), rule.allows(before, after));
      }
      expect(comparison.differences).toEqual([]);
    }),
    { numRuns: 300, seed: 11 },
  );
  expect(updateRules.Execution.filter(({ cel }) => !comparison.saidBoth(cel))).toEqual([]);
});

test.each(immutableFields)("%s can neither be changed, removed, added nor set to null first", (field) => {
  const values: Record<string, unknown> = { [field]: { v: 1 } };
  const other: Record<string, unknown> = { [field]: { v: 2 } };
  const refused = (before: object, after: object) =>
    checkUpdate("Execution", { spec: before }, { spec: after }).map((breach) => [breach.code, breach.path.join(".")]);
  const breach = [["Immutable", `spec.${field}`]];
  expect(refused(values, other)).toEqual(breach);
  expect(refused(values, {})).toEqual(breach);
  expect(refused(values, { [field]: null })).toEqual(breach);
  expect(refused({ [field]: null }, other)).toEqual(breach);
  expect(refused({}, other)).toEqual(breach);
  expect(refused(values, { [field]: { v: 1 } })).toEqual([]);
});

test("desiredState goes to Cancelled and never back", () => {
  const moves = (from: string | undefined, to: string | undefined) =>
    checkUpdate("Execution", { spec: { desiredState: from } }, { spec: { desiredState: to } }).length === 0;
  expect(moves(undefined, "Suspended")).toBe(true);
  expect(moves("Suspended", undefined)).toBe(true);
  expect(moves("Running", "Cancelled")).toBe(true);
  expect(moves("Cancelled", "Cancelled")).toBe(true);
  expect(moves("Cancelled", "Running")).toBe(false);
  expect(moves("Cancelled", undefined)).toBe(false);
});

test("a breach names the place, the name and what would be right", () => {
  const spec = {
    task: "t",
    agents: [{ name: "writer", model: "man" }],
    models: [{ name: "main" }],
    nodes: [
      { name: "a", agent: { ref: "writer" }, tool: { ref: "t" } },
      { name: "a", dependsOn: ["a", "b"] },
    ],
  };
  const found = checkRules("Execution", { spec }).map(
    ({ code, path, message }) => `${path.join(".")} ${code} ${message}`,
  );
  expect(found).toEqual([
    'spec.nodes.1.name DuplicateName name "a" is already used by nodes[0]',
    "spec.nodes.0.tool NodeKind the node has agent and tool; exactly one of agent, tool and approval must be set",
    "spec.nodes.1 NodeKind the node has none of agent, tool and approval; exactly one must be set",
    'spec.agents.0.model UnknownModel there is no model "man" in spec.models',
    'spec.nodes.0.tool.ref UnknownTool there is no tool "t" in spec.tools',
    'spec.nodes.1.dependsOn.1 UnknownNode there is no node "b" in spec.nodes',
    'spec.nodes.1.dependsOn.0 SelfDependency node "a" depends on itself',
  ]);
});

test.each([
  ["Call", "ModelCalls", 1],
  ["Call", "ToolCalls", 1],
  ["Call", "OutputTokens", 0],
  ["Node", "ModelCalls", 0],
] as const)("a budget of scope %s in %s breaks %i rules", (scope, unit, breaches) => {
  const spec = { budgets: [{ name: "b", scope, unit, limit: 1 }] };
  const found = checkRules("GovernancePolicy", { spec });
  expect(found.map(({ code, path }) => [code, path.join(".")])).toEqual(
    Array.from({ length: breaches }, () => ["CallBudget", "spec.budgets.0.unit"]),
  );
});
