/** Runs made by hand in a folder of local state: of any size, with any text in them, in the form that real ones have. */
import { join } from "node:path";
import { systemClock } from "../../src/adapters/clock/system-clock.ts";
import { LocalIndex } from "../../src/adapters/local/local-index.ts";
import type { LocalRun } from "../../src/adapters/local/local-run.ts";
import { FileStore } from "../../src/adapters/store/file/file-store.ts";
import type { Execution, ExecutionSpec } from "../../src/api/types.ts";
import type { ExecutionStatus, NodeStatus } from "../../src/api/status.ts";
import { sha256Hex } from "../../src/core/digest/digest.ts";
import type { Json, JsonObject } from "../../src/core/digest/json.ts";
import { emptyLedger, zeroAmounts } from "../../src/core/protocol/amounts.ts";
import { genesis } from "../../src/core/protocol/names.ts";
import type { NodeKey } from "../../src/core/protocol/types.ts";
import { chain, type EntryDraft } from "../../src/core/steps/chain.ts";
import type { JournalStore } from "../../src/ports/store.ts";
import { Bodies, listed } from "../support/bodies.ts";

export interface SeedStep {
  readonly kind: "model" | "tool";
  readonly name: string;
  /** Of a tool: its arguments. Of a model: what is said to it. */
  readonly input: Json;
  readonly output: Json;
  readonly toolCalls?: readonly { readonly name: string; readonly arguments: Json }[];
  readonly tokens?: number;
  readonly error?: { readonly class: string; readonly message: string };
}

export interface SeedNode extends NodeKey {
  readonly steps: readonly SeedStep[];
}

export interface Seed {
  readonly name: string;
  readonly namespace?: string;
  readonly spec: ExecutionSpec;
  readonly status: Partial<ExecutionStatus> & Pick<ExecutionStatus, "phase">;
  readonly rows: readonly NodeStatus[];
  readonly journals?: readonly SeedNode[];
  readonly tokenLimit?: number;
}

type Done = Pick<Seed, "status" | "rows" | "journals">;

const startMs = Date.parse("2026-03-01T09:00:00.000Z");
const stepMs = 400;

export class SeededHome {
  readonly index: LocalIndex;
  readonly store: JournalStore;
  readonly #url: string;

  constructor(folder: string) {
    const home = join(folder, ".oao");
    this.index = new LocalIndex(home, systemClock);
    this.#url = `file:${join(home, "journals")}`;
    this.store = new FileStore(join(home, "journals"), systemClock);
  }

