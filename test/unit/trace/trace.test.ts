import { describe, expect, it } from "vitest";
import type { Json } from "../../../src/core/digest/json.ts";
import { chain, readEntry } from "../../../src/core/steps/chain.ts";
import { genesis } from "../../../src/core/protocol/names.ts";
import { canonicalLines, emptyTraceHash, traceHash, TraceHasher } from "../../../src/core/trace/canonical.ts";
import { verifyChain } from "../../../src/core/trace/chain-check.ts";
import { entriesOf, canonicalSteps, findingsOf, inOrder, tracedCalls } from "../../../src/core/trace/journal.ts";
import { isRequestRef, rebuildRequest } from "../../../src/core/trace/request.ts";
import { bodiesOf, traceRows, traceRowsWithFindings } from "../../../src/core/trace/rows.ts";
import type { RequestRef } from "../../../src/core/steps/format.ts";
import { Bodies } from "../../support/bodies.ts";
import { at, journal, step, uid } from "./journals.ts";

const shape = { nodes: [{ name: "gather" }, { name: "rate", dependsOn: ["gather"] }], finally: [{ name: "clean" }] };

describe("the canonical trace", () => {
  it("numbers steps by node, item and path, however they were recorded", () => {
    const bodies = new Bodies();
    const journals = [
      journal({ node: "clean" }, [step(bodies, [0, 1])]),
      journal({ node: "rate", item: 10 }, [step(bodies, [0, 1])]),
      journal({ node: "rate", item: 2 }, [step(bodies, [0, 1])]),
      journal({ node: "gather" }, [step(bodies, [0, 2]), step(bodies, [0, 0]), step(bodies, [0, 1])]),
    ];
    const rows = traceRows(tracedCalls(shape, journals), {
      uid,
      body: (digest) => bodies.stored.get(digest),
      numbered: true,
    });
    expect(rows.map((row) => [row.step_number, row.node, row.path])).toEqual([
      [1, "gather", "0.0"],
      [2, "gather", "0.1"],
      [3, "gather", "0.2"],
      [4, "rate[2]", "0.1"],
      [5, "rate[10]", "0.1"],
      [6, "clean", "0.1"],
    ]);
  });

  it("is the same for runs that differ in times, attempts, tries, repeats and the order of recording", () => {
    const bodies = new Bodies();
    const undisturbed = [journal({ node: "gather" }, [step(bodies, [0, 0], { tokens: 9 }), step(bodies, [0, 1])])];
    const disturbed = [
      journal({ node: "gather" }, [
        step(bodies, [0, 0], { output: "of a try that failed" }),
        step(bodies, [0, 1], { try: 2, attempt: 2, at: "2027-01-01T00:00:00.000Z" }),
        step(bodies, [0, 0], { try: 2, attempt: 3, type: "repeat" }),
        step(bodies, [0, 0], { try: 2, attempt: 3, tokens: 9 }),
      ]),
    ];
    const lines = canonicalLines(canonicalSteps(shape, undisturbed));
    expect(canonicalLines(canonicalSteps(shape, disturbed))).toEqual(lines);
    expect(traceHash(lines)).toMatch(/^sha256:[0-9a-f]{64}$/);
  });

  it("has the same hash when its entries come one by one", () => {
    const bodies = new Bodies();
    const journals = [
      journal({ node: "rate", item: 10 }, [step(bodies, [0, 1])]),
      journal({ node: "gather" }, [
        step(bodies, [7, 7]),
        step(bodies, [0, 2], { try: 2 }),
        step(bodies, [0, 0], { try: 2, type: "repeat" }),
        step(bodies, [0, 0, 0, 1], { try: 2, tokens: 9 }),
        step(bodies, [0, 0], { try: 2 }),
        step(bodies, [5, 5], { try: 1 }),
      ]),
      journal({ node: "rate", item: 2 }, []),
    ];
    const hasher = new TraceHasher();
    for (const { entries, ...key } of inOrder(shape, journals)) {
      hasher.item(key);
      for (const stored of entries) hasher.entry(readEntry(stored));
    }
    const lines = canonicalLines(canonicalSteps(shape, journals));
    expect(hasher.end()).toEqual({ traceHash: traceHash(lines), steps: 4 });
    expect(new TraceHasher().end()).toEqual({ traceHash: emptyTraceHash, steps: 0 });
  });

  it("changes with an answer, a request and a number of tokens", () => {
    const bodies = new Bodies();
    const hash = (drafts: ReturnType<typeof step>[]) =>
      traceHash(canonicalLines(canonicalSteps(shape, [journal({ node: "gather" }, drafts)])));
    const hashes = [
      hash([step(bodies, [0, 0])]),
      hash([step(bodies, [0, 0], { output: "another" })]),
      hash([step(bodies, [0, 1])]),
      hash([step(bodies, [0, 0], { tokens: 9 })]),
    ];
    expect(new Set(hashes).size).toBe(4);
  });

  it("has no steps of an earlier try, even when the last try recorded none yet", () => {
    const bodies = new Bodies();
    const retried = journal({ node: "gather" }, [
      step(bodies, [0, 0]),
      {
        type: "start",
        attempt: 2,
        try: 2,
        snapshot: "s",
        runtime: { format: 1, version: "0", node: "v24" },
        tools: {},
        at: "",
      },
    ]);
    expect(canonicalSteps(shape, [retried])).toEqual([]);
    expect(tracedCalls(shape, [retried]).map((call) => call.canonical)).toEqual([false]);
  });

  it("has a stable text form", () => {
    const bodies = new Bodies();
    const [line] = canonicalLines(
      canonicalSteps(shape, [journal({ node: "rate", item: 3 }, [step(bodies, [0, 1], { output: 1 })])]),
    );
    expect(line).toBe(
      '{"item":3,"kind":"tool","n":1,"node":"rate","occurrence":0,"outcome":"Ok","output":"6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b","path":[0,1],"requestDigest":"request-0.1","toolCalls":[],"usage":null}',
    );
  });
});

