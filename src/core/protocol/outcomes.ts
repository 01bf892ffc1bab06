/** What the parts of the protocol answer with: replies, and the fence that stands before every command of a worker (J2). */
import type { Control, ItemRecord, Outcome, Reply } from "./types.ts";

export const nothing = { records: undefined, entries: [], bodies: [], wake: undefined } as const;

/** J2. Undefined = this attempt and claim hold the item (or nobody has claimed it yet and `item` is undefined). */
export function fence(item: ItemRecord | undefined, attempt: number, claimId: string): Reply | undefined {
  if (item === undefined || item.attempt < attempt) return { code: "RECLAIM", attempt: item?.attempt ?? 0 };
  if (item.attempt > attempt || item.claimId === "" || item.claimId !== claimId)
    return { code: "FENCED", attempt: item.attempt };
  return undefined;
}

export function ok(head: string, length: number, state: Control, crossed: readonly string[] = []): Reply {
  return { code: "OK", length, head, control: state, crossed, left: -1 };
}

export function invalid(detail: string): Outcome {
  return { reply: { code: "INVALID", detail }, ...nothing };
}
