import { describe, expect, test } from "vitest";
import { MemoryStore } from "../../../../src/adapters/store/memory/memory-store.ts";
import { chain } from "../../../../src/core/steps/chain.ts";
import type { ItemJournal } from "../../../../src/core/trace/journal.ts";
import type { TraceRow } from "../../../../src/core/trace/rows.ts";
import { readRecord } from "../../../../src/host/journals.ts";
import { traceRowsOf } from "../../../../src/operator/api/record.ts";
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
      for await (const row of traceRowsOf(record, { from, limit, all: true, steps })) told.push(row);
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
