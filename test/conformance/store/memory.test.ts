import { systemClock } from "../../../src/adapters/clock/system-clock.ts";
import { MemoryStore } from "../../../src/adapters/store/memory/memory-store.ts";
import { storeSuite } from "./suite.ts";

storeSuite("memory", async () => {
  const store = new MemoryStore(systemClock);
  return { store, other: store, close: () => store.close() };
});
