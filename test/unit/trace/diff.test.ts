import { describe, expect, test } from "vitest";
import type { Json } from "../../../src/core/digest/json.ts";
import type { EntryDraft } from "../../../src/core/steps/chain.ts";
import type { RequestRef } from "../../../src/core/steps/format.ts";
import { alignSteps, type StepPair } from "../../../src/core/trace/align.ts";
import { canonicalLines, traceHash } from "../../../src/core/trace/canonical.ts";
import { bodiesToCompare, stepDifferences } from "../../../src/core/trace/diff.ts";
import { canonicalSteps, type ItemJournal } from "../../../src/core/trace/journal.ts";
import { baseSeed, Random } from "../../support/random.ts";
import { Bodies } from "../../support/bodies.ts";
import { journal, step, type StepOptions } from "./journals.ts";

const shape = { nodes: [{ name: "a" }, { name: "b", dependsOn: ["a"] }, { name: "c", dependsOn: ["b"] }] };
const stepsOf = (journals: readonly ItemJournal[]) => canonicalSteps(shape, journals);
const shown = (pairs: readonly StepPair[]) =>
  pairs.map(({ node, a, b, verdict }) => `${verdict} ${node} ${a?.number ?? "-"} ${b?.number ?? "-"}`);
const fields = (pair: StepPair | undefined, bodies: Bodies) => {
  const body = (digest: string) => bodies.stored.get(digest);
  return stepDifferences(pair!, { a: body, b: body }, 20);
};
const request = (draft: EntryDraft, requestDigest: string): EntryDraft => ({ ...draft, requestDigest }) as EntryDraft;

describe("steps of two runs", () => {
  test("of equal runs are the same, whatever their times and attempts", () => {
    const bodies = new Bodies();
    const steps = (options: StepOptions) => stepsOf([journal({ node: "a" }, [step(bodies, [0, 0], options)])]);
    const pairs = alignSteps(steps({}), steps({ at: "2027-01-01T00:00:00.000Z", attempt: 4 }));
    expect(shown(pairs)).toEqual(["Same a 1 1"]);
    expect(bodiesToCompare(pairs[0]!)).toEqual({ a: [], b: [] });
    expect(fields(pairs[0], bodies)).toEqual([]);
  });

  test("are found by content first, so that one that was put in between makes no other a change", () => {
    const bodies = new Bodies();
    const a = stepsOf([
      journal({ node: "a" }, [request(step(bodies, [0, 1]), "x"), request(step(bodies, [0, 2]), "y")]),
    ]);
    const b = stepsOf([
      journal({ node: "a" }, [
        request(step(bodies, [0, 1]), "x"),
        request(step(bodies, [0, 2], { output: "new" }), "new"),
        request(step(bodies, [0, 3], { output: { path: [0, 2] } }), "y"),
      ]),
    ]);
    const pairs = alignSteps(a, b);
    expect(shown(pairs)).toEqual(["Same a 1 1", "Changed a 2 3", "OnlyB a - 2"]);
    expect(fields(pairs[1], bodies)).toEqual([{ path: "$.path", a: "0.2", b: "0.3" }]);
  });

  test("are found by position where their content differs, and say in which field", () => {
    const bodies = new Bodies();
    const run = (q: Json, output: Json) =>
      stepsOf([
        journal({ node: "b", item: 2 }, [
          request(
            step(bodies, [0, 0], { input: { body: bodies.put({ q }) }, output, tokens: output === "x" ? 5 : 7 }),
            JSON.stringify(q),
          ),
        ]),
      ]);
    const [pair, ...others] = alignSteps(run("heat", "x"), run("cold", { text: "y" }));
    expect(others).toEqual([]);
    expect(pair).toMatchObject({ node: "b[2]", verdict: "Changed", matchedBy: "position" });
    expect(fields(pair, bodies)).toEqual([
      { path: "$.token_usage.input", a: 4, b: 6 },
      { path: "$.token_usage.total", a: 5, b: 7 },
      { path: "$.input.q", a: "heat", b: "cold" },
      { path: "$.output", a: "x", b: { text: "y" } },
    ]);
  });

  test("that only one run has stand where they stand there", () => {
    const bodies = new Bodies();
    const at = (node: string) => journal({ node }, [step(bodies, [0, 0])]);
    const pairs = alignSteps(stepsOf([at("a"), at("c")]), stepsOf([at("a"), at("b"), at("c")]));
    expect(shown(pairs)).toEqual(["Same a 1 1", "OnlyB b - 2", "Same c 2 3"]);
    expect(shown(alignSteps(stepsOf([at("b")]), stepsOf([at("a")])))).toEqual(["OnlyB a - 1", "OnlyA b 1 -"]);
  });

  test("whose contents are gone differ by digest", () => {
    const bodies = new Bodies();
    const run = (output: Json) => stepsOf([journal({ node: "a" }, [step(bodies, [0, 0], { output })])]);
    const [pair] = alignSteps(run(1), run(2));
    expect(fields(pair, new Bodies())).toEqual([
      { path: "$.output.digest", a: expect.stringMatching(/^sha256:/), b: expect.stringMatching(/^sha256:/) },
    ]);
  });
});