  /** As it is before anything of it is done. */
  create({ name, namespace = "default", spec }: Pick<Seed, "name" | "namespace" | "spec">): LocalRun {
    const object: Execution = { apiVersion: "oao.dev/v1alpha1", kind: "Execution", metadata: { name }, spec };
    return this.index.create({ namespace, name }, object, { baseDir: ".", store: this.#url });
  }

  async add(seed: Seed): Promise<void> {
    const { tokenLimit } = seed;
    const run = this.create(seed);
    const limits = tokenLimit === undefined ? {} : { TotalTokens: tokenLimit };
    await this.store.execute(run.uid, { op: "open", snapshot: sha256Hex("s"), limits, auditLimits: {} });
    await this.record(run, seed);
  }

  /** What was done of a run since it was last looked at. */
  async record(run: LocalRun, done: Done): Promise<void> {
    for (const journal of done.journals ?? []) await record(this.store, run.uid, journal);
    this.#writeStatus(run, done);
  }

  /** In the index alone, which is all that a list of runs reads. */
  list(seed: Omit<Seed, "journals" | "tokenLimit">): void {
    this.#writeStatus(this.create(seed), seed);
  }

  #writeStatus(run: LocalRun, { status, rows, journals = [] }: Done): void {
    const done = rows.filter(({ state }) => state === "Succeeded").length;
    this.index.writeStatus(run, {
      observedGeneration: 1,
      snapshot: `sha256:${sha256Hex("s")}`,
      conditions: [],
      progress: `${done}/${rows.length}`,
      nodeCounts: {},
      nodes: rows,
      steps: journals.reduce((sum, { steps }) => sum + steps.length, 0),
      startedAt: new Date(startMs).toISOString(),
      ...status,
    });
  }

  async close(): Promise<void> {
    await this.store.close();
    this.index.close();
  }
}

/** All steps of one item in one go: how a worker would have left them. */
async function record(store: JournalStore, uid: string, { steps, ...key }: SeedNode): Promise<void> {
  const { stored: bodies, put } = new Bodies();
  const asked = new Map<string, number>();
  const drafts = steps.map((step, index) => {
    const request = sha256Hex(JSON.stringify(step.input));
    const occurrence = asked.get(request) ?? 0;
    asked.set(request, occurrence + 1);
    return draftOf(step, index, put, { requestDigest: request, occurrence });
  });
  const tokens = steps.reduce((sum, step) => sum + (step.tokens ?? 0), 0);
  const spent = { ...zeroAmounts, TotalTokens: tokens };
  const common = { ...key, attempt: 1, claimId: "c", leaseTtlMs: 1_000 };
  const claim = { limits: {}, auditLimits: {}, try: 1 };
  const replies = [
    await store.execute(uid, { op: "claim", ...common, ...claim }),
    await store.execute(uid, {
      op: "begin",
      phase: "Main",
      ...common,
      seq: 1,
      digest: sha256Hex("1"),
      ledger: { ...emptyLedger, reserved: spent },
      entries: [],
      bodies: [],
      steps: 0,
    }),
    await store.execute(uid, {
      op: "commit",
      ...common,
      seq: 2,
      digest: sha256Hex("2"),
      ledger: { ...emptyLedger, settled: spent },
      entries: chain(drafts, 0, genesis(uid, key)),
      bodies: listed(bodies),
      steps: steps.length,
    }),
  ];
  const refused = replies.find(({ code }) => code !== "OK");
  if (refused !== undefined) throw new Error(`the store said ${JSON.stringify(refused)}`);
}

function draftOf(
  step: SeedStep,
  index: number,
  put: (value: Json) => string,
  identity: { readonly requestDigest: string; readonly occurrence: number },
): EntryDraft {
  const at = startMs + index * stepMs;
  const isModel = step.kind === "model";
  const total = step.tokens ?? 0;
  return {
    type: "step",
    attempt: 1,
    try: 1,
    path: [index, 0],
    kind: step.kind,
    name: step.name,
    ...identity,
    input: isModel
      ? { base: null, keep: 0, append: messagesOf(step.input).map(put), header: put({ model: step.name }) }
      : { body: put(step.input) },
    output: step.error === undefined ? { body: put(step.output) } : null,
    error: step.error ?? null,
    usage: isModel
      ? {
          input: total,
          output: 0,
          total,
          reported: null,
          estimated: { input: total, output: 0 },
          counted: { input: total, output: 0, total },
          overshoot: 0,
        }
      : null,
    outcome: step.error === undefined ? "Ok" : "Error",
    toolCalls: step.toolCalls ?? [],
    startedAt: new Date(at).toISOString(),
    completedAt: new Date(at + stepMs * 0.9).toISOString(),
  };
}

function messagesOf(input: Json): readonly JsonObject[] {
  return typeof input === "string" ? [{ role: "user", content: input }] : (input as readonly JsonObject[]);
}

/** A spec of tool nodes with these names and edges. */
export function specOf(
  nodes: readonly { readonly name: string; readonly dependsOn?: readonly string[] }[],
): ExecutionSpec {
  return {
    task: "try the page",
    tools: [{ name: "t", module: { path: "t.mjs" } }],
    nodes: nodes.map(({ name, dependsOn }) => ({
      name,
      ...(dependsOn === undefined ? {} : { dependsOn: [...dependsOn] }),
      tool: { ref: "t" },
    })),
  };
}
