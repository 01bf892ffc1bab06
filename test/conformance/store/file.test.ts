import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
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

it("makes no file for a journal that is only looked for", async () => {
  const directory = mkdtempSync(join(tmpdir(), "oao-file-"));
  const store = new FileStore(directory, systemClock);
  const [uid, key] = ["6c9f5f0e-0000-4000-8000-000000000001", { node: "a" }];
  expect(await store.view(uid, [key])).toEqual({ execution: undefined, items: [undefined] });
  expect(await store.nodeAccount(uid, "a")).toBeUndefined();
  expect(await store.entries(uid, key, 0, 9)).toEqual([]);
  expect(await store.bodies(uid, ["0".repeat(64)])).toEqual(new Map());
  expect(readdirSync(directory)).toEqual([]);
  await store.close();
  rmSync(directory, { recursive: true });
});
