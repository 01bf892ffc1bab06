/** What became of the current attempt of a row at work: worker views and journal record put together. Decides nothing. */
import type { WorkerFailure } from "../../api/exit-codes.ts";
import { itemName } from "../protocol/names.ts";
import type { ItemRecord } from "../protocol/types.ts";
import type { Finished } from "../steps/format.ts";
import { type Draft, recordOf, seenItem } from "./draft.ts";
import { finishedOf, isBehind, isMarked, marks, type Row } from "./rows.ts";
import type { SeenDoubt, SeenWorker } from "./types.ts";

interface Blocked {
  readonly failure: WorkerFailure;
  readonly detail: string;
}

export type Verdict =
  /**
   * `leaseEndsMs`: nobody lists the worker, but its lease runs. `silentAtMs`: one is listed, whose lease ends then.
   * `blocked`: why it cannot start as yet.
   */
  | {
      readonly is: "Working";
      readonly claimed: boolean;
      readonly leaseEndsMs?: number;
      readonly silentAtMs?: number;
      readonly blocked?: Blocked;
    }
  /** Listed, and its lease is over: its thread is held, its machine is gone, or the host heard late of its end. */
  | { readonly is: "Silent"; readonly failure: WorkerFailure | undefined; readonly detail: string }
  | { readonly is: "Finished"; readonly finished: Finished; readonly steps: number }
  /** What it recorded was edited since, or never was a record: nothing can go on from it. */
  | { readonly is: "Changed"; readonly detail: string }
  /** It left for a person to decide about a call. */
  | { readonly is: "Asking"; readonly doubt: SeenDoubt }
  /** No worker and no claim: started too early to be seen, or never started. */
  | { readonly is: "Unseen" }
  /** Ended without finish. Stopped = asked to end; Fenced = another attempt holds the journal; Lost = nobody's wish. */
  | {
      readonly is: "Gone";
      readonly how: "Stopped" | "Fenced" | "Lost";
      readonly detail: string;
      readonly failure?: WorkerFailure | undefined;
    }
  /** The store knows less than was acknowledged, and no worker is left that could restore it. */
  | { readonly is: "RolledBack"; readonly detail: string };

/** An image that is there starts within seconds, and a machine that pulls one says so. */
const startMs = 30_000;
/** Well past the lease of a worker, 10 s unless its host sets another. */
const healGraceMs = 30_000;

export function judge(draft: Draft, row: Row): Verdict {
  const record = recordOf(draft, row.key);
  const finished = finishedOf(row, record);
  if (finished !== undefined) return { is: "Finished", finished, steps: record?.steps ?? 0 };
  const changed = seenItem(draft, row)?.changed;
  if (changed !== undefined) return { is: "Changed", detail: changed };
  // Nobody works on it but the host, which writes answer and end in one.
  if (row.node.spec.approval !== undefined) return { is: "Unseen" };
  const views = (draft.workers.get(itemName(row.key)) ?? []).filter((view) => view.attempt === row.attempt);
  const exited = views.find((view) => view.state === "Exited");
  const claimed = record?.attempt === row.attempt && record.claimId !== "";
  const listed = exited === undefined ? views[0] : undefined;
  if (listed !== undefined) return ofListed(draft, row, listed, record);
  if (exited?.exit === "lost")
    return { is: "RolledBack", detail: exited.detail ?? "the worker could not restore its journal" };
  if (isBehind(row, record)) {
    const leaseEndsMs = healsUntilMs(draft, record, exited);
    if (leaseEndsMs !== undefined) return { is: "Working", claimed, leaseEndsMs };
    return {
      is: "RolledBack",
      detail: `the store holds ${record?.length ?? 0} entries, ${row.journal?.length ?? 0} were seen`,
    };
  }
  const doubt = exited?.exit === "waiting" ? seenItem(draft, row)?.doubt : undefined;
  if (doubt !== undefined) return { is: "Asking", doubt };
  if (record !== undefined && record.attempt > row.attempt) {
    return { is: "Gone", how: "Fenced", detail: `attempt ${record.attempt} holds the journal` };
  }
  // Where every worker is listed a lease decides nothing about one that is not.
  const isTrusted = claimed && !draft.seen.listsAll;
  const leaseEndsMs = isTrusted && record.leaseUntilMs > draft.nowMs ? record.leaseUntilMs : undefined;
  if (exited !== undefined) {
    const detail = exited.detail ?? `the worker ended as ${exited.exit ?? "infrastructure"} without a result`;
    if (exited.exit === "stopped") return { is: "Gone", how: "Stopped", detail, failure: exited.failure };
    if (exited.exit !== "fenced") return { is: "Gone", how: "Lost", detail, failure: exited.failure };
    // A copy of the worker holds this attempt: it is trusted as long as it renews its lease.
    if (leaseEndsMs !== undefined) return { is: "Working", claimed: true, leaseEndsMs };
    return { is: "Gone", how: claimed ? "Lost" : "Fenced", detail };
  }
  if (record?.attempt === row.attempt && !claimed)
    return { is: "Gone", how: "Fenced", detail: "the attempt was released" };
  if (!claimed) return { is: "Unseen" };
  if (leaseEndsMs !== undefined) return { is: "Working", claimed: true, leaseEndsMs };
  return { is: "Gone", how: "Lost", detail: "the worker is gone" };
}

/** J2 fences a worker that works on in spite of it, so a listed one is trusted until it ends or its lease does. */
function ofListed(draft: Draft, row: Row, worker: SeenWorker, record: ItemRecord | undefined): Verdict {
  const { failure, detail } = worker;
  const isCurrent = record?.attempt === row.attempt;
  const claimed = isCurrent && record.claimId !== "";
  const isOver = claimed && record.leaseUntilMs <= draft.nowMs;
  // Given up in an earlier pass, and still listed.
  const isReleased = isCurrent && !claimed && isMarked(row) && row.reason !== marks.suspending;
  if (isOver || isReleased || (!claimed && failure === "NodeLost")) {
    return { is: "Silent", failure, detail: detail ?? "its worker stopped answering: the lease it held is over" };
  }
  const blocked = claimed ? undefined : blockedStart(worker, draft.nowMs);
  if (blocked !== undefined) return { is: "Working", claimed, blocked };
  return claimed ? { is: "Working", claimed, silentAtMs: record.leaseUntilMs } : { is: "Working", claimed };
}

/** What keeps a worker from starting: what its host says, or that it says nothing for too long. */
export function blockedStart(
  { state, failure, detail, startingSinceMs }: SeenWorker,
  nowMs: number,
): Blocked | undefined {
  if (state !== "Starting") return undefined;
  if (failure !== undefined) return { failure, detail: detail ?? "" };
  if (startingSinceMs === undefined || nowMs - startingSinceMs < startMs) return undefined;
  return { failure: "StartDelayed", detail: detail ?? "" };
}

/**
 * Until when a worker that nobody lists may still append again what the store forgot: its lease, which the store may have
 * forgotten too, so at least the grace after the restart. Undefined = nobody is left.
 */
function healsUntilMs(
  draft: Draft,
  record: ItemRecord | undefined,
  exited: SeenWorker | undefined,
): number | undefined {
  const mayLive = exited === undefined || exited.exit === "fenced";
  if (draft.seen.listsAll || !mayLive) return undefined;
  const leaseMs = record === undefined || record.claimId === "" ? 0 : record.leaseUntilMs;
  const untilMs = Math.max(leaseMs, draft.lossAtMs === undefined ? 0 : draft.lossAtMs + healGraceMs);
  return untilMs > draft.nowMs ? untilMs : undefined;
}
