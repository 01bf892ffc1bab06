/** A run as it is recorded, without running it: a graph with parallel items, two tries, long texts and a model conversation. */
import type { ExecutionStatus } from "../../src/api/status.ts";
import type { Execution, ExecutionSpec } from "../../src/api/types.ts";
import { canonicalJson, sha256Hex } from "../../src/core/digest/digest.ts";
import { executionHash } from "../../src/core/hash/execution-hash.ts";
import type { Json } from "../../src/core/digest/json.ts";
import { genesis } from "../../src/core/protocol/names.ts";
import type { NodeKey } from "../../src/core/protocol/types.ts";
import { chain, type EntryDraft } from "../../src/core/steps/chain.ts";
import { canonicalLines, traceHash } from "../../src/core/trace/canonical.ts";
import { journalHead } from "../../src/core/trace/head.ts";
import { canonicalSteps, type ItemJournal } from "../../src/core/trace/journal.ts";
import type { JournalStore } from "../../src/ports/store.ts";
import { Bodies, listed } from "./bodies.ts";

const at = "2026-01-02T03:04:05.678Z";
export const recordedUid = "3f0c7a52-0000-4000-8000-000000000001";

export interface RecordedRun {
  readonly uid: string;
  readonly object: Execution;
  readonly status: ExecutionStatus;
  readonly journals: readonly ItemJournal[];
  readonly bodies: ReadonlyMap<string, string>;
}

export interface RecordedRunOptions {
  readonly content?: "Full" | "DigestOnly";
  /** Model steps of the node talk. */
  readonly steps?: number;
  /** What the model says in its n-th answer. */
  readonly answer?: (step: number) => string;
  readonly name?: string;
  readonly uid?: string;
}

const tool = { tool: { ref: "t", arguments: { x: "1" } } };

export function recordedRun(options: RecordedRunOptions = {}): RecordedRun {
  const {
    content = "Full",
    steps = 3,
    answer = (step) => `answer ${step}`,
    name = "brief",
    uid = recordedUid,
  } = options;
  const spec: ExecutionSpec = {
    task: "Wärmepumpen 🔥",
    tools: [{ name: "t", http: { method: "GET", url: "http://127.0.0.1:9/x" } }],
    models: [{ name: "main", provider: "openai", model: "m" }],
    agents: [{ name: "a", model: "main" }],
    nodes: [
      { name: "talk", agent: { ref: "a", prompt: "go" } },
      { name: "rate", dependsOn: ["talk"], forEach: { items: "[1, 2]" }, ...tool },
    ],
  };
  const { stored: bodies, put } = new Bodies();
  const snapshotBytes = canonicalJson({
    v: 1,
    uid,
    namespace: "default",
    name,
    spec,
    policy: { recording: { content } },
    rules: [],
  });
  const snapshot = sha256Hex(snapshotBytes);
  bodies.set(snapshot, snapshotBytes);
  const journals = [
    journal(uid, { node: "talk" }, conversation(put, steps, answer, snapshot)),
    journal(uid, { node: "rate", item: 0 }, call(put, "one", 1)),
    journal(uid, { node: "rate", item: 1 }, [...call(put, "lost", 1), ...call(put, "two", 2)]),
  ];
  const heads = journals.map(({ entries, ...key }) => ({
    key,
    length: entries.length,
    head: entries.at(-1)?.hash ?? "",
  }));
  const recorded = canonicalSteps(spec, journals);
  const status: ExecutionStatus = {
    observedGeneration: 1,
    steps: recorded.length,
    ...executionHash(spec, []),
    phase: "Succeeded",
    conditions: [],
    snapshot,
    progress: "2/2",
    nodeCounts: { Succeeded: 2 },
    nodes: [
      { name: "talk", state: "Succeeded", attempt: 1 },
      { name: "rate", state: "Succeeded", itemCount: 2, output: `sha256:${put(["one", "two"])}` },
    ],
    policies: [{ namespace: "default", name: "p" }],
    startedAt: at,
    completedAt: at,
    sealed: true,
    result: { digest: `sha256:${put(["one", "two"])}`, preview: "" },
    journalHead: `sha256:${journalHead(heads)}`,
    traceHash: traceHash(canonicalLines(recorded)),
  };
  if (content === "DigestOnly") for (const digest of bodies.keys()) if (digest !== snapshot) bodies.delete(digest);
  const metadata = { name, namespace: "default", uid, creationTimestamp: at, generation: 1 };
  const object = { apiVersion: "oao.dev/v1alpha1", kind: "Execution", metadata, spec } as Execution;
  return { uid, object, status, journals, bodies };
}

