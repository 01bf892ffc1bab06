/** One place that turns a store URL into a store; each adapter is loaded only when it is named. */
import { OaoError } from "../../core/errors/errors.ts";
import type { Clock } from "../../ports/clock.ts";
import type { JournalStore } from "../../ports/store.ts";
import type { StoreAccess } from "./redis/redis-store.ts";

/** `file:<directory>`, `redis://…` or `rediss://…`. `access` is for Redis alone. Throws OAO_INVALID_SPEC for anything else. */
export async function openStore(url: string, clock: Clock, access?: StoreAccess): Promise<JournalStore> {
  if (url.startsWith("file:")) {
    const { FileStore } = await import("./file/file-store.ts");
    return new FileStore(url.slice("file:".length), clock);
  }
  if (url.startsWith("redis://") || url.startsWith("rediss://") || url.startsWith("redis+unix://")) {
    const { RedisStore } = await import("./redis/redis-store.ts");
    return RedisStore.connect(url, { access });
  }
  throw new OaoError(
    "OAO_INVALID_SPEC",
    `unknown journal store ${JSON.stringify(url.split("@").at(-1))}: use file:<directory>, redis://host:port or rediss://host:port`,
  );
}
