import assert from "node:assert/strict";
import { expect, test } from "vitest";
import type { ItemStatus, NodeStatus } from "../../../src/api/status.ts";
import type { NodeSpec, ExecutionSpec } from "../../../src/api/types.ts";
import type { Json } from "../../../src/core/digest/json.ts";
import { restartDelayMs } from "../../../src/core/planner/losses.ts";
import { itemName } from "../../../src/core/protocol/names.ts";
import { policy, using } from "./builders.ts";
import { type Fate, ModelHost } from "./model-host.ts";

/** mulberry32 */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

interface Scenario {
  readonly spec: ExecutionSpec;
  /** Node -> how it ends when it may run to its end. */
  readonly ends: ReadonlyMap<string, "Succeeded" | "Failed">;
  /** Node -> failures with a retryable class before that. */
  readonly stumbles: ReadonlyMap<string, number>;
  readonly outputs: ReadonlyMap<string, Json>;
  readonly facts: ReadonlyMap<string, Facts>;
}

/** What a node was made of, so that the reference need not read the spec as the planner does. */
interface Facts {
  readonly isFinally: boolean;
  readonly waitsFor: readonly string[];
  readonly inputs: readonly string[];
  readonly guard: "true" | "false" | { readonly source: string; readonly asks: "v" | "has" } | undefined;
  readonly list: "literal" | { readonly source: string } | undefined;
}

function scenario(random: () => number): Scenario {
  const chance = (p: number) => random() < p;
  const pick = (limit: number) => Math.floor(random() * limit);
  const ends = new Map<string, "Succeeded" | "Failed">();
  const stumbles = new Map<string, number>();
  const outputs = new Map<string, Json>();
  const facts = new Map<string, Facts>();
  const approvals = new Set<string>();
  const make = (name: string, earlier: readonly string[], main: readonly string[]): NodeSpec => {
    ends.set(name, chance(0.15) ? "Failed" : "Succeeded");
    outputs.set(name, { v: pick(2), list: Array.from({ length: pick(4) }, (_, each) => each) });
    const isApproval = name.startsWith("n") && chance(0.15);
    const sources = earlier.filter(() => chance(0.3));
    const from = [...sources, ...main.filter(() => chance(0.15))];
    const named = from.filter(() => chance(0.4));
    const retry = !isApproval && chance(0.4) ? { maxRetries: 2, retryDelaySeconds: pick(2) } : undefined;
    if (retry !== undefined) stumbles.set(name, pick(3));
    // An answer has neither v nor list.
    const valued = from.filter((each) => !approvals.has(each));
    const guardSource = valued.find(() => chance(0.3));
    const constant = chance(0.5) ? "true" : "false";
    const asks = chance(0.5) ? "v" : "has";
    const guard = chance(0.7)
      ? undefined
      : guardSource === undefined
        ? constant
        : ({ source: guardSource, asks } as const);
    const listSource = valued.find(() => chance(0.3));
    const list = isApproval || chance(0.75) ? undefined : listSource === undefined ? "literal" : { source: listSource };
    const inputs = [...named, ...(typeof list === "object" ? [list.source] : [])];
    const waitsFor = [...sources, ...inputs, ...(typeof guard === "object" ? [guard.source] : [])];
    facts.set(name, { isFinally: name.startsWith("f"), waitsFor, inputs, guard, list });
    const items = typeof list === "object" ? `nodes["${list.source}"].output.list` : "[1, 2, 3]";
    if (isApproval) approvals.add(name);
    const question = named.map((each) => `$(nodes["${each}"].output)`).join(" ");
    return {
      ...(isApproval ? { name, approval: { message: `Go on? ${question}` } } : using(name, named)),
      dependsOn: sources,
      ...(retry === undefined ? {} : { retry }),
      ...(guard === undefined ? {} : { when: conditionOf(guard) }),
      ...(list === undefined ? {} : { forEach: { items, maxParallel: 1 + pick(3) } }),
      ...(!isApproval && chance(0.1) ? { timeoutSeconds: 40 } : {}),
    };
  };
  const nodes: NodeSpec[] = [];
  // Names run against the order of edges, so that no order by name is right by accident.
  for (let each = pick(9); each >= 0; each -= 1)
    nodes.push(
      make(
        `n${each}`,
        nodes.map((node) => node.name),
        [],
      ),
    );
  const last: NodeSpec[] = [];
  if (chance(0.4)) {
    const main = nodes.map((node) => node.name);
    for (let each = pick(3); each >= 0; each -= 1)
      last.push({
        ...make(
          `f${each}`,
          last.map((node) => node.name),
          main,
        ),
        ...(chance(0.5) ? { runOnCancel: true } : {}),
      });
  }
  const spec: ExecutionSpec = {
    task: "t",
    input: { on: true, off: false },
    nodes,
    finally: last,
    parallelism: 1 + pick(4),
  };
  return { spec, ends, stumbles, outputs, facts };
}

