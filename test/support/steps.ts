/** A worker's session doing model calls without a model: the protocol's load, for fault tests and benchmarks. */
import { sha256Hex } from "../../src/core/digest/digest.ts";
import { zeroAmounts } from "../../src/core/protocol/amounts.ts";
import type { NodeKey } from "../../src/core/protocol/types.ts";
import { packBody } from "../../src/core/steps/bodies.ts";
import type { EntryDraft } from "../../src/core/steps/chain.ts";
import { modelReservation } from "../../src/core/steps/usage.ts";
import type { JournalStore } from "../../src/ports/store.ts";
import { systemClock } from "../../src/adapters/clock/system-clock.ts";
import { Lease } from "../../src/worker/lease.ts";
import { Session, type SessionOptions } from "../../src/worker/session.ts";

export function sessionOn(
  store: JournalStore,
  uid: string,
  key: NodeKey,
  changes: Partial<SessionOptions> = {},
): Session {
  return new Session({
    store,
    clock: systemClock,
    uid,
    key,
    attempt: 1,
    try: 1,
    phase: "Main",
    limits: {},
    auditLimits: {},
    known: undefined,
    lease: new Lease(60_000, 1_000, systemClock),
    signal: new AbortController().signal,
    ...changes,
  });
}

const at = "2026-01-01T00:00:00.000Z";

/** The entries of step n as the worker writes them. */
export function intentOf(n: number): EntryDraft {
  return {
    type: "intent",
    attempt: 1,
    try: 1,
    path: [n, 0],
    kind: "model",
    name: "m",
    requestDigest: sha256Hex(`request ${n}`),
    occurrence: 0,
    call: 0,
    at,
  };
}

export function stepOf(n: number, output: string): EntryDraft {
  const usage = {
    input: 100,
    output: 256,
    total: 356,
    reported: { input: 100, output: 256, total: 356 },
    estimated: { input: 100, output: 256 },
    counted: { input: 100, output: 256, total: 356 },
    overshoot: 0,
  };
  const record = {
    attempt: 1,
    try: 1,
    path: [n, 0],
    kind: "model" as const,
    name: "m",
    requestDigest: sha256Hex(`request ${n}`),
    occurrence: 0,
  };
  const input = {
    base: n === 0 ? null : 2 * n - 1,
    keep: n,
    append: [sha256Hex(`message ${n}`)],
    header: sha256Hex("header"),
  };
  return {
    type: "step",
    ...record,
    input,
    output: { body: output },
    error: null,
    usage,
    outcome: "Ok",
    toolCalls: [],
    startedAt: at,
    completedAt: at,
  };
}

/** One whole model step, begin and commit. Throws what the session throws; a refused begin is an error here. */
export async function modelStep(session: Session, n: number, text: string): Promise<void> {
  const reserved = modelReservation(100, 256);
  const begun = await session.begin([intentOf(n)], [], { settled: { ...zeroAmounts, ModelCalls: 1 }, reserved });
  if (begun.code !== "OK") throw new Error(`begin was answered ${begun.code}`);
  const packed = packBody(text);
  await session.commit({
    drafts: [stepOf(n, packed.digest)],
    bodies: packed.bodies,
    free: reserved,
    settled: reserved,
    overshoot: zeroAmounts,
  });
}
