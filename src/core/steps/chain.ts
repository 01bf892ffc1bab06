/** Journal entries as stored bytes, chained by hash. */
import { canonicalJson, sha256Hex } from "../digest/digest.ts";
import type { StoredEntry } from "../protocol/types.ts";
import type { JournalEntry } from "./format.ts";

type Unchained<E> = E extends JournalEntry ? Omit<E, "v" | "index" | "prevHash"> : never;
/** An entry before its place in the chain is known. */
export type EntryDraft = Unchained<JournalEntry>;

/** Give drafts their places after `length` entries whose last hash is `head` (genesis for none). */
export function chain(drafts: readonly EntryDraft[], length: number, head: string): StoredEntry[] {
  let prevHash = head;
  return drafts.map((draft, offset) => {
    const index = length + offset;
    const bytes = canonicalJson({ v: 1, index, prevHash, ...draft });
    const entry = { index, prevHash, hash: sha256Hex(bytes), bytes };
    prevHash = entry.hash;
    return entry;
  });
}

/** Stored bytes to entry; the format version is checked, as readers must know what they read. */
export function readEntry(stored: StoredEntry): JournalEntry {
  const entry = JSON.parse(stored.bytes) as JournalEntry;
  const problem = formatProblem(entry);
  if (problem !== undefined) throw new Error(`journal entry ${stored.index} ${problem}`);
  return entry;
}

/** Of any JSON object; undefined = this version reads it. */
export function formatProblem({ v }: { readonly v?: unknown }): string | undefined {
  return v === 1 ? undefined : `has format ${String(v)}; this version reads format 1`;
}
