/** What a replay adds to the store: all of it, but for what its live calls left there. */
import { readEntry } from "../../src/core/steps/chain.ts";
import { textsOf } from "../../src/core/steps/bodies.ts";
import { bodiesOfEntry } from "../../src/core/trace/record-part.ts";
import type { EndedRun, ReplayWorld } from "./replay-world.ts";

export interface StoredBytes {
  /** What it was opened with. */
  readonly snapshot: number;
  /** Of nodes that made no call, and of the others the one that says what they reuse. */
  readonly entries: number;
  /** Bodies that no live call left. */
  readonly bodies: number;
  readonly total: number;
}

export function storedBytes({ store }: ReplayWorld, { uid, status }: EndedRun): StoredBytes {
  const { entries, bodies } = store.recordsOf(uid);
  const lived = new Set<string>();
  let entryBytes = 0;
  for (const stored of entries.values()) {
    const parsed = stored.map((each) => ({ entry: readEntry(each), size: Buffer.byteLength(each.bytes) }));
    const isLive = parsed.some(({ entry }) => entry.type === "intent");
    for (const { entry, size } of parsed) {
      const isReuse = entry.type === "start" && entry.reuse !== undefined;
      if (isLive && !isReuse) for (const digest of bodiesOfEntry(entry)) lived.add(digest);
      else entryBytes += size;
    }
  }
  for (const digest of lived) for (const text of textsOf(bodies.get(digest) ?? "")) lived.add(text);
  // Its result is of its own making: where it is its parent's, it is not stored.
  if (status.result !== undefined) lived.add(status.result.digest.replace(/^sha256:/, ""));
  const opened = (status.snapshot ?? "").replace(/^sha256:/, "");
  const snapshot = Buffer.byteLength(bodies.get(opened) ?? "");
  let bodyBytes = 0;
  for (const [digest, bytes] of bodies)
    if (digest !== opened && !lived.has(digest)) bodyBytes += Buffer.byteLength(bytes);
  return { snapshot, entries: entryBytes, bodies: bodyBytes, total: snapshot + entryBytes + bodyBytes };
}
