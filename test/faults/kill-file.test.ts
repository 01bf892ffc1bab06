/** J1–J4 over the file store: SIGKILL of real workers at random moments. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { systemClock } from "../../src/adapters/clock/system-clock.ts";
import { FileStore } from "../../src/adapters/store/file/file-store.ts";
import { baseSeed, Random } from "../support/random.ts";
import { killUntil } from "./random-kills.ts";

it("100 SIGKILLs at random moments: 0 committed steps repeated, 0 lost (file store)", {
  timeout: 600_000,
}, async () => {
  const seed = baseSeed();
  const directory = mkdtempSync(join(tmpdir(), "oao-kill-"));
  const store = new FileStore(directory, systemClock);
  const tally = await killUntil(store, `file:${directory}`, new Random(seed), 100, 3);
  console.log(`kill-file: ${JSON.stringify(tally)} (OAO_SEED=${seed})`);
  await store.close();
  rmSync(directory, { recursive: true, force: true });
  expect(tally.kills).toBeGreaterThanOrEqual(100);
  expect(tally).toMatchObject({ committedRepeated: 0, lost: 0 });
});
