/** What the planner sees of a journal store's current life. */
import type { SeenStore } from "../core/planner/types.ts";
import type { JournalStore } from "../ports/store.ts";

interface Held {
  readonly life: SeenStore;
  readonly askedAtMs: number;
}

const seen = new WeakMap<JournalStore, Held>();
/** Settings may change while a server runs; those that somebody is to mend are looked at more often. */
const askAgainMs = { durable: 60_000, weak: 10_000 } as const;

/** The run id is asked for each time, the settings once per life and now and then. `nowMs` is monotonic. Throws StoreUnavailable. */
export async function storeLife(store: JournalStore, nowMs: number): Promise<SeenStore> {
  const runId = await store.runId();
  const held = seen.get(store);
  const isFresh = (found: Held) =>
    nowMs - found.askedAtMs < (found.life.durable ? askAgainMs.durable : askAgainMs.weak);
  if (held?.life.runId === runId && isFresh(held)) return held.life;
  const life = { runId, ...(await store.durability()) };
  seen.set(store, { life, askedAtMs: nowMs });
  return life;
}
