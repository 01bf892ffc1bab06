/** The hash chain of one item's journal, entry by entry: bytes, hashes, links, indices, and that it belongs to this run and node. */
import { sha256Hex } from "../digest/digest.ts";
import { genesis } from "../protocol/names.ts";
import type { NodeKey, StoredEntry } from "../protocol/types.ts";
import { formatProblem } from "../steps/chain.ts";
import type { JournalEntry } from "../steps/format.ts";
import { entriesOf, type ItemJournal, keepEntries } from "./journal.ts";

export interface BrokenChain {
  /** Index of the first entry that does not hold. */
  readonly index: number;
  readonly reason: string;
}

/** After the first entry that does not hold nothing more is said: what follows it hangs in the air. */
export class ChainCheck {
  #length: number;
  #head: string;
  #broken: BrokenChain | undefined;

  /** `after`: what goes before the first entry that is looked at, where that is not the first of all. */
  constructor(uid: string, key: NodeKey, after = { length: 0, head: genesis(uid, key) }) {
    this.#length = after.length;
    this.#head = after.head;
  }

  /** Undefined = it does not hold, or comes after one that does not. */
  next(stored: StoredEntry): JournalEntry | undefined {
    if (this.#broken !== undefined) return undefined;
    const entry = parsed(stored.bytes);
    const reason = this.#reason(stored, entry);
    if (reason !== undefined) this.#broken = { index: this.#length, reason };
    this.#length += 1;
    this.#head = stored.hash;
    return reason === undefined ? (entry as JournalEntry) : undefined;
  }

  get length(): number {
    return this.#length;
  }

  get head(): string {
    return this.#head;
  }

  get broken(): BrokenChain | undefined {
    return this.#broken;
  }

  #reason(stored: StoredEntry, inside: Parsed | undefined): string | undefined {
    if (stored.index !== this.#length) return `entry ${this.#length} is missing`;
    if (sha256Hex(stored.bytes) !== stored.hash) return "its hash is not the hash of its bytes";
    if (inside === undefined) return "its bytes are not JSON";
    if (inside.index !== this.#length) return `its bytes say index ${String(inside.index)}`;
    if (inside.prevHash === this.#head) return formatProblem(inside);
    return this.#length === 0
      ? "it begins the journal of another run or node"
      : "it does not follow the entry before it";
  }
}

/**
 * Of one item's whole journal, of which those `before` are known to hold. Undefined = it holds. An entry cut off at the end is not seen
 * here: compare the length with the status for that.
 */
export function verifyChain(
  uid: string,
  journal: ItemJournal,
  before: readonly StoredEntry[] = [],
): BrokenChain | undefined {
  const last = before.at(-1);
  const check = new ChainCheck(uid, journal, last && { length: before.length, head: last.hash });
  const entries: JournalEntry[] = [...entriesOf(before)];
  for (const stored of journal.entries.slice(before.length)) {
    const entry = check.next(stored);
    if (entry !== undefined) entries.push(entry);
  }
  if (check.broken === undefined) keepEntries(journal.entries, entries);
  return check.broken;
}

type Parsed = Partial<JournalEntry>;

function parsed(text: string): Parsed | undefined {
  try {
    return (JSON.parse(text) ?? {}) as Parsed;
  } catch {
    return undefined;
  }
}
