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

/** The first index at which a journal does not hold together, or undefined. Checks bytes, hashes, links and indices. */
export function firstBroken(entries: readonly StoredEntry[], genesisHash: string): number | undefined {
  let prevHash = genesisHash;
  for (const [index, entry] of entries.entries()) {
    if (entry.index !== index || sha256Hex(entry.bytes) !== entry.hash) return index;
    const parsed = JSON.parse(entry.bytes) as { index: number; prevHash: string };
    if (parsed.index !== index || parsed.prevHash !== prevHash) return index;
    prevHash = entry.hash;
  }
  return undefined;
}

/** Stored bytes to entry; the format version is checked, as readers must know what they read. */
export function readEntry(stored: StoredEntry): JournalEntry {
  const entry = JSON.parse(stored.bytes) as JournalEntry;
  if (entry.v !== 1)
    throw new Error(`journal entry ${stored.index} has format ${String(entry.v)}; this version reads format 1`);
  return entry;
}
