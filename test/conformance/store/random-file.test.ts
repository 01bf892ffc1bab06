import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { systemClock } from "../../../src/adapters/clock/system-clock.ts";
import { FileStore } from "../../../src/adapters/store/file/file-store.ts";
import { baseSeed } from "../../support/random.ts";
import { compareRun } from "./compare.ts";

test("random commands on a file get the replies and leave the state of core/protocol", async () => {
  const directory = mkdtempSync(join(tmpdir(), "oao-file-"));
  const store = new FileStore(directory, systemClock);
  const base = baseSeed();
  for (let run = 0; run < 4; run += 1) expect(await compareRun(store, base + run, 2_000)).toBeGreaterThan(0);
  await store.close();
  rmSync(directory, { recursive: true });
});
