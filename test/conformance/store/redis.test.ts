import { RedisStore } from "../../../src/adapters/store/redis/redis-store.ts";
import { RedisProcess } from "../../support/redis-process.ts";
import { storeSuite } from "./suite.ts";

storeSuite("redis", async () => {
  const server = await RedisProcess.start();
  const [store, other] = [await RedisStore.connect(server.url), await RedisStore.connect(server.url)];
  return {
    store,
    other,
    close: async () => {
      await Promise.all([store.close(), other.close()]);
      await server.remove();
    },
  };
});