function conditionOf(guard: NonNullable<Facts["guard"]>): string {
  if (typeof guard === "string") return guard === "true" ? "input.on" : "input.off";
  return guard.asks === "has" ? `has(nodes.${guard.source}.output)` : `nodes["${guard.source}"].output.v > 0`;
}

/** Skip semantics said the naive way: one node at a time, by recursion over what it waits for. */
function expectedStates({ ends, outputs, facts }: Scenario): Map<string, string> {
  const known = new Map<string, string>();
  const succeeded = (name: string) => state(name) === "Succeeded";
  const isList = (name: string) => facts.get(name)?.list !== undefined;
  const state = (name: string): string => {
    const answer = known.get(name) ?? compute(name, facts.get(name)!);
    known.set(name, answer);
    return answer;
  };
  const compute = (name: string, { isFinally, waitsFor, inputs, guard, list }: Facts): string => {
    const siblings = waitsFor.filter((each) => facts.get(each)?.isFinally === isFinally);
    if (siblings.some((each) => ["Failed", "Skipped by failure"].includes(state(each)))) return "Skipped by failure";
    if (guard === "false") return "Skipped";
    if (typeof guard === "object") {
      if (!succeeded(guard.source)) return "Skipped";
      if (guard.asks === "v" && isList(guard.source)) return "Failed";
      if (guard.asks === "v" && (outputs.get(guard.source) as { v: number }).v === 0) return "Skipped";
    }
    if (!inputs.every(succeeded)) return "Skipped";
    if (typeof list === "object") {
      if (isList(list.source)) return "Failed";
      if ((outputs.get(list.source) as { list: number[] }).list.length === 0) return "Succeeded";
    }
    return ends.get(name)!;
  };
  for (const name of facts.keys()) state(name);
  return new Map([...known].map(([name, answer]) => [name, answer.replace(" by failure", "")]));
}

const runs = 2_000;

test(`${runs} seeded random graphs end, whatever workers, views and people do`, async () => {
  const phases: Record<string, number> = {};
  for (let seed = 1; seed <= runs; seed += 1) {
    try {
      const phase = await simulate(seed);
      phases[phase] = (phases[phase] ?? 0) + 1;
    } catch (error) {
      throw new Error(`seed ${seed}: ${String(error)}`, { cause: error });
    }
  }
  const counts = ["Succeeded", "Failed", "Cancelled", "PolicyViolation"].map((phase) => phases[phase] ?? 0);
  // Each kind of end was really met.
  expect(Math.min(...counts)).toBeGreaterThan(20);
}, 120_000);

