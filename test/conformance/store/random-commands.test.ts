import { expect, test } from "vitest";
import { MemoryStore } from "../../../src/adapters/store/memory/memory-store.ts";
import type { ReplyCode } from "../../../src/core/protocol/types.ts";
import { baseSeed, Random } from "../../support/random.ts";
import { RandomRun } from "./random-commands.ts";

const codes: readonly ReplyCode[] = [
  "OK",
  "WAIT",
  "BUDGET",
  "LIMIT",
  "STOPPED",
  "FENCED",
  "CLAIMED",
  "RECLAIM",
  "GAP",
  "ROLLED_BACK",
  "FINISHED",
  "NOT_OPEN",
  "REFUSED",
  "INVALID",
];

test("random commands are worth comparing: every kind of reply comes up, and a third of them are accepted", () => {
  const seen = new Map<ReplyCode, number>();
  let commands = 0;
  for (let seed = baseSeed(), end = seed + 40; seed < end; seed += 1) {
    const store = new MemoryStore({ nowMs: () => 0 });
    const run = new RandomRun(new Random(seed), "random");
    for (let step = 0; step < 1_500; step += 1, commands += 1) {
      const command = step === 3 ? run.first() : run.next();
      const reply = store.executeNow("random", command);
      run.replied(command, reply);
      seen.set(reply.code, (seen.get(reply.code) ?? 0) + 1);
    }
  }
  expect([...seen.keys()].toSorted()).toEqual(codes.toSorted());
  expect(seen.get("OK")).toBeGreaterThan(commands / 3);
});
