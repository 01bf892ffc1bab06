/** Runs one node's attempts inside the test's process, with the real worker, adapters and store. */
import type { ExecutionSpec } from "../../src/api/execution.ts";
import { systemClock } from "../../src/adapters/clock/system-clock.ts";
import { canonicalJson, sha256Hex } from "../../src/core/digest/digest.ts";
import { executionLimits } from "../../src/core/policy/limits.ts";
import type { EffectivePolicy } from "../../src/core/policy/types.ts";
import { readEntry } from "../../src/core/steps/chain.ts";
import type { JournalEntry, Snapshot, StepEntry } from "../../src/core/steps/format.ts";
import type { WorkerExit, WorkerOrder } from "../../src/ports/cluster.ts";
import type { JournalStore } from "../../src/ports/store.ts";
import type { AttemptIo } from "../../src/worker/attempt.ts";
import { runNode } from "../../src/worker/run-node.ts";
import { apiKey, createTools } from "../../src/worker/tools.ts";
import { openPolicy } from "./policies.ts";

export interface TestRun {
  readonly uid: string;
  readonly snapshot: string;
  readonly spec: ExecutionSpec;
}

/** Opens a run: snapshot stored, execution record made. */
export async function openTestRun(
  store: JournalStore,
  spec: ExecutionSpec,
  policy: EffectivePolicy = openPolicy(),
  uid = crypto.randomUUID(),
): Promise<TestRun> {
  const snapshot: Snapshot = { v: 1, uid, namespace: "default", name: "run", spec, policy };
  const bytes = canonicalJson(snapshot);
  const digest = sha256Hex(bytes);
  await store.putBodies(uid, [{ digest, bytes }]);
  await store.execute(uid, { op: "open", snapshot: digest, ...executionLimits(policy) });
  return { uid, snapshot: digest, spec };
}

export function orderFor(run: TestRun, node: string, attempt: number, changes: Partial<WorkerOrder> = {}): WorkerOrder {
  return {
    uid: run.uid,
    key: { namespace: "default", name: "run" },
    node,
    attempt,
    try: 1,
    phase: "Main",
    snapshot: run.snapshot,
    outputs: {},
    ...changes,
  };
}

export function workerIo(store: JournalStore, changes: Partial<AttemptIo> = {}): AttemptIo {
  return {
    store,
    clock: systemClock,
    terminate: new AbortController().signal,
    version: "0.0.0-test",
    build: "sha256:test",
    leaseTtlMs: 60_000,
    heartbeatIntervalMs: 1_000,
    suspendGraceMs: 1_000,
    createTools: (specs, snapshot) =>
      createTools(specs, snapshot, { baseDir: process.cwd(), allowLoopback: true, denyCidrs: [] }, {}),
    apiKey: (model) => apiKey(model, { OPENAI_API_KEY: "test" }),
    mask: (text) => text,
    log: () => undefined,
    ...changes,
  };
}

export function attemptNode(
  store: JournalStore,
  order: WorkerOrder,
  changes: Partial<AttemptIo> = {},
): Promise<WorkerExit> {
  return runNode(order, workerIo(store, changes));
}

export async function journalOf(store: JournalStore, uid: string, node: string): Promise<JournalEntry[]> {
  return (await store.entries(uid, { node }, 0, 100_000)).map(readEntry);
}

export function stepsOf(entries: readonly JournalEntry[]): StepEntry[] {
  return entries.filter((entry) => entry.type === "step");
}
