/** Which journals of a run are longer than somebody knows them to be. */
import { itemName } from "../../core/protocol/names.ts";
import type { NodeKey } from "../../core/protocol/types.ts";
import type { JournalStore } from "../../ports/store.ts";

const keysPage = 200;

/** Entries `from` up to `length`, which is not among them. */
export interface GrownItem {
  readonly key: NodeKey;
  readonly from: number;
  readonly length: number;
}

/** `known`: how many entries of an item, by itemName; asked when its page is there. Throws StoreUnavailable. */
export async function* grownItems(
  store: JournalStore,
  uid: string,
  keys: readonly NodeKey[],
  known: (item: string) => number,
): AsyncGenerator<GrownItem> {
  for (let at = 0; at < keys.length; at += keysPage) {
    const page = keys.slice(at, at + keysPage);
    const { items } = await store.view(uid, page);
    for (const [place, key] of page.entries()) {
      const length = items[place]?.length ?? 0;
      const from = known(itemName(key));
      if (length > from) yield { key, from, length };
    }
  }
}
