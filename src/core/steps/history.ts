/** A node item's journal as a worker reads it at its start: what is recorded, and what is in doubt. A pure fold of entries. */
import type { IntentEntry, JournalEntry, StartEntry, StepEntry } from "./format.ts";
import { stepKey } from "./identity.ts";

export interface RecordedStep {
  readonly index: number;
  readonly entry: StepEntry;
}

export interface History {
  /** J5: recorded steps of this try by key. */
  readonly steps: ReadonlyMap<string, RecordedStep>;
  /** Intents of this try without a result, by key. */
  readonly inDoubt: ReadonlyMap<string, IntentEntry>;
  /** Number of failed calls so far by key: their retries are used up in a resume too. */
  readonly repeats: ReadonlyMap<string, { readonly count: number; readonly retryAt: string }>;
  readonly firstStart: StartEntry | undefined;
  readonly stepCount: number;
  /** A NonIdempotent tool was called in this try: the node may not be tried again unasked. */
  readonly madeNonIdempotentCall: boolean;
  /** Messages of Audit findings of every try, each once. */
  readonly audited: ReadonlySet<string>;
}

/** `entries` in order, whole journal; lookup sees only the current `tryNumber`, so a node retry really asks again. */
export function foldHistory(entries: readonly JournalEntry[], tryNumber: number): History {
  const steps = new Map<string, RecordedStep>();
  const inDoubt = new Map<string, IntentEntry>();
  const repeats = new Map<string, { count: number; retryAt: string }>();
  const audited = new Set<string>();
  let madeNonIdempotentCall = false;
  let firstStart: StartEntry | undefined;
  let stepCount = 0;
  for (const entry of entries) {
    if (entry.type === "start") firstStart ??= entry;
    if (entry.type === "violation" && entry.enforcement === "Audit") audited.add(entry.message);
    if (entry.try !== tryNumber) continue;
    if (entry.type === "intent") {
      inDoubt.set(keyOf(entry), entry);
      if (entry.effect === "NonIdempotent") madeNonIdempotentCall = true;
    }
    if (entry.type === "repeat") {
      inDoubt.delete(keyOf(entry));
      repeats.set(keyOf(entry), { count: (repeats.get(keyOf(entry))?.count ?? 0) + 1, retryAt: entry.retryAt });
    }
    if (entry.type === "step") {
      inDoubt.delete(keyOf(entry));
      steps.set(keyOf(entry), { index: entry.index, entry });
      stepCount += 1;
    }
  }
  return { steps, inDoubt, repeats, firstStart, stepCount, madeNonIdempotentCall, audited };
}

function keyOf(entry: IntentEntry | StepEntry | Extract<JournalEntry, { type: "repeat" }>): string {
  return stepKey(entry.path, entry.kind, entry.requestDigest, entry.occurrence);
}
