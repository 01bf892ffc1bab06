/** Of a Fork: what the record of the run that it replays says about a node item. */
import type { KnownEnd, Origin, Seen } from "./types.ts";
import { itemName } from "../protocol/names.ts";
import type { ItemRecord, NodeKey } from "../protocol/types.ts";
import { itemCount } from "../replay/fork.ts";
import { takenOverAttempt } from "../replay/taken-over.ts";
import { apply, type NodeRow, type Row } from "./rows.ts";

/** Reason of a row whose end is the parent's. */
export const reused = "Reused";

/** The parent's end, which is this run's too, of a row that was not begun; undefined = the item is run. */
export function originEnd(seen: Seen, row: Row): KnownEnd | undefined {
  return row.attempt > 0 ? undefined : originOf(seen, row.key)?.end;
}

/** Whether the node's condition and list of items are not asked again, since some of its work is the parent's; and how many items it has. */
export function decidedBefore(seen: Seen, { name, spec }: NodeRow["node"]): { items?: number } | undefined {
  const hasEnd = (item: NodeKey) => originOf(seen, item)?.end !== undefined;
  if (spec.forEach === undefined) return hasEnd({ node: name }) ? {} : undefined;
  const items = itemCount(seen.replay, name);
  for (let item = 0; item < items; item += 1) if (hasEnd({ node: name, item })) return { items };
  return undefined;
}

/** A try is part of a step's key, so the first one here is the one that the record ended with. */
export function beginTry(seen: Seen, row: Row): void {
  if (row.attempt === 0) row.try = originOf(seen, row.key)?.try ?? row.try;
}

/** Succeeded, and says so where the end is the parent's. */
export function succeed(seen: Seen, row: Row, nowMs: number): void {
  apply(row, "succeed", nowMs, isTakenOver(seen, row.key, row) ? reused : undefined);
}

/**
 * Whether an attempt, of a row or a record, is no attempt of this run: the item was taken over, and nobody worked on it. What this run
 * itself does of it is a further try.
 */
export function isTakenOver(seen: Seen, key: NodeKey, { attempt }: Pick<ItemRecord, "attempt">): boolean {
  return attempt === takenOverAttempt && originOf(seen, key)?.end !== undefined;
}

function originOf({ origins }: Seen, key: NodeKey): Origin | undefined {
  return origins?.get(itemName(key));
}
