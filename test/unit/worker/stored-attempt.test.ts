/** What a new attempt goes on from is held against its chain, as everybody else who reads it holds it. */
import { expect, test } from "vitest";
import { MemoryStore } from "../../../src/adapters/store/memory/memory-store.ts";
import { canonicalJson, sha256Hex } from "../../../src/core/digest/digest.ts";
import { genesis } from "../../../src/core/protocol/names.ts";
import type { StoredEntry } from "../../../src/core/protocol/types.ts";
import { chain, type EntryDraft } from "../../../src/core/steps/chain.ts";
import type { WorkerOrder } from "../../../src/ports/cluster.ts";
import type { JournalStore } from "../../../src/ports/store.ts";
import { readHistory } from "../../../src/worker/stored-attempt.ts";

const key = { node: "a" };
const order = { uid: "u", ...key, try: 1 } as unknown as WorkerOrder;
const at = "2026-01-01T00:00:00.000Z";
const start = {
  type: "start",
  attempt: 1,
  try: 1,
  snapshot: "s",
  runtime: { format: 1, version: "0", node: "v24" },
  tools: {},
  at,
} as const satisfies EntryDraft;
const recorded = chain([start, { ...start, attempt: 2 }], 0, genesis("u", key));

/** As a store has it whose bytes were written by somebody else. */
function storeOf(entries: readonly StoredEntry[]): JournalStore {
  const store = new MemoryStore({ nowMs: () => 0 });
  return Object.assign(store, {
    entries: (_: string, __: unknown, from: number, limit: number) =>
      Promise.resolve(entries.slice(from, from + limit)),
  });
}
const junk = (bytes: string) => [{ index: 0, prevHash: genesis("u", key), hash: sha256Hex(bytes), bytes }];

test.each([
  ["no JSON", junk("junk"), "entry 0: its bytes are not JSON"],
  ["no entry", junk(canonicalJson({ index: 0 })), "entry 0: it begins the journal of another run or node"],
  [
    "edited",
    recorded.map((entry) => (entry.index === 0 ? { ...entry, bytes: `${entry.bytes} ` } : entry)),
    "entry 0: its hash is not the hash of its bytes",
  ],
])("a journal whose first entry is %s is told as changed, with the reason", async (_, entries, why) => {
  await expect(readHistory(order, storeOf(entries), entries.length)).rejects.toMatchObject({
    code: "OAO_RECORD_CHANGED",
    message: `the journal of node a was changed after it was recorded: ${why}`,
  });
});

test("what was appended after the claim is left out, and what is missing before it is lost", async () => {
  expect((await readHistory(order, storeOf(recorded), 1)).history.stepCount).toBe(0);
  await expect(readHistory(order, storeOf(recorded), 3)).rejects.toMatchObject({
    code: "OAO_DURABILITY_LOST",
    message: "the journal of a ends at entry 2 of 3",
  });
});
