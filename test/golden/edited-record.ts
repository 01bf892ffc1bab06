/** What somebody who can write to the store may do to the record of a run that has ended: edit its entries, and make its chains whole again. */
import type { Json } from "../../src/core/digest/json.ts";
import { genesis, itemKey } from "../../src/core/protocol/names.ts";
import type { NodeKey, StoredEntry } from "../../src/core/protocol/types.ts";
import { packBody } from "../../src/core/steps/bodies.ts";
import { chain, type EntryDraft, readEntry } from "../../src/core/steps/chain.ts";
import type { JournalEntry } from "../../src/core/steps/format.ts";
import type { ReplayWorld } from "../support/replay-world.ts";

/** A journal of run `uid` that says it reuses steps of run `of`, as only a host writes it. */
export function reusing(uid: string, key: NodeKey, of: string): StoredEntry[] {
  const start = { type: "start", attempt: 1, try: 1, snapshot: "", tools: {}, at: "now" } as const;
  const runtime = { format: 1, version: "", node: "" } as const;
  return chain([{ ...start, runtime, reuse: { uid: of, steps: 1 } }], 0, genesis(uid, key));
}

/** Every entry of a node item through `edit`; one that comes back undefined is taken out. */
export function editJournal(
  { store }: ReplayWorld,
  uid: string,
  key: NodeKey,
  edit: (entry: JournalEntry) => JournalEntry | undefined,
): void {
  const { entries } = store.recordsOf(uid);
  const name = itemKey(key);
  const drafts = (entries.get(name) ?? []).flatMap((stored): EntryDraft[] => {
    const edited = edit(readEntry(stored));
    if (edited === undefined) return [];
    const { v: _v, index: _index, prevHash: _prevHash, ...draft } = edited;
    return [draft];
  });
  entries.set(name, chain(drafts, 0, genesis(uid, key)));
}

/** The step at `path` says something else. */
export function editOutput(
  world: ReplayWorld,
  uid: string,
  key: NodeKey,
  path: string,
  edit: (output: Json) => Json,
): void {
  const { bodies } = world.store.recordsOf(uid);
  editJournal(world, uid, key, (entry) => {
    if (entry.type !== "step" || entry.path.join(".") !== path) return entry;
    const output = edit(JSON.parse(bodies.get(entry.output?.body ?? "") ?? "null") as Json);
    return { ...entry, output: bodyOf(world, uid, output) };
  });
}

/** Puts it and gives its name. */
export function bodyOf({ store }: ReplayWorld, uid: string, value: Json): { readonly body: string } {
  const packed = packBody(value);
  const { bodies } = store.recordsOf(uid);
  for (const body of packed.bodies) bodies.set(body.digest, body.bytes);
  return { body: packed.digest };
}
