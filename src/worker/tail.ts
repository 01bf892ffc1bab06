/** The last acknowledged entries with their bodies: what a store with a bounded loss window can have forgotten. */
import type { StoredBody, StoredEntry } from "../core/protocol/types.ts";

const entriesMax = 512;

interface Kept {
  readonly entry: StoredEntry;
  readonly bodies: readonly StoredBody[];
}

export interface Lost {
  readonly entries: readonly StoredEntry[];
  readonly bodies: readonly StoredBody[];
}

export class Tail {
  readonly #kept: Kept[] = [];

  keep(entries: readonly StoredEntry[], bodies: readonly StoredBody[]): void {
    for (const [offset, entry] of entries.entries()) this.#kept.push({ entry, bodies: offset === 0 ? bodies : [] });
    if (this.#kept.length > entriesMax) this.#kept.splice(0, this.#kept.length - entriesMax);
  }

  /**
   * What takes a store from `held` back to `acknowledged` (length = entries, head = hash of the last one).
   * Undefined when the tail does not reach back that far, or the store holds other entries than those acknowledged.
   */
  between(held: Position, acknowledged: Position): Lost | undefined {
    const lost = this.#kept.filter(({ entry }) => entry.index >= held.length);
    const first = lost[0]?.entry;
    const follows =
      first === undefined
        ? held.head === (acknowledged.length === 0 ? "" : acknowledged.head)
        : first.index === 0 || first.prevHash === held.head;
    if (held.length + lost.length !== acknowledged.length || !follows) return undefined;
    return { entries: lost.map(({ entry }) => entry), bodies: lost.flatMap(({ bodies }) => bodies) };
  }
}

interface Position {
  readonly length: number;
  readonly head: string;
}