describe("rows", () => {
  it("leave out numbers while the run is at work and for calls that are not canonical", () => {
    const bodies = new Bodies();
    const calls = tracedCalls(shape, [
      journal({ node: "gather" }, [
        step(bodies, [0, 0], { type: "repeat" }),
        step(bodies, [0, 0]),
        step(bodies, [0, 1]),
      ]),
    ]);
    const body = (digest: string) => bodies.stored.get(digest);
    expect(traceRows(calls, { uid, body, numbered: true }).map((row) => [row.step_number, row.state])).toEqual([
      [null, "Repeated"],
      [1, "Ok"],
      [2, "Ok"],
    ]);
    expect(traceRows(calls, { uid, body, numbered: false }).every((row) => row.step_number === null)).toBe(true);
  });

  it("show a step that is reused of another run's journal in its place", () => {
    const bodies = new Bodies();
    const origin = { ...journal({ node: "gather" }, [step(bodies, [0, 0])]), uid: "parent" };
    const own = journal({ node: "gather" }, [step(bodies, [0, 1])]);
    const calls = [...tracedCalls(shape, [origin]), ...tracedCalls(shape, [own])];
    const rows = traceRowsWithFindings([own], calls, [], { uid, body: () => undefined, numbered: true });
    expect(rows.map((row) => [row.step_number, row.path])).toEqual([
      [1, "0.0"],
      [2, "0.1"],
    ]);
  });

  it("show digests where bodies were dropped", () => {
    const calls = tracedCalls(shape, [journal({ node: "gather" }, [step(new Bodies(), [0, 0])])]);
    const [row] = traceRows(calls, { uid, body: () => undefined, numbered: true });
    expect(row?.output).toEqual({ digest: expect.stringMatching(/^sha256:[0-9a-f]{64}$/) });
  });
});

describe("model requests stored as differences", () => {
  it("are put together again, also across a chain of 20,000 steps and where history was rewritten", () => {
    const bodies = new Bodies();
    const header = bodies.put({ model: "m" });
    const wanted: string[][] = [];
    const drafts = Array.from({ length: 20_000 }, (_, index) => {
      const previous = wanted.at(-1) ?? [];
      // Every 100th request keeps only the first two messages, as a summarised history would.
      const keep = index === 0 ? 0 : index % 100 === 0 ? 2 : previous.length;
      const append = [bodies.put(`question ${index}`), bodies.put(`answer ${index}`)];
      wanted.push([...previous.slice(0, keep), ...append]);
      const ref: RequestRef = { base: index === 0 ? null : index - 1, keep, append, header };
      return step(bodies, [index, 0], { kind: "model", input: ref });
    });
    const { entries } = journal({ node: "gather" }, drafts);
    for (const index of [0, 1, 99, 100, 101, 12_345, 19_999]) {
      const entry = readEntry(entries[index]!);
      if (entry.type !== "step" || !isRequestRef(entry.input)) throw new Error("no model step");
      expect(rebuildRequest(entry.input, { node: "gather", entries })).toEqual({ header, messages: wanted[index] });
    }
  });

  it("show header and messages in the row, long texts included", () => {
    const bodies = new Bodies();
    const long = "x".repeat(5_000);
    const messages: Json[] = [
      { role: "system", content: long },
      { role: "user", content: "go" },
    ];
    const ref: RequestRef = {
      base: null,
      keep: 0,
      append: messages.map((message) => bodies.put(message)),
      header: bodies.put({ model: "m", parameters: { seed: 7 } }),
    };
    const calls = tracedCalls(shape, [
      journal({ node: "gather" }, [step(bodies, [0, 0], { kind: "model", input: ref })]),
    ]);
    const [row] = traceRows(calls, { uid, body: (digest) => bodies.stored.get(digest), numbered: true });
    expect(row?.input).toEqual({ model: "m", parameters: { seed: 7 }, messages });
    expect(bodiesOf(calls[0]!)).toHaveLength(4);
  });

  it("refuse a reference to something that is no earlier model step", () => {
    const bodies = new Bodies();
    const { entries } = journal({ node: "gather" }, [step(bodies, [0, 1])]);
    expect(() => rebuildRequest({ base: 0, keep: 1, append: [], header: "h" }, { node: "gather", entries })).toThrow(
      "entry 0 is no model step",
    );
    expect(() => rebuildRequest({ base: 7, keep: 1, append: [], header: "h" }, { node: "gather", entries })).toThrow(
      "entry 7 is no model step",
    );
  });
});

