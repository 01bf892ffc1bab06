/** A run's record as it is stored, for those who check it themselves: journal entries, also only the new ones, and bodies. */
import { itemName } from "../../core/protocol/names.ts";
import type { NodeKey, StoredEntry } from "../../core/protocol/types.ts";
import { readRecord, type RunRecord } from "../../host/journals.ts";
import { entryPages } from "../../host/lineage.ts";
import type { ObjectKey } from "../../ports/cluster.ts";
import type { JournalStore } from "../../ports/store.ts";
import { Problem } from "./problems.ts";
import type { Runs } from "./runs.ts";
import { streamed } from "./send.ts";
import type { Call, Handlers } from "./server.ts";

export interface JournalReadsOptions {
  readonly runs: Runs;
  readonly store: () => Promise<JournalStore>;
}

/** Bodies may have megabytes each. */
const bodiesAtOnce = 16;
const keysPage = 200;

export function journalReads({
  runs,
  store,
}: JournalReadsOptions): Pick<Handlers, "journal" | "journalAfter" | "bodies"> {
  async function recordOf({ caller, params }: Call): Promise<RunRecord> {
    const run = await runs.readable(caller, params as unknown as ObjectKey);
    return readRecord(await store(), run);
  }

  return {
    async journal(call) {
      const { node, item } = call.query as { node?: string; item?: number };
      const record = await recordOf(call);
      const keys = record.keys.filter(
        (key) => (node === undefined || key.node === node) && (item === undefined || key.item === item),
      );
      async function* lines(): AsyncGenerator<string> {
        for (const key of keys) for await (const page of record.entries(key)) yield linesOf(key, page);
      }
      return streamed(lines(), call);
    },

    async journalAfter(call) {
      const { run, after = {} } = call.body as { run?: string; after?: Readonly<Record<string, number>> };
      const record = await recordOf(call);
      const uid = run ?? record.recorder;
      // Whoever may read a replay may read what it reuses, as in its export; nobody else's journal.
      if (![record.uid, ...(record.snapshot?.replay?.lineage ?? [])].includes(uid))
        throw new Problem("invalid", "", {
          errors: [{ field: "body.run", message: "it is neither this run nor one that it replays" }],
        });
      return streamed(newLines(await store(), uid, record.keys, new Map(Object.entries(after))), call);
    },

    async bodies(call) {
      const { digests } = call.body as { digests: readonly string[] };
      const record = await recordOf(call);
      async function* lines(): AsyncGenerator<string> {
        for (let at = 0; at < digests.length; at += bodiesAtOnce)
          for (const [digest, bytes] of await record.bodies(digests.slice(at, at + bodiesAtOnce)))
            yield `${JSON.stringify({ digest, bytes })}\n`;
      }
      return streamed(lines(), call);
    },
  };
}

/** Only journals that are longer than they are known to be are read. */
async function* newLines(
  store: JournalStore,
  uid: string,
  keys: readonly NodeKey[],
  known: ReadonlyMap<string, number>,
): AsyncGenerator<string> {
  for (let at = 0; at < keys.length; at += keysPage) {
    const page = keys.slice(at, at + keysPage);
    const { items } = await store.view(uid, page);
    for (const [place, key] of page.entries()) {
      const from = known.get(itemName(key)) ?? 0;
      if ((items[place]?.length ?? 0) <= from) continue;
      for await (const entries of entryPages(store, uid, key, from)) yield linesOf(key, entries);
    }
  }
}

function linesOf(key: NodeKey, entries: readonly StoredEntry[]): string {
  return entries.map(({ index, hash, bytes }) => `${JSON.stringify({ ...key, index, hash, bytes })}\n`).join("");
}
