/** Of a Fork: what the record of the run that it replays says about a node item. */
import type { KnownEnd, Seen } from "./types.ts";
import type { Draft } from "./draft.ts";
import { itemName } from "../protocol/names.ts";
import type { NodeKey } from "../protocol/types.ts";
import { apply, type NodeRow, type Row } from "./rows.ts";

/** Reason of a row whose end is the parent's. */
export const reused = "Reused";

/** The parent's end, which is this run's too; undefined = the item is run. A further try is this run's own. */
export function originEnd(seen: Seen, { key, attempt, try: tryNumber }: Row): KnownEnd | undefined {
  const origin = seen.origins?.get(itemName(key));
  return attempt > 0 && origin?.try !== tryNumber ? undefined : origin?.end;
}

/** Whether the node's condition and list of items are not asked again, since some of its work is the parent's; and how many items it has. */
export function decidedBefore(
  { origins, replay }: Seen,
  { name, spec }: NodeRow["node"],
): { items?: number } | undefined {
  const isReused = (item: NodeKey) => origins?.get(itemName(item))?.end !== undefined;
  if (spec.forEach === undefined) return isReused({ node: name }) ? {} : undefined;
  const items = replay?.itemCounts?.[name] ?? 0;
  for (let item = 0; item < items; item += 1) if (isReused({ node: name, item })) return { items };
  return undefined;
}

/** A try is part of a step's key, so the first one here is the one that the record ended with. */
export function beginTry(draft: Draft, row: Row): void {
  if (row.attempt === 0) row.try = draft.seen.origins?.get(itemName(row.key))?.try ?? row.try;
}

/** By the host, like an approval's answer: claim and end in one. */
export function orderReuse(draft: Draft, row: Row, end: KnownEnd): void {
  const { snapshot } = draft.seen;
  draft.decisions.push({ kind: "RecordReuse", key: row.key, attempt: row.attempt, try: row.try, snapshot, end });
}

/** Succeeded as the parent's did, and says so. */
export function succeed(draft: Draft, row: Row): void {
  apply(row, "succeed", draft.nowMs, originEnd(draft.seen, row) === undefined ? undefined : reused);
}
