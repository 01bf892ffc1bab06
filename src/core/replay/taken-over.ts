/**
 * What a Fork takes over of its parent is not stored again: record and entries of such a node item follow from the fork's snapshot and
 * the parent's record alone, so whoever reads them makes the very same bytes, with the very same hashes.
 */
import { canonicalJson } from "../digest/digest.ts";
import { emptyLedger } from "../protocol/amounts.ts";
import { genesis } from "../protocol/names.ts";
import type { ItemRecord, NodeKey, StoredEntry } from "../protocol/types.ts";
import { chain, type EntryDraft } from "../steps/chain.ts";
import type { Snapshot } from "../steps/format.ts";
import { referenceTo, reusedEnd } from "./fork.ts";

/** Of the record of an item that is taken over; an attempt of the fork's own comes after it. */
export const takenOverAttempt = 1;
/** How many entries an item that is taken over has. */
export const takenOverLength = 2;

export interface TakenOver {
  readonly record: ItemRecord;
  /** A start that names the parent's steps, and the parent's end. */
  readonly entries: readonly StoredEntry[];
}

/** A replay whose items are taken over in this way, and the run whose they are. Undefined = it is none, or stores them itself. */
export function takesOverFrom({ replay }: Pick<Snapshot, "replay">): string | undefined {
  return replay?.mode === "Fork" && replay.at !== undefined ? replay.lineage[0] : undefined;
}

/**
 * Of a node item that the fork has no record of; `parent` is the parent's record of it, `digest` the snapshot's (hex). Undefined = it
 * is not taken over.
 */
export function takenOver(
  snapshot: Snapshot,
  digest: string,
  key: NodeKey,
  parent: ItemRecord | undefined,
): TakenOver | undefined {
  const { replay } = snapshot;
  const from = takesOverFrom(snapshot);
  if (replay?.at === undefined || from === undefined || parent === undefined) return undefined;
  const finished = reusedEnd(snapshot.spec, replay, key, parent);
  if (finished === undefined) return undefined;
  const common = { attempt: takenOverAttempt, try: parent.try, at: replay.at };
  const start: EntryDraft = {
    type: "start",
    ...common,
    snapshot: digest,
    // No program runs it.
    runtime: { format: 1, version: "", node: "" },
    tools: {},
    reuse: referenceTo(from, parent.steps, replay),
  };
  const finish: EntryDraft = {
    type: "finish",
    ...common,
    outcome: finished.outcome,
    output: finished.output === null ? null : { body: finished.output },
    error: finished.error,
  };
  const head = genesis(snapshot.uid, key);
  const entries = chain([start, finish], 0, head);
  const record: ItemRecord = {
    attempt: common.attempt,
    claimId: "",
    try: parent.try,
    length: entries.length,
    head: entries.at(-1)?.hash ?? head,
    seq: 0,
    commandDigest: "",
    reply: undefined,
    ledger: emptyLedger,
    steps: parent.steps,
    leaseUntilMs: 0,
    finished: canonicalJson(finished),
    live: "",
  };
  return { record, entries };
}