async function simulate(seed: number): Promise<string> {
  const random = randomOf(seed);
  const made = scenario(random);
  const { spec, ends, stumbles, outputs } = made;
  const isDisturbed = random() < 0.5;
  const cancelAt = isDisturbed && random() < 0.3 ? Math.floor(random() * 60) : -1;
  const violator = isDisturbed && random() < 0.3 ? spec.nodes[0]?.name : undefined;
  const governing = policy({ maxRestarts: 1_000, ...(random() < 0.3 ? { maxParallel: 2 } : {}) });
  const fate = (order: { key: { node: string; item?: number | undefined }; try: number }): Fate => {
    const { node } = order.key;
    if (random() < 0.1)
      return {
        ends: "exit",
        exit: (["infrastructure", "failed", "done", "stopped", "fenced"] as const)[Math.floor(random() * 5)]!,
      };
    if (node === violator) return { ends: "Failed", errorClass: "PolicyViolation" };
    if (order.try <= (stumbles.get(node) ?? 0)) return { ends: "Failed", errorClass: "NetworkFailure" };
    if (ends.get(node) === "Failed") return { ends: "Failed", errorClass: "Broken" };
    return { ends: "Succeeded", output: outputs.get(node)! };
  };
  const host = new ModelHost(spec, {
    random,
    policy: governing,
    listsAll: random() < 0.5,
    fate,
    answer: (node) => (ends.get(node) === "Failed" ? "Rejected" : "Approved"),
    lagTicks: 4,
    lostEffects: 0.05,
  });
  const limit = Math.min(spec.parallelism ?? 10, governing.maxParallel ?? 10);
  let wakeAtMs = host.nowMs;
  let isOver = false;
  for (let round = 0; !isOver; round += 1) {
    if (round > 3_000) throw new Error(`does not end: ${JSON.stringify(host.status)}`);
    if (isDisturbed && round < 150 && random() < 0.03) host.desired = random() < 0.5 ? "Suspended" : "Running";
    if (round === 150 && host.desired === "Suspended") host.desired = "Running";
    if (cancelAt >= 0 && round >= cancelAt) host.desired = "Cancelled";
    await host.step();
    host.nowMs += 100;
    if (host.running.length === 0 && wakeAtMs > host.nowMs) host.nowMs = Math.min(wakeAtMs, host.nowMs + 5_000);
    const wakeAfterMs = await host.reconcile();
    wakeAtMs = host.nowMs + (wakeAfterMs ?? 1_000);
    check(host, limit, spec);
    isOver = host.status.sealed === true;
  }
  const names = host.started.map((order) => `${itemName(order.key)}#${order.attempt}`);
  assert.equal(new Set(names).size, names.length, "an attempt number is used once");
  const { status } = host;
  const reason = status.conditions.find((condition) => condition.type === "Succeeded")?.reason;
  assert.equal(status.conditions.find((condition) => condition.type === "Reconciling")?.status, "False");
  assert.ok(["Succeeded", "Failed", "Cancelled"].includes(status.phase));
  if (cancelAt >= 0 || reason === "PolicyViolation") return reason === "PolicyViolation" ? reason : status.phase;
  const states = new Map(status.nodes.map((row) => [row.name, row.state]));
  if (violator === undefined) assert.deepEqual(states, expectedStates(made));
  const hasFailed = [...states.values()].includes("Failed");
  assert.equal(status.phase, hasFailed ? "Failed" : "Succeeded");
  assert.equal(status.result !== undefined, !hasFailed);
  return status.phase;
}

/** Plain comparisons: this runs several hundred thousand times. */
function check(host: ModelHost, limit: number, spec: ExecutionSpec): void {
  const { nodes, phase } = host.status;
  const asks = new Set(spec.nodes.flatMap(({ name, approval }) => (approval === undefined ? [] : [name])));
  // Recording an answer takes no worker.
  const isAtWork = (row: NodeStatus | ItemStatus) =>
    (row.state === "Starting" || row.state === "Running") && !("name" in row && asks.has(row.name));
  let atWork = 0;
  for (const [place, node] of nodes.entries()) {
    const rows: readonly (NodeStatus | ItemStatus)[] = node.itemCount === undefined ? [node] : (node.items ?? []);
    const busy = rows.filter(isAtWork).length;
    const maxParallel = (spec.nodes[place] ?? spec.finally?.[place - spec.nodes.length])?.forEach?.maxParallel;
    if (busy > (maxParallel ?? busy))
      throw new Error(`${node.name} has ${busy} items at work, maxParallel is ${maxParallel}`);
    if (rows.some((row) => (row.try ?? 1) > 3))
      throw new Error(`${node.name} was tried more often than maxRetries 2 allows`);
    if (phase === "Succeeded" && node.state !== "Succeeded" && node.state !== "Skipped")
      throw new Error(`${node.name} is ${node.state} in a run that succeeded`);
    atWork += busy;
  }
  if (atWork > limit) throw new Error(`${atWork} at work, ${limit} allowed`);
}

test("restarts are delayed from the second on, up to a minute", () => {
  expect([1, 2, 3, 4, 9, 1_000].map(restartDelayMs)).toEqual([0, 1_000, 2_000, 4_000, 60_000, 60_000]);
});
