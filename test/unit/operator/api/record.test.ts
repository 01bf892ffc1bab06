import { afterEach, describe, expect, test, vi } from "vitest";
import { MemoryStore } from "../../../../src/adapters/store/memory/memory-store.ts";
import { chain } from "../../../../src/core/steps/chain.ts";
import type { ItemJournal } from "../../../../src/core/trace/journal.ts";
import type { TraceRow } from "../../../../src/core/trace/rows.ts";
import { readRecord } from "../../../../src/host/journals.ts";
import type { RecordStore } from "../../../../src/host/record-store.ts";
import { HeldJournals, type HeldLimits } from "../../../../src/operator/api/held-journals.ts";
import { traceRowsOf, verified } from "../../../../src/operator/api/record.ts";
import { putRun, recordedRun } from "../../../support/recorded-run.ts";

/** With a violation at its end. */
function violated({ entries, ...key }: ItemJournal): ItemJournal {
  const own = { attempt: 1, try: 1, at: "2026-01-02T03:04:05.678Z" };
  const violation = { type: "violation", enforcement: "Audit", message: "too much", path: "limits", ...own } as const;
  return { ...key, entries: [...entries, ...chain([violation], entries.length, entries.at(-1)?.hash ?? "")] };
}

describe("the rows of a trace, page by page", () => {
  test("have every violation and every repeat once, on the page on which its place lies", async () => {
    const run = recordedRun();
    const store = new MemoryStore({ nowMs: () => 0 });
    const all = { ...run, journals: run.journals.map(violated) };
    await putRun(store, all);
    const record = await readRecord(store, all);
    const steps = 5;
    const rows = async (from: number, limit: number) => {
      const told: TraceRow[] = [];
      for await (const row of traceRowsOf(record, new HeldJournals().of(record, true), {
        from,
        limit,
        all: true,
        steps,
      }))
        told.push(row);
      return told.map(({ step_number, node, state }) => `${step_number ?? "-"} ${node} ${state}`);
    };
    const whole = await rows(1, Infinity);
    expect(whole).toEqual([
      "1 talk Ok",
      "2 talk Ok",
      "3 talk Ok",
      "- talk Audit",
      "4 rate[0] Ok",
      "- rate[0] Audit",
      "- rate[1] Superseded",
      "5 rate[1] Ok",
      "- rate[1] Audit",
    ]);
    for (const first of [1, 2, 3, 4])
      expect([...(await rows(1, first)), ...(await rows(first + 1, steps - first))]).toEqual(whole);
    expect(await rows(1, 3)).toEqual(whole.slice(0, 3));
  });
});

describe("a trace that is read page by page", () => {
  afterEach(() => void vi.useRealTimers());
  const steps = 300;

  /** What the store was asked for, of a conversation of 300 steps and two further items. */
  async function counted(limits?: HeldLimits) {
    const run = recordedRun({ steps });
    const store = new MemoryStore({ nowMs: () => 0 });
    await putRun(store, run);
    const asked = { entries: 0, bodies: 0 };
    const counting: RecordStore = {
      entries: async (...args) => {
        const found = await store.entries(...args);
        asked.entries += found.length;
        return found;
      },
      bodies: (uid, digests) => {
        asked.bodies += digests.length;
        return store.bodies(uid, digests);
      },
    };
    const held = new HeldJournals(limits);
    const total = run.journals.reduce((sum, { entries }) => sum + entries.length, 0);
    const page = async (from: number, limit: number) => {
      const record = await readRecord(counting, run);
      const journals = held.of(record, from === 1);
      const there = await verified(record, journals);
      const rows: TraceRow[] = [];
      for await (const row of traceRowsOf(record, journals, { from, limit, all: false, steps: there })) rows.push(row);
      return rows;
    };
    const pages = async (limit: number) => {
      const rows: TraceRow[] = [];
      for (let from = 1; from <= steps + 2; from += limit) rows.push(...(await page(from, limit)));
      return rows;
    };
    return { run, store, asked, total, page, pages };
  }

  test("reads each entry once, however small the pages, and shows what it shows as a whole", async () => {
    const { asked, total, page, pages } = await counted();
    const whole = await page(1, Infinity);
    expect(whole.map(({ step_number }) => step_number)).toEqual(Array.from({ length: steps + 2 }, (_, at) => at + 1));
    expect(asked.entries).toBe(total);
    asked.entries = 0;
    expect(await pages(7)).toEqual(whole);
    expect(asked.entries).toBe(total);
  });

  test("asks for a body once in one answer, though every request has all that was said before", async () => {
    const { run, asked, page } = await counted();
    const [first, second] = (await page(1, Infinity)).map(({ input }) => input as { messages: object[] });
    expect(second?.messages[0]).toBe(first?.messages[0]); // nor is it parsed for each of them
    expect(asked.bodies).toBeLessThan(2 * run.bodies.size);
  });

  test("holds no more than so much, and for so long; what does not fit is read again, once a page", async () => {
    const without = await counted({ bytesMax: 0, keptMs: 60_000 });
    const whole = await without.page(1, Infinity);
    without.asked.entries = 0;
    expect(await without.page(1 + steps, 1)).toEqual(whole.slice(steps, steps + 1));
    expect(without.asked.entries).toBeLessThan(5); // of the item rate[0] alone: what the others have is counted
    vi.useFakeTimers();
    const { asked, total, page } = await counted({ bytesMax: 10_000_000, keptMs: 60_000 });
    await page(1, 1);
    asked.entries = 0;
    await page(2, 1);
    expect(asked.entries).toBe(0);
    vi.advanceTimersByTime(60_000);
    await page(2, 1);
    expect(asked.entries).toBe(total);
  });

  test.each([
    ["and is still", false],
    ["and has ended since", true],
  ])(
    "of a run that was at work %s shows what has been recorded meanwhile, and reads no more than that",
    async (_, hasEnded) => {
      const { run, store } = await counted();
      const [talk] = run.journals as [ItemJournal];
      const { completedAt = "", ...status } = run.status;
      const atWork = { ...run, status };
      const half = new MemoryStore({ nowMs: () => 0 });
      const cut = Math.floor(talk.entries.length / 2);
      const put = (entries: ItemJournal["entries"]) => putRun(half, { ...run, journals: [{ ...talk, entries }] });
      await put(talk.entries.slice(0, cut));
      let read = 0;
      const reading: RecordStore = {
        entries: async (...args) => {
          const found = await half.entries(...args);
          read += found.length;
          return found;
        },
        bodies: (...args) => store.bodies(...args),
      };
      const held = new HeldJournals();
      const look = async (seen = hasEnded ? { ...run, status: { ...status, completedAt } } : atWork) => {
        const record = await readRecord(reading, seen);
        return verified(record, held.of(record, false));
      };
      const before = await look(atWork);
      await put(talk.entries);
      expect(await look()).toBeGreaterThan(before);
      expect(read).toBe(talk.entries.length);
      expect(await look()).toBe(steps);
      expect(read).toBe(talk.entries.length);
    },
  );
});
