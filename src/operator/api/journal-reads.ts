/** A run's record as it is stored, for those who check it themselves: journal entries, also only the new ones, and bodies. */
import type { NodeKey, StoredEntry } from "../../core/protocol/types.ts";
import { lineageOf } from "../../host/journals.ts";
import { entryPages } from "../../host/record-store.ts";
import { grownItems } from "./grown-items.ts";
import { Problem } from "./problems.ts";
import { recordOf, type RecordOptions } from "./runs.ts";
import { streamed } from "./send.ts";
import type { Handlers } from "./server.ts";
import { Turns } from "./turns.ts";

/** Bodies may have megabytes each. */
const bodiesAtOnce = 4;
const readers = { atOnce: 2, perCaller: 1, waiting: 50 };

export function journalReads(options: RecordOptions): Pick<Handlers, "journal" | "journalAfter" | "bodies"> {
  const turns = new Turns(readers);

  return {
    async journal(call) {
      const { node, item } = call.query as { node?: string; item?: number };
      const record = await recordOf(options, call);
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
      const record = await recordOf(options, call);
      const uid = run ?? record.recorder;
      // Whoever may read a replay may read what it reuses, as in its export; nobody else's journal.
      if (![record.uid, ...(record.snapshot?.replay?.lineage ?? [])].includes(uid))
        throw new Problem("invalid", "", {
          errors: [{ field: "body.run", message: "it is neither this run nor one that it replays" }],
        });
      const journals = lineageOf(await options.store(), record, record.snapshot);
      const known = new Map(Object.entries(after));
      async function* lines(): AsyncGenerator<string> {
        if (journals === undefined) return;
        const told = (item: string) => known.get(item) ?? 0;
        const tookOver = (key: NodeKey) => journals.takenOver(uid, [key]).then(({ size }) => size > 0);
        for await (const { key, from } of grownItems(journals, uid, record.keys, told, tookOver))
          for await (const page of entryPages(journals, uid, key, from)) yield linesOf(key, page);
      }
      return streamed(lines(), call);
    },

    async bodies(call) {
      const { digests } = call.body as { digests: readonly string[] };
      const record = await recordOf(options, call);
      async function* lines(): AsyncGenerator<string> {
        for (let at = 0; at < digests.length; at += bodiesAtOnce)
          for (const [digest, bytes] of await record.bodies(digests.slice(at, at + bodiesAtOnce)))
            yield `${JSON.stringify({ digest, bytes })}\n`;
      }
      return streamed(lines(), call, await turns.take(call.caller.username, call.signal));
    },
  };
}

function linesOf(key: NodeKey, entries: readonly StoredEntry[]): string {
  return entries.map(({ index, hash, bytes }) => `${JSON.stringify({ ...key, index, hash, bytes })}\n`).join("");
}
