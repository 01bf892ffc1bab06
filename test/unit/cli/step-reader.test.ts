import { expect, test } from "vitest";
import { systemClock } from "../../../src/adapters/clock/system-clock.ts";
import { MemoryStore } from "../../../src/adapters/store/memory/memory-store.ts";
import { StepReader } from "../../../src/cli/ui/step-reader.ts";
import { readRecord } from "../../../src/host/journals.ts";
import { putRun, recordedRun } from "../../support/recorded-run.ts";

test("what is known of a run's steps is the same object until one is recorded or the run ends", async () => {
  const store = new MemoryStore(systemClock);
  const whole = recordedRun();
  const reader = new StepReader();
  const key = { namespace: "default", name: "brief" };
  const read = (hasEnded: boolean) =>
    reader.read({ key, uid: whole.uid, hasEnded, record: (snapshot) => readRecord(store, whole, snapshot) });
  await putRun(store, { ...whole, journals: whole.journals.slice(0, 1) });
  const first = await read(false);
  expect(await read(false)).toBe(first);
  await putRun(store, { ...whole, journals: whole.journals.slice(1) });
  const grown = await read(false);
  expect([first.steps.length, grown.steps.length]).toEqual([3, 6]);
  const ended = await read(true);
  expect([grown, ended].map(({ steps }) => steps.at(-1)?.summary.number)).toEqual([null, 5]);
  expect(await read(true)).toBe(ended);
});
