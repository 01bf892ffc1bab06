import { expect, test } from "vitest";
import { MemoryStore } from "../../../src/adapters/store/memory/memory-store.ts";
import type { RunApi } from "../../../src/cli/cluster/api.ts";
import { LiveRecords } from "../../../src/cli/ui/live-records.ts";
import { type ReadableRun, StepReader } from "../../../src/cli/ui/step-reader.ts";
import { chain } from "../../../src/core/steps/chain.ts";
import { genesis } from "../../../src/core/protocol/names.ts";
import { journalReads } from "../../../src/operator/api/journal-reads.ts";
import type { Call } from "../../../src/operator/api/server.ts";
import type { StoredExecution } from "../../../src/ports/cluster.ts";
import { putRun, recordedRun } from "../../support/recorded-run.ts";

const steps = 60;
const recorded = recordedRun({ steps });
const run = {
  ...recorded,
  key: { namespace: "default", name: "brief" },
  resourceVersion: "1",
  status: { ...recorded.status, completedAt: undefined },
} as unknown as StoredExecution;
const [talk] = recorded.journals;
if (talk === undefined) throw new Error("the run has a conversation");
const { entries } = talk;

/** The API's own handlers, without a network; `told` are the entries that were sent. */
function apiOf(store: () => MemoryStore) {
  const told: number[] = [];
  const asked: number[] = [];
  const runs = { readable: async () => run, readableByUid: async () => run };
  const handlers = journalReads({ runs, store: async () => store() });
  const api: RunApi = {
    bytes: () => {
      throw new Error("nothing is exported of a run at work");
    },
    async *lines(what, body) {
      const call = { caller: { username: "a", groups: [] }, params: run.key, body, accepts: "application/jsonl" };
      const handler = what === "bodies" ? handlers.bodies : handlers.journalAfter;
      const over = new AbortController();
      const answer = await handler({ ...call, signal: over.signal } as unknown as Call);
      let text = "";
      for await (const part of answer.body as AsyncIterable<string>) text += part;
      // As the server does when an answer was sent.
      over.abort();
      const lines = text.split("\n").filter((line) => line !== "");
      if (what === "bodies") asked.push(lines.length);
      else told.push(lines.length);
      yield* lines;
    },
  };
  return { api, told, asked };
}

async function storeWith(journals: typeof recorded.journals): Promise<MemoryStore> {
  const store = new MemoryStore({ nowMs: () => 0 });
  await putRun(store, { ...recorded, journals });
  return store;
}

function pagesOf(api: RunApi) {
  const live = new LiveRecords(() => api);
  const reader = new StepReader();
  const readable: ReadableRun = {
    key: run.key,
    uid: run.uid,
    hasEnded: false,
    record: (snapshot) => live.record(run, snapshot),
  };
  return {
    page: () => reader.page(readable, { from: 0, limit: 500 }),
    step: (id: string, whole = false) => reader.step(readable, id, whole),
  };
}

test("a run at work is read on from where it was read last, and shown with what went in and out", async () => {
  const store = await storeWith([{ ...talk, entries: entries.slice(0, 8) }]);
  const { api, told, asked } = apiOf(() => store);
  const { page, step } = pagesOf(api);
  const first = await page();
  expect(first.total).toBeGreaterThan(0);
  expect(first.total).toBeLessThan(steps);
  expect(await page()).toEqual(first);
  await putRun(store, { ...recorded, journals: [talk] });
  const then = await page();
  expect(then.total).toBe(steps);
  expect(then.steps.slice(0, first.total)).toEqual(first.steps);
  expect(told).toEqual([8, 0, entries.length - 8]);
  expect((await step(then.steps[1]?.id ?? "")).row.output).toMatchObject({ content: "answer 1" });
  // Of a long conversation only what is shown is fetched, until all of it is asked for.
  const last = then.steps.at(-1)?.id ?? "";
  asked.length = 0;
  const { row } = await step(last);
  const fetched = asked.reduce((sum, bodies) => sum + bodies, 0);
  const { messages } = row.input as { messages: object[] };
  expect(messages.some((message) => "digest" in message)).toBe(false);
  const whole = (await step(last, true)).row.input as { messages: object[] };
  expect([whole.messages[0], ...whole.messages.slice(-40)]).toEqual([messages[0], ...messages.slice(-40)]);
  expect(fetched).toBeLessThan(whole.messages.length / 2);
});

test("what a store lost and recorded otherwise is read anew", async () => {
  let store = await storeWith([{ ...talk, entries: entries.slice(0, 8) }]);
  const { api } = apiOf(() => store);
  const { page } = pagesOf(api);
  const before = await page();
  const drafts = entries.map(({ bytes }) => {
    const { v: _v, index: _index, prevHash: _prevHash, ...draft } = JSON.parse(bytes);
    return draft.type === "start" ? { ...draft, at: "2026-02-03T04:05:06.789Z" } : draft;
  });
  store = await storeWith([{ ...talk, entries: chain(drafts, 0, genesis(run.uid, talk)) }]);
  expect((await page()).total).toBe(steps);
  expect(before.total).toBeLessThan(steps);
});

test("an entry that was changed is named, and none is shown", async () => {
  const changed = entries.map((entry, index) => (index === 3 ? { ...entry, bytes: `${entry.bytes} ` } : entry));
  const store = await storeWith([talk]);
  store.entries = async (_uid, { node }, from, limit) => (node === "talk" ? changed.slice(from, from + limit) : []);
  const { page } = pagesOf(apiOf(() => store).api);
  await expect(page()).rejects.toThrow("the journal of node talk was changed after it was recorded: entry 3");
});

test("a journal of a run that this one does not replay is not handed out", async () => {
  const store = await storeWith([talk]);
  const lines = apiOf(() => store).api.lines("journal", { run: "somebody-elses" });
  await expect(lines.next()).rejects.toMatchObject({ errors: [{ field: "body.run" }] });
});
