/** What became of the current attempt of a row at work: worker views and journal record put together. Decides nothing. */
import { itemName } from "../protocol/names.ts";
import type { ItemRecord } from "../protocol/types.ts";
import type { Finished } from "../steps/format.ts";
import { type Draft, recordOf } from "./draft.ts";
import { finishedOf, isBehind, type Row } from "./rows.ts";
import type { SeenWorker } from "./types.ts";

export type Verdict =
  /** `leaseEndsMs`: nobody lists the worker, but its lease runs. */
  | { readonly is: "Working"; readonly claimed: boolean; readonly leaseEndsMs?: number }
  | { readonly is: "Finished"; readonly finished: Finished; readonly steps: number }
  /** No worker and no claim: started too early to be seen, or never started. */
  | { readonly is: "Unseen" }
  /** Ended without finish. Stopped = asked to end; Fenced = another attempt holds the journal; Lost = nobody's wish. */
  | { readonly is: "Gone"; readonly how: "Stopped" | "Fenced" | "Lost"; readonly detail: string }
  /** The store knows less than was acknowledged, and no worker is left that could restore it. */
  | { readonly is: "RolledBack"; readonly detail: string };

/** Well past the lease of a worker, 10 s unless its host sets another. */
const healGraceMs = 30_000;

export function judge(draft: Draft, row: Row): Verdict {
  const record = recordOf(draft, row.key);
  const finished = finishedOf(row, record);
  if (finished !== undefined) return { is: "Finished", finished, steps: record?.steps ?? 0 };
  const views = (draft.workers.get(itemName(row.key)) ?? []).filter((view) => view.attempt === row.attempt);
  const exited = views.find((view) => view.state === "Exited");
  const claimed = record?.attempt === row.attempt && record.claimId !== "";
  // J2 fences a worker that works on in spite of it, so a listed one is trusted until it ends.
  if (exited === undefined && views.length > 0) return { is: "Working", claimed };
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
  if (record !== undefined && record.attempt > row.attempt) {
    return { is: "Gone", how: "Fenced", detail: `attempt ${record.attempt} holds the journal` };
  }
  const leaseEndsMs = claimed && record.leaseUntilMs > draft.nowMs ? record.leaseUntilMs : undefined;
  if (exited !== undefined) {
    const detail = exited.detail ?? `the worker ended as ${exited.exit ?? "infrastructure"} without a result`;
    if (exited.exit === "stopped") return { is: "Gone", how: "Stopped", detail };
    if (exited.exit !== "fenced") return { is: "Gone", how: "Lost", detail };
    // A copy of the worker holds this attempt: it is trusted as long as it renews its lease.
    if (leaseEndsMs !== undefined) return { is: "Working", claimed: true, leaseEndsMs };
    return { is: "Gone", how: claimed ? "Lost" : "Fenced", detail };
  }
  if (record?.attempt === row.attempt && !claimed)
    return { is: "Gone", how: "Fenced", detail: "the attempt was released" };
  if (!claimed) return { is: "Unseen" };
  if (leaseEndsMs !== undefined && !draft.seen.listsAll) return { is: "Working", claimed: true, leaseEndsMs };
  return { is: "Gone", how: "Lost", detail: "the worker is gone" };
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
  const mayLive = exited === undefined ? !draft.seen.listsAll : exited.exit === "fenced";
  if (!mayLive) return undefined;
  const leaseMs = record === undefined || record.claimId === "" ? 0 : record.leaseUntilMs;
  const untilMs = Math.max(leaseMs, draft.lossAtMs === undefined ? 0 : draft.lossAtMs + healGraceMs);
  return untilMs > draft.nowMs ? untilMs : undefined;
}
