/** The product's own share of a strict replay, without an agent's code: what a record of N tool calls costs to read, answer from and compare. */
import { genesis } from "../../src/core/protocol/names.ts";
import { chain, type EntryDraft, readEntry } from "../../src/core/steps/chain.ts";
import { canonicalLines, traceHash } from "../../src/core/trace/canonical.ts";
import type { Snapshot } from "../../src/core/steps/format.ts";
import { stepsOf } from "../../src/core/trace/journal.ts";
import { Lineage, readItem } from "../../src/host/lineage.ts";
import { entryPages } from "../../src/host/record-store.ts";
import type { JournalStore } from "../../src/ports/store.ts";
import { BodyReader } from "../../src/worker/body-reader.ts";
import { scopeOver, type StepCalls } from "../../src/worker/scope.ts";
import { RecordedCalls } from "../../src/worker/strict/recorded-calls.ts";
import { Bodies } from "../support/bodies.ts";
import { putRun } from "../support/recorded-run.ts";

const at = "2026-01-02T03:04:05.678Z";
const key = { node: "work" };
const windowSize = 64;

/** What the node's code does, recorded or replayed. */
async function work(calls: StepCalls, steps: number): Promise<void> {
  const scope = scopeOver(calls);
  for (let n = 0; n < steps; n += 1) await scope.tool(n, 0, { tool: "echo", arguments: { n } });
}

/** Puts a run of one node with this many steps. */
export async function recordSteps(store: JournalStore, uid: string, steps: number): Promise<void> {
  const own = { attempt: 1, try: 1 } as const;
  const drafts: EntryDraft[] = [];
  const { stored: bodies, put } = new Bodies();
  const never = () => Promise.reject(new Error("only tools are called"));
  await work(
    {
      model: never,
      value: never,
      count: () => undefined,
      tool: async (identity, request) => {
        const output = { body: put({ echo: request.arguments, said: `${identity.path.join(".")} `.repeat(20) }) };
        drafts.push({ type: "intent", ...own, ...identity, call: 0, effect: "ReadOnly", at });
        const input = { body: put(request.arguments) };
        drafts.push({
          type: "step",
          ...own,
          ...identity,
          input,
          output,
          error: null,
          usage: null,
          startedAt: at,
          completedAt: at,
          outcome: "Ok",
          toolCalls: [],
        });
        return null;
      },
    },
    steps,
  );
  const journals = [{ ...key, entries: chain(drafts, 0, genesis(uid, key)) }];
  await putRun(store, { uid, journals, bodies });
}

/** As a strict replay does: read, look each call up, hand out its answer, compare. Returns the trace's hash. */
export async function replaySteps(store: JournalStore, uid: string, steps: number): Promise<string> {
  const lineage = new Lineage(store, { uid, digest: "", snapshot: { uid } as Snapshot });
  const journal = await readItem(lineage, uid, key);
  const recorded = stepsOf(journal);
  const outputs = recorded.flatMap(({ entry }) => (entry.output === null ? [] : [entry.output.body]));
  const bodies = new BodyReader(store, [uid], outputs);
  const options = { name: key.node, journal, firstStep: 1, isComplete: true, mask: (text: string) => text };
  const calls = new RecordedCalls({ ...options, bodies });
  await work(calls, steps);
  const remade = calls.remade();
  const isSame = remade.length === steps && remade.every((call, place) => call === recorded[place]);
  if (calls.unasked() !== undefined || calls.divergence !== undefined || !isSame) throw new Error("it diverged");
  return traceHash(canonicalLines(recorded));
}

/** The floor: one range read of the same entries and answers, and their JSON parsed. */
export async function readSteps(store: JournalStore, uid: string): Promise<number> {
  const outputs: string[] = [];
  for await (const page of entryPages(store, uid, key)) {
    for (const stored of page) {
      const entry = readEntry(stored);
      if (entry.type === "step" && entry.output !== null) outputs.push(entry.output.body);
    }
  }
  let parsed = 0;
  for (let from = 0; from < outputs.length; from += windowSize)
    for (const bytes of (await store.bodies(uid, outputs.slice(from, from + windowSize))).values())
      parsed += JSON.parse(bytes) === null ? 0 : 1;
  return parsed;
}
