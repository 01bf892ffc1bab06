import { expect, test } from "vitest";
import { RedisStore } from "../../../src/adapters/store/redis/redis-store.ts";
import { RedisProcess } from "../../support/redis-process.ts";
import { baseSeed } from "../../support/random.ts";
import { compareRun } from "./compare.ts";

test("random commands on Redis get the replies and leave the state of core/protocol", async () => {
  const server = await RedisProcess.start({ appendonly: "no" });
  const store = await RedisStore.connect(server.url);
  const base = baseSeed();
  for (let run = 0; run < 8; run += 1) expect(await compareRun(store, base + 1_000 + run, 2_500)).toBeGreaterThan(0);
  await store.close();
  await server.remove();
});