/** A conversation of `length` model steps, each of which keeps all that was said before. */
function conversation(bodies: Bodies, length: number, first: string, header: Json = { model: "m" }): ItemJournal {
  const head = bodies.put(header);
  let messages = 0;
  const drafts = Array.from({ length }, (_, index) => {
    const append = index === 0 ? [bodies.put({ role: "user", content: first })] : [];
    append.push(bodies.put({ role: "user", content: `question ${index}` }));
    const input: RequestRef = { base: index === 0 ? null : index - 1, keep: messages, append, header: head };
    messages += append.length;
    return request(step(bodies, [index, 0], { kind: "model", input, output: `answer ${index}` }), `${first} ${index}`);
  });
  return journal({ node: "a" }, drafts);
}

describe("model requests", () => {
  test("differ in the message that differs, which later steps only refer to", () => {
    const bodies = new Bodies();
    const pairs = alignSteps(
      stepsOf([conversation(bodies, 3, "be brief")]),
      stepsOf([conversation(bodies, 3, "be thorough")]),
    );
    expect(fields(pairs[0], bodies)).toEqual([
      { path: "$.input.messages[0].content", a: "be brief", b: "be thorough" },
    ]);
    expect(pairs.map((pair) => pair.request?.since)).toEqual([undefined, 1, 1]);
    expect(fields(pairs[2], bodies)).toEqual([]);
    expect(pairs.map(bodiesToCompare).map(({ a }) => a.length)).toEqual([1, 0, 0]);
  });

  test("differ in parameters too", () => {
    const bodies = new Bodies();
    const run = (temperature: number) =>
      stepsOf([conversation(bodies, 1, `${temperature}`, { model: "m", parameters: { temperature } })]);
    const [pair] = alignSteps(run(0), run(1));
    expect(fields(pair, bodies)).toEqual([
      { path: "$.input.parameters.temperature", a: 0, b: 1 },
      { path: "$.input.messages[0].content", a: "0", b: "1" },
    ]);
  });

  test("of 10,000 steps that differ from the first message on are compared in linear time", () => {
    const bodies = new Bodies();
    const [a, b] = [stepsOf([conversation(bodies, 10_000, "x")]), stepsOf([conversation(bodies, 10_000, "y")])];
    const startedMs = performance.now();
    const pairs = alignSteps(a, b);
    expect(performance.now() - startedMs).toBeLessThan(2_000);
    expect(pairs.every(({ verdict }) => verdict === "Changed")).toBe(true);
    expect(pairs.at(-1)?.request).toEqual({ header: undefined, messages: [], since: 1 });
  });
});

const seed = baseSeed();
test(`all pairs are the same exactly if the hashes are (seed ${seed})`, () => {
  const random = new Random(seed);
  const bodies = new Bodies();
  const run = () =>
    ["a", "b"].map((node) =>
      journal(
        { node },
        Array.from({ length: random.below(3) }, (_, index) => step(bodies, [index, 0], { output: random.below(2) })),
      ),
    );
  let equal = 0;
  for (let round = 0; round < 500; round += 1) {
    const [a, b] = [stepsOf(run()), stepsOf(run())];
    const same = alignSteps(a, b).every(({ verdict }) => verdict === "Same");
    expect(same).toBe(traceHash(canonicalLines(a)) === traceHash(canonicalLines(b)));
    if (same) equal += 1;
  }
  expect(equal).toBeGreaterThan(10);
});
