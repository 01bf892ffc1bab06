/** Tokens of an ended run by model, from its journals: the status has sums alone. */
import type { ExecutionStatus } from "../api/status.ts";
import type { NodeKey } from "../core/protocol/types.ts";
import { readEntry } from "../core/steps/chain.ts";
import { loadSnapshot } from "../host/snapshots.ts";
import type { JournalStore } from "../ports/store.ts";

export interface ModelTokens {
  readonly input: number;
  readonly output: number;
}

const entriesPage = 256;

/** By "provider/model", the name that policies match; what budgets were charged, calls that were tried again included. Throws StoreUnavailable. */
export async function tokensByModel(
  store: JournalStore,
  uid: string,
  status: ExecutionStatus,
): Promise<ReadonlyMap<string, ModelTokens>> {
  const snapshot = await loadSnapshot(store, [uid], status.snapshot ?? "");
  const names = new Map(
    (snapshot?.spec.models ?? []).map(({ name, provider, model }) => [name, `${provider}/${model}`]),
  );
  const found = new Map<string, { input: number; output: number }>();
  for (const key of status.nodes.flatMap(keysOf)) {
    for (let from = 0; ; from += entriesPage) {
      const page = await store.entries(uid, key, from, entriesPage);
      for (const stored of page) {
        const entry = readEntry(stored);
        if ((entry.type !== "step" && entry.type !== "repeat") || entry.kind !== "model" || entry.usage === null)
          continue;
        const name = names.get(entry.name) ?? entry.name;
        const sum = found.get(name) ?? { input: 0, output: 0 };
        const { counted } = entry.usage;
        found.set(name, { input: sum.input + counted.input, output: sum.output + counted.output });
      }
      if (page.length < entriesPage) break;
    }
  }
  return found;
}

function keysOf({ name: node, itemCount, attempt }: ExecutionStatus["nodes"][number]): NodeKey[] {
  if (itemCount !== undefined) return Array.from({ length: itemCount }, (_, item) => ({ node, item }));
  // In large runs an attempt that the state implies is left out.
  return attempt === 0 ? [] : [{ node }];
}
