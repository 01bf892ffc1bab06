/** Which journals of a run are longer than somebody knows them to be. */
import { itemName } from "../../core/protocol/names.ts";
import type { NodeKey } from "../../core/protocol/types.ts";
import { takenOverAttempt, takenOverLength } from "../../core/replay/taken-over.ts";
import type { JournalStore } from "../../ports/store.ts";

const keysPage = 200;

/** Entries `from` up to `length`, which is not among them. */
export interface GrownItem {
  readonly key: NodeKey;
  readonly from: number;
  readonly length: number;
}

/**
 * `known`: how many entries of an item, by itemName; asked when its page is there. `tookOver`: whether an item was taken over, which
 * gives way to a further try's own journal: that begins anew. Throws RecordChanged, StoreUnavailable.
 */
export async function* grownItems(
  store: Pick<JournalStore, "view">,
  uid: string,
  keys: readonly NodeKey[],
  known: (item: string) => number,
  tookOver?: (key: NodeKey) => Promise<boolean>,
): AsyncGenerator<GrownItem> {
  for (let at = 0; at < keys.length; at += keysPage) {
    const page = keys.slice(at, at + keysPage);
    const { items } = await store.view(uid, page);
    for (const [place, key] of page.entries()) {
      const { length = 0, attempt = 0 } = items[place] ?? {};
      const told = known(itemName(key));
      const mayBeAnother = told === takenOverLength && attempt > takenOverAttempt;
      const from = mayBeAnother && (await tookOver?.(key)) === true ? 0 : told;
      if (length > from) yield { key, from, length };
    }
  }
}
