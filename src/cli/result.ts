import type { LocalRun } from "../adapters/local/local-run.ts";
import type { Json } from "../core/digest/json.ts";
import { unpackBody } from "../core/steps/bodies.ts";
import { readBodies, readRecord } from "../host/journals.ts";
import { openRunStore } from "./store.ts";

/** The whole result of a run that succeeded: from the journal, else the preview in the status. Undefined = it has none. */
export async function readResult(run: LocalRun, redis: string | undefined): Promise<Json | undefined> {
  const result = run.status?.result;
  if (result === undefined) return undefined;
  const digest = result.digest.replace(/^sha256:/, "");
  const store = await openRunStore(run, redis);
  try {
    const bodies = await readBodies(await readRecord(store, run), [digest]);
    const bytes = bodies.get(digest);
    if (bytes !== undefined) return unpackBody(bytes, (text) => bodies.get(text) ?? `sha256:${text}`);
  } finally {
    await store.close();
  }
  // Empty: a run of which only digests are kept.
  return result.preview === "" ? undefined : result.preview;
}
