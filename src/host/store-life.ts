/** What the planner sees of a journal store's current life. */
import type { SeenStore } from "../core/planner/types.ts";
import type { JournalStore } from "../ports/store.ts";

const seen = new WeakMap<JournalStore, SeenStore>();

/** The run id is asked for each time, the settings once per life. Throws StoreUnavailable. */
export async function storeLife(store: JournalStore): Promise<SeenStore> {
  const runId = await store.runId();
  const held = seen.get(store);
  if (held?.runId === runId) return held;
  const life = { runId, ...(await store.durability()) };
  seen.set(store, life);
  return life;
}
