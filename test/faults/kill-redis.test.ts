/** J1–J4 over a real Redis with appendfsync always: SIGKILL of real workers at random moments. */
import { expect, it } from "vitest";
import { systemClock } from "../../src/adapters/clock/system-clock.ts";
import { openStore } from "../../src/adapters/store/open-store.ts";
import { baseSeed, Random } from "../support/random.ts";
import { RedisProcess } from "../support/redis-process.ts";
import { killUntil } from "./random-kills.ts";

it("100 SIGKILLs at random moments: 0 committed steps repeated, 0 lost (Redis)", { timeout: 600_000 }, async () => {
  const seed = baseSeed();
  const redis = await RedisProcess.start();
  const store = await openStore(redis.url, systemClock);
  try {
    const tally = await killUntil(store, redis.url, new Random(seed), 100, 3);
    console.log(`kill-redis: ${JSON.stringify(tally)} (OAO_SEED=${seed})`);
    expect(tally.kills).toBeGreaterThanOrEqual(100);
    expect(tally).toMatchObject({ committedRepeated: 0, lost: 0 });
  } finally {
    await store.close();
    await redis.remove();
  }
});
