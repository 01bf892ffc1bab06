/**
 * A journal store as everything but the protocol sees it: what a Fork takes over of its parent is there, although it is not stored
 * (core/replay/taken-over.ts). Commands go to the store itself, which knows nothing of it.
 */
import { itemName } from "../core/protocol/names.ts";
import type { NodeKey } from "../core/protocol/types.ts";
import { type TakenOver, takenOver, takenOverLength, takesOverFrom } from "../core/replay/taken-over.ts";
import type { Snapshot } from "../core/steps/format.ts";
import type { JournalStore, JournalView } from "../ports/store.ts";
import { loadSnapshot } from "./snapshots.ts";

interface Fork {
  readonly snapshot: Snapshot;
  readonly digest: string;
  readonly parent: string;
}

/** Runs whose snapshot was looked at; what it says of a run never changes. */
const runsMax = 256;

export function withLineage<S extends JournalStore>(store: S): S {
  const forks = new Map<string, Fork | undefined>();

  /** Undefined = it takes nothing over, or is not there. */
  async function forkOf(uid: string, { execution }: JournalView): Promise<Fork | undefined> {
    if (execution === undefined) return undefined;
    if (forks.has(uid)) return forks.get(uid);
    const digest = execution.snapshot;
    const snapshot = await loadSnapshot(store, uid, digest);
    if (snapshot === undefined) return undefined;
    const parent = takesOverFrom(snapshot);
    const fork = parent === undefined ? undefined : { snapshot, digest, parent };
    forks.set(uid, fork);
    const oldest = forks.keys().next().value;
    if (forks.size > runsMax && oldest !== undefined) forks.delete(oldest);
    return fork;
  }

  /** Of items without a record of their own. */
  async function taken(
    uid: string,
    seen: JournalView,
    keys: readonly NodeKey[],
  ): Promise<ReadonlyMap<string, TakenOver>> {
    const found = new Map<string, TakenOver>();
    const fork = keys.length === 0 ? undefined : await forkOf(uid, seen);
    if (fork === undefined) return found;
    const parent = await view(fork.parent, keys);
    for (const [place, key] of keys.entries()) {
      const made = takenOver(fork.snapshot, fork.digest, key, parent.items[place]);
      if (made !== undefined) found.set(itemName(key), made);
    }
    return found;
  }

  async function view(uid: string, items: readonly NodeKey[]): Promise<JournalView> {
    const seen = await store.view(uid, items);
    const missing = items.filter((_, place) => seen.items[place] === undefined);
    const found = await taken(uid, seen, missing);
    if (found.size === 0) return seen;
    return { ...seen, items: items.map((key, place) => seen.items[place] ?? found.get(itemName(key))?.record) };
  }

  const entries: JournalStore["entries"] = async (uid, key, from, limit) => {
    const stored = await store.entries(uid, key, from, limit);
    if (stored.length > 0 || from >= takenOverLength) return stored;
    const seen = await store.view(uid, [key]);
    if (seen.items[0] !== undefined) return stored;
    const found = (await taken(uid, seen, [key])).get(itemName(key));
    return found?.entries.slice(from, from + limit) ?? stored;
  };

  return new Proxy(store, {
    get(target, name) {
      if (name === "view") return view;
      if (name === "entries") return entries;
      const member: unknown = Reflect.get(target, name);
      return typeof member === "function" ? member.bind(target) : member;
    },
  });
}
