/** Losses of a process, whoever's doing: same try, next attempt, resumed from the journal, up to the policy's cap. */
import type { WorkerFailure } from "../../api/exit-codes.ts";
import { type Draft, isReleased, recordOf } from "./draft.ts";
import { apply, marks, restarting, type Row, shorten } from "./rows.ts";

export const firstRestartDelayMs = 1_000;
const maxRestartDelayMs = 60_000;

/** The first restart comes at once, as most losses are single; then 1 s, 2 s, 4 s … up to a minute. */
export function restartDelayMs(restart: number): number {
  return restart <= 1 ? 0 : Math.min(firstRestartDelayMs * 2 ** Math.min(restart - 2, 30), maxRestartDelayMs);
}

/** What a worker does to itself, again and again: no other machine will change that. */
const ownDoing: ReadonlySet<WorkerFailure | undefined> = new Set<WorkerFailure>(["OOMKilled", "Crashed"]);

export function restart(draft: Draft, row: Row, detail: string, failure: WorkerFailure | undefined): void {
  if (row.restarts >= draft.seen.policy.maxRestarts) {
    const mark = ownDoing.has(failure) ? marks.poisoned : marks.lost;
    return lost(draft, row, mark, failure === undefined ? detail : `${failure}: ${detail}`);
  }
  row.restarts += 1;
  const record = recordOf(draft, row.key);
  if (record?.attempt === row.attempt && record.claimId !== "") {
    draft.decisions.push({ kind: "ReleaseAttempt", key: row.key, attempt: row.attempt });
  }
  const told = { reason: failure ?? restarting, message: shorten(detail) };
  draft.losses.push({ key: row.key, attempt: row.attempt, ...told });
  apply(row, "wait", draft.nowMs, told.reason, told.message);
  row.retryAtMs = draft.nowMs + restartDelayMs(row.restarts);
}

/** One time too many. `cause` is that of the last time. */
export function lost(draft: Draft, row: Row, mark: typeof marks.lost | typeof marks.poisoned, cause: string): void {
  row.reason = mark;
  row.message = shorten(cause);
  if (!isReleased(draft, row)) return;
  const what = mark === marks.poisoned ? "its worker died" : "lost";
  const cap = `policy infrastructure.maxRestarts ${draft.seen.policy.maxRestarts}`;
  apply(row, "fail", draft.nowMs, mark, shorten(`${what} ${row.restarts + 1} times (${cap}); last: ${cause}`));
}