describe("the hash chain", () => {
  const whole = () => {
    const bodies = new Bodies();
    return journal(
      { node: "gather" },
      [0, 1, 2, 3].map((index) => step(bodies, [0, index])),
    );
  };

  it("holds for what a worker wrote", () => {
    expect(verifyChain(uid, whole())).toBeUndefined();
  });

  it("names the first entry that was changed, removed or put in, and why", () => {
    const { entries } = whole();
    const changed = entries.map((entry) =>
      entry.index === 2 ? { ...entry, bytes: entry.bytes.replace("Ok", "Error") } : entry,
    );
    expect(verifyChain(uid, { node: "gather", entries: changed })).toEqual({
      index: 2,
      reason: "its hash is not the hash of its bytes",
    });
    const removed = entries.filter((entry) => entry.index !== 1);
    expect(verifyChain(uid, { node: "gather", entries: removed })).toEqual({ index: 1, reason: "entry 1 is missing" });
    const forged = chain([step(new Bodies(), [9, 9])], 2, "0".repeat(64));
    expect(verifyChain(uid, { node: "gather", entries: [...entries.slice(0, 2), ...forged] })).toEqual({
      index: 2,
      reason: "it does not follow the entry before it",
    });
    const garbled = entries.map((entry) => (entry.index === 3 ? { ...entry, bytes: "{" } : entry));
    expect(verifyChain(uid, { node: "gather", entries: garbled })?.index).toBe(3);
  });

  it("is looked at from where it was known to hold on, and then known as a whole", () => {
    const { entries } = whole();
    const before = entries.slice(0, 2);
    const grown = [...entries];
    expect(verifyChain(uid, { node: "gather", entries: grown }, before)).toBeUndefined();
    expect(entriesOf(grown)).toEqual(entriesOf(entries));
    const other = chain([step(new Bodies(), [9, 9])], 2, "0".repeat(64));
    expect(verifyChain(uid, { node: "gather", entries: [...before, ...other] }, before)).toEqual({
      index: 2,
      reason: "it does not follow the entry before it",
    });
  });

  it("is bound to the run and the node", () => {
    const { entries } = whole();
    const reason = "it begins the journal of another run or node";
    expect(verifyChain(uid, { node: "other", entries })).toEqual({ index: 0, reason });
    expect(verifyChain("another-uid", { node: "gather", entries })).toEqual({ index: 0, reason });
    expect(genesis(uid, { node: "gather" })).not.toBe(genesis(uid, { node: "gather", item: 0 }));
  });
});

describe("violations", () => {
  const violation = (enforcement: "Audit" | "Enforce", message: string) =>
    ({ type: "violation", attempt: 1, try: 1, enforcement, message, path: "spec.models.deny", at }) as const;

  it("stand after the rows of their node, without a number, and change no step's number", () => {
    const bodies = new Bodies();
    const journals = [
      journal({ node: "rate", item: 1 }, [violation("Enforce", "refused")]),
      journal({ node: "gather" }, [violation("Audit", "noted"), step(bodies, [0, 0]), step(bodies, [0, 1])]),
      journal({ node: "clean" }, [step(bodies, [0, 0])]),
    ];
    const findings = findingsOf(shape, journals);
    const rows = traceRowsWithFindings(inOrder(shape, journals), tracedCalls(shape, journals), findings, {
      uid,
      body: (digest) => bodies.stored.get(digest),
      numbered: true,
    });
    expect(rows.map((row) => [row.step_number, row.node, row.kind, row.state, row.error?.message])).toEqual([
      [1, "gather", "tool", "Ok", undefined],
      [2, "gather", "tool", "Ok", undefined],
      [null, "gather", "violation", "Audit", "noted"],
      [null, "rate[1]", "violation", "Enforce", "refused"],
      [3, "clean", "tool", "Ok", undefined],
    ]);
    expect(rows[2]).toMatchObject({ name: "spec.models.deny", timestamp: at, input: null, output: null });
  });
});
