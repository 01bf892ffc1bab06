/** Model requests are stored as what they add to an earlier one; this puts them together again. */
import type { StoredEntry } from "../protocol/types.ts";
import { entriesOf, type ItemJournal } from "./journal.ts";
import type { RequestRef } from "../steps/format.ts";

export interface RebuiltRequest {
  /** Digest of the header's body: model, parameters, tool definitions, response format. */
  readonly header: string;
  /** Digests of the messages' bodies, in order. */
  readonly messages: readonly string[];
}

/**
 * Digests of one request, read from the journal item that holds it. Without recursion: a chain may be thousands of steps
 * long. Throws when a reference leads to an entry that is no model step or holds fewer messages than are kept of it.
 */
export function rebuildRequest(ref: RequestRef, journal: ItemJournal): RebuiltRequest {
  const parts: (readonly string[])[] = [ref.append];
  let { base, keep } = ref;
  let held = heldBy(ref, journal);
  while (base !== null && keep > 0) {
    const earlier = requestAt(base, held.entries);
    const own = earlier.append.slice(0, Math.max(0, keep - earlier.keep));
    parts.push(own);
    const kept = Math.min(keep, earlier.keep);
    if (kept + own.length < keep)
      throw new Error(`journal entry ${base} holds ${kept + own.length} messages, a later request keeps ${keep}`);
    const next = heldBy(earlier, held);
    if (next === held && earlier.base !== null && earlier.base >= base)
      throw new Error(`journal entry ${base} refers to a later one`);
    if (earlier.base === null && kept > 0) throw new Error(`journal entry ${base} keeps ${kept} messages of nothing`);
    base = earlier.base;
    keep = kept;
    held = next;
  }
  return { header: ref.header, messages: parts.toReversed().flat() };
}

export function isRequestRef(input: RequestRef | { readonly body: string }): input is RequestRef {
  return "header" in input;
}

/** The journal that a reference leads into: this one, or that of a run which it replays. */
function heldBy({ from }: RequestRef, journal: ItemJournal): ItemJournal {
  if (from === undefined) return journal;
  for (let held = journal.origin; held !== undefined; held = held.origin) if (held.uid === from) return held;
  throw new Error(`the request begins in the journal of run ${from}, which was not read`);
}

function requestAt(index: number, entries: readonly StoredEntry[]): RequestRef {
  const entry = entriesOf(entries)[index];
  if (entry?.type !== "step" || !isRequestRef(entry.input)) throw new Error(`journal entry ${index} is no model step`);
  return entry.input;
}