/** As if it had been recorded there. */
export async function putRun(
  store: JournalStore,
  run: Pick<RecordedRun, "uid" | "journals" | "bodies">,
): Promise<void> {
  const figures = { attempt: 1, try: 1, steps: 1, finished: undefined };
  for (const { entries, ...key } of run.journals) await store.restoreEntries(run.uid, key, entries, figures);
  await store.putBodies(run.uid, listed(run.bodies));
}

function journal(uid: string, key: NodeKey, drafts: readonly EntryDraft[]): ItemJournal {
  return { ...key, entries: chain(drafts, 0, genesis(uid, key)) };
}

function conversation(
  put: (value: Json) => string,
  steps: number,
  answer: (step: number) => string,
  snapshot: string,
): EntryDraft[] {
  const header = put({ model: "m", parameters: { temperature: 0 } });
  const own = { attempt: 1, try: 1 };
  let said = "";
  const drafts: EntryDraft[] = [
    { type: "start", ...own, snapshot, runtime: { format: 1, version: "0", node: "v24" }, tools: {}, at },
  ];
  let base: number | null = null;
  let kept = 0;
  for (let step = 0; step < steps; step += 1) {
    const question = { role: "user", content: `question ${step} ${step % 5 === 0 ? "x".repeat(300) : ""}` };
    const append = step === 0 ? [question] : [{ role: "assistant", content: answer(step - 1) }, question];
    said = sha256Hex([said, ...append.map((message) => message.content)].join("\n"));
    const identity = {
      path: [step, 0],
      kind: "model",
      name: "main",
      requestDigest: said,
      occurrence: 0,
    } as const;
    drafts.push({ type: "intent", ...own, ...identity, call: 0, at });
    const output = { body: put({ role: "assistant", content: answer(step) }) };
    const usage = {
      input: 10,
      output: 5,
      total: 15,
      reported: null,
      estimated: { input: 10, output: 5 },
      counted: { input: 10, output: 5, total: 15 },
      overshoot: 0,
    };
    const input = { base, keep: kept, append: append.map(put), header };
    drafts.push({
      type: "step",
      ...own,
      ...identity,
      input,
      output,
      error: null,
      usage,
      startedAt: at,
      completedAt: at,
      outcome: "Ok",
      toolCalls: [],
    });
    kept += append.length;
    base = drafts.length - 1;
  }
  return [
    ...drafts,
    { type: "finish", ...own, outcome: "Succeeded", output: { body: put(answer(steps)) }, error: null, at },
  ];
}

function call(put: (value: Json) => string, answer: string, tryNumber: number): EntryDraft[] {
  const own = { attempt: tryNumber, try: tryNumber };
  const output = { body: put(answer) };
  const identity = { path: [0, 0], kind: "tool", name: "t", requestDigest: sha256Hex("t"), occurrence: 0 } as const;
  return [
    { type: "intent", ...own, ...identity, call: 0, effect: "ReadOnly", at },
    {
      type: "step",
      ...own,
      ...identity,
      input: { body: put({ x: "1" }) },
      output,
      error: null,
      usage: null,
      startedAt: at,
      completedAt: at,
      outcome: "Ok",
      toolCalls: [],
    },
    { type: "finish", ...own, outcome: "Succeeded", output, error: null, at },
  ];
}
