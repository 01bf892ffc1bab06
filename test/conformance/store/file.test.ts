import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../../src/adapters/clock/system-clock.ts";
import { FileStore } from "../../../src/adapters/store/file/file-store.ts";
import { storeSuite } from "./suite.ts";

storeSuite("file", async () => {
  const directory = mkdtempSync(join(tmpdir(), "oao-file-"));
  const [store, other] = [new FileStore(directory, systemClock), new FileStore(directory, systemClock)];
  return {
    store,
    other,
    close: async () => {
      await Promise.all([store.close(), other.close()]);
      rmSync(directory, { recursive: true });
    },
  };
});
