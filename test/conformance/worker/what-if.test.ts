/** A what-if is held to what workers do: the same script is run under a policy, and that policy is put to the record of a free run. */
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { MemoryStore } from "../../../src/adapters/store/memory/memory-store.ts";
import type { ExecutionSpec, GovernancePolicy, PolicySpec } from "../../../src/api/types.ts";
import { type MockModel, startMockModel } from "../../../src/cli/mock-model/server.ts";
import { parseScript } from "../../../src/cli/mock-model/script.ts";
import { combinePolicies } from "../../../src/core/policy/combine.ts";
import type { EffectivePolicy } from "../../../src/core/policy/types.ts";
import { type WhatIf, whatIf } from "../../../src/core/policy/what-if.ts";
import { type Unit, units } from "../../../src/core/protocol/types.ts";
import { readEntry } from "../../../src/core/steps/chain.ts";
import { canonicalSteps, findingsOf, type ItemJournal } from "../../../src/core/trace/journal.ts";
import { attemptNode, openTestRun, orderFor } from "../../support/run-worker.ts";

/** What a node's agent says: how often it calls a tool before it answers with so many tokens. */
interface NodeScript {
  readonly turns: readonly (readonly { readonly name: "dice" | "roll"; readonly sides: number }[])[];
  readonly answer: number;
  readonly usage: "Exact" | "Missing" | "Low";
}

const servers: MockModel[] = [];
afterAll(() => Promise.all(servers.map((server) => server.close())));

async function serve(nodes: readonly NodeScript[]): Promise<string> {
  const rules = nodes.flatMap(({ turns, answer, usage }, node) => [
    ...turns.map((calls, turn) => ({
      match: { prompt: `node ${node}`, turn },
      reply: { toolCalls: calls.map(({ name, sides }) => ({ name, arguments: { sides } })), usage },
    })),
    { match: { prompt: `node ${node}` }, reply: { tokens: answer, usage } },
  ]);
  const server = await startMockModel({ script: parseScript({ rules }, "script") });
  servers.push(server);
  return server.baseURL;
}

const module = { path: "test/golden/tools/dice.mjs", export: "dice" };
const specOf = (baseURL: string, nodes: number, budget?: number): ExecutionSpec => ({
  task: "t",
  models: [{ name: "m", provider: "openai", model: "mock", baseURL }],
  tools: [
    { name: "dice", effect: "Idempotent", module },
    { name: "roll", effect: "Idempotent", module },
  ],
  agents: [{ name: "a", model: "m", tools: ["dice", "roll"] }],
  nodes: Array.from({ length: nodes }, (_, index) => ({
    name: `n${index}`,
    agent: { ref: "a", prompt: `node ${index}` },
    ...(budget === undefined ? {} : { budget: [{ unit: "TotalTokens" as const, limit: budget }] }),
  })),
});

const policyOf = (...specs: readonly PolicySpec[]): EffectivePolicy =>
  combinePolicies(
    specs.map((spec, index) => ({
      policy: {
        apiVersion: "oao.dev/v1alpha1",
        kind: "GovernancePolicy",
        metadata: { name: `p${index}` },
        spec,
      } as GovernancePolicy,
      role: "Ref" as const,
    })),
    { requirePairing: false },
  );
const free = policyOf({ infrastructure: { maxRestarts: 1 } });

/** Nodes one after the other, until one fails: what the record of it is. */
async function record(spec: ExecutionSpec, policy: EffectivePolicy): Promise<readonly ItemJournal[]> {
  const store = new MemoryStore({ nowMs: () => Date.now() });
  const run = await openTestRun(store, spec, policy);
  const journals: ItemJournal[] = [];
  for (const { name: node } of spec.nodes) {
    const exit = await attemptNode(store, orderFor(run, node, 1));
    journals.push({ node, entries: await store.entries(run.uid, { node }, 0, 1_000) });
    if (exit !== "done") break;
  }
  return journals;
}

/** The stop as the run itself recorded it. */
function liveStop(spec: ExecutionSpec, journals: readonly ItemJournal[]) {
  const [violation] = findingsOf(spec, journals).filter(({ entry }) => entry.enforcement === "Enforce");
  if (violation === undefined) return undefined;
  const { journal, entry } = violation;
  const step = canonicalSteps(spec, journals).find(
    (call) => call.journal.node === journal.node && ["Cut", "Refused"].includes(call.entry.outcome),
  );
  return { node: journal.node, path: step?.entry.path ?? [], message: entry.message, rule: entry.path };
}

/** A value that a tool asks for is a call of its own here, and ends the tool's there. */
function firstStop(
  { calls }: WhatIf,
  spec: ExecutionSpec,
  journals: readonly ItemJournal[],
  live: { path: readonly number[] },
) {
  const found = calls.find(({ effect }) => effect === "Stops");
  const step = canonicalSteps(spec, journals)[(found?.step ?? 0) - 1];
  return (
    found && {
      node: found.node,
      path: step?.entry.path.slice(0, live.path.length),
      message: found.message,
      rule: found.path,
    }
  );
}

/** All that budgets count. */
const tokensOf = (journals: readonly ItemJournal[]) =>
  journals
    .flatMap(({ entries }) => entries.map(readEntry))
    .reduce(
      (sum, entry) => sum + ("usage" in entry ? (entry.usage?.counted.total ?? 0) + (entry.usage?.overshoot ?? 0) : 0),
      0,
    );

const auditsOf = (spec: ExecutionSpec, journals: readonly ItemJournal[]) =>
  findingsOf(spec, journals).flatMap(({ journal, entry }) =>
    entry.enforcement === "Audit" ? [`${journal.node} ${entry.path} ${entry.message}`] : [],
  );

