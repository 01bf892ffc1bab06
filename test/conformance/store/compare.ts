/** One random run on a store and on `decide` beside it: the same replies, the same records, the same entries. */
import { expect } from "vitest";
import { MemoryStore } from "../../../src/adapters/store/memory/memory-store.ts";
import type { ItemRecord } from "../../../src/core/protocol/types.ts";
import type { JournalStore } from "../../../src/ports/store.ts";
import { Random } from "../../support/random.ts";
import { keys, RandomRun } from "./random-commands.ts";

/** How often the whole state is compared, in commands. */
const everyCommands = 25;

/** Returns how many commands were accepted. */
export async function compareRun(store: JournalStore, seed: number, commands: number): Promise<number> {
  const uid = `random-${seed}`;
  const random = new Random(seed);
  const run = new RandomRun(random, uid);
  const model = new MemoryStore({ nowMs: () => 0 });
  let accepted = 0;
  for (let step = 0; step < commands; step += 1) {
    const command = step === 3 ? run.first() : run.next();
    const expected = model.executeNow(uid, command);
    const got = await store.execute(uid, command);
    expect(got, `OAO_SEED=${seed}, command ${step}: ${JSON.stringify(command)}`).toEqual(expected);
    run.replied(command, got);
    if (got.code === "OK") accepted += 1;
    if (step % everyCommands === 0 || step === commands - 1)
      await compareState(store, model, uid, `OAO_SEED=${seed}, after command ${step}`);
  }
  return accepted;
}

async function compareState(store: JournalStore, model: JournalStore, uid: string, where: string): Promise<void> {
  const [held, expected] = await Promise.all([store.view(uid, keys), model.view(uid, keys)]);
  expect(held.execution, where).toEqual(expected.execution);
  expect(held.items.map(withoutLease), where).toEqual(expected.items.map(withoutLease));
  for (const [place, key] of keys.entries()) {
    expect(await store.nodeAccount(uid, key.node), where).toEqual(await model.nodeAccount(uid, key.node));
    const from = Math.max(0, (expected.items[place]?.length ?? 0) - everyCommands * 2);
    expect(await store.entries(uid, key, from, 10_000), where).toEqual(await model.entries(uid, key, from, 10_000));
  }
}

/** Each store has a clock of its own. */
function withoutLease(item: ItemRecord | undefined): Omit<ItemRecord, "leaseUntilMs"> | undefined {
  if (item === undefined) return undefined;
  const { leaseUntilMs, ...rest } = item;
  return { ...rest, live: `${rest.live}/${leaseUntilMs > 0 || rest.claimId === ""}` };
}