const call = fc.record({ name: fc.constantFrom("dice" as const, "roll" as const), sides: fc.constantFrom(6, 20) });
type Usage = NodeScript["usage"];
const script = (callsMax: number, ...usages: readonly Usage[]): fc.Arbitrary<readonly NodeScript[]> =>
  fc.array(
    fc.record({
      turns: fc.array(fc.array(call, { minLength: 1, maxLength: callsMax }), { maxLength: 4 }),
      answer: fc.integer({ min: 1, max: 400 }),
      usage: fc.constantFrom(...usages),
    }),
    { minLength: 1, maxLength: 3 },
  );
const ranges: Readonly<Record<Unit, readonly [number, number]>> = {
  TotalTokens: [100, 2_500],
  InputTokens: [100, 2_000],
  OutputTokens: [20, 900],
  ModelCalls: [1, 10],
  ToolCalls: [1, 8],
  Steps: [2, 24],
};
const budget = fc
  .tuple(fc.constantFrom("Call" as const, "Node" as const, "Execution" as const), fc.constantFrom(...units))
  .chain(([scope, unit]) =>
    fc.integer({ min: ranges[unit][0], max: ranges[unit][1] }).map((limit): PolicySpec => {
      if (unit === "Steps") return { limits: { maxSteps: limit } };
      const counts = unit === "ModelCalls" || unit === "ToolCalls";
      return { budgets: [{ name: "b", scope: counts && scope === "Call" ? "Node" : scope, unit, limit }] };
    }),
  );
const list = fc.constantFrom<PolicySpec>(
  { tools: { deny: ["roll"] } },
  { tools: { deny: ["roll"], modules: ["elsewhere/*"] } },
  { models: { allow: ["anthropic/*"] } },
  { limits: { loopDetection: { sameCall: 2 } } },
);
const rule = fc.oneof({ weight: 3, arbitrary: budget }, { weight: 1, arbitrary: list });
const policy = fc
  .array(fc.tuple(rule, fc.constantFrom("Enforce" as const, "Enforce" as const, "Audit" as const)), {
    minLength: 1,
    maxLength: 3,
  })
  .map((rules) => policyOf(...rules.map(([spec, enforcement]) => ({ ...spec, enforcement }))));

describe("a what-if of the policy that a run was under", () => {
  it("stops nothing of a run that it let pass, and finds what was audited, whatever was said and called at once", async () => {
    let [passed, audited] = [0, 0];
    await fc.assert(
      fc.asyncProperty(script(3, "Exact", "Missing", "Low"), policy, async (nodes, own) => {
        const spec = specOf(await serve(nodes), nodes.length);
        const journals = await record(spec, own);
        const result = whatIf(spec, journals, own);
        if (liveStop(spec, journals) !== undefined) return;
        passed += 1;
        expect(result).toMatchObject({ isStopped: false, tokensSaved: 0, callsSaved: 0, unknown: [] });
        const found = result.calls.map(({ node, path, message }) => `${node} ${path} ${message}`);
        audited += found.length;
        expect(new Set(found)).toEqual(new Set(auditsOf(spec, journals)));
      }),
      { numRuns: 30, seed: 11 },
    );
    expect(passed).toBeGreaterThan(8);
    expect(audited).toBeGreaterThan(3);
  });
});

describe("a what-if of a run that its own policy stopped", () => {
  const talk: NodeScript = { turns: [[{ name: "dice", sides: 6 }]], answer: 300, usage: "Exact" };

  it.each([
    ["mid-stream", { budgets: [{ name: "b", scope: "Execution", unit: "OutputTokens", limit: 90 }] }],
    ["at a list", { tools: { deny: ["dice"] } }],
    ["at a count of calls", { budgets: [{ name: "b", scope: "Execution", unit: "ModelCalls", limit: 1 }] }],
  ] as const)("%s finds that stop again, and says that the rest is not recorded", async (_where, rules) => {
    const own = policyOf(rules as unknown as PolicySpec);
    const spec = specOf(await serve([talk]), 1);
    const journals = await record(spec, own);
    const live = liveStop(spec, journals);
    if (live === undefined) throw new Error("the run was not stopped");
    const result = whatIf(spec, journals, own);
    expect(firstStop(result, spec, journals, live)).toEqual(live);
    expect(result).toMatchObject({
      tokensSaved: 0,
      unknown: [expect.stringMatching(/^the run's own policies stopped it at step \d \(node n0\)/)],
    });
  });

  it("counts a node's own budget too, as the run did", async () => {
    const spec = specOf(await serve([talk]), 1, 120);
    const live = liveStop(spec, await record(spec, free));
    const unbounded = await record(specOf(spec.models?.[0]?.baseURL ?? "", 1), free);
    expect(whatIf(spec, unbounded, free).calls[0]).toMatchObject({ message: live?.message, path: "Node/TotalTokens" });
  });
});

describe("a what-if over the record of a free run", () => {
  it("stops the very call that the live policy stops, in the same words", async () => {
    const stops = new Set<string>();
    await fc.assert(
      fc.asyncProperty(script(1, "Exact", "Missing"), policy, async (nodes, other) => {
        const spec = specOf(await serve(nodes), nodes.length);
        const [whole, limited] = [await record(spec, free), await record(spec, other)];
        const live = liveStop(spec, limited);
        const result = whatIf(spec, whole, other);
        expect(result.isStopped).toBe(live !== undefined);
        if (live === undefined) return;
        stops.add(live.rule);
        expect(result.tokensUsed).toBe(tokensOf(whole));
        expect(result.tokensUsed - result.tokensSaved).toBe(tokensOf(limited));
        expect(firstStop(result, spec, whole, live)).toEqual(live);
      }),
      { numRuns: 30, seed: 12 },
    );
    expect(stops.size).toBeGreaterThan(6);
  });
});
