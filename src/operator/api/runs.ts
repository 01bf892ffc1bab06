/** Runs as the API server has them now: every replica answers, so nobody's caches are asked. */
import type { KubeClient } from "../../adapters/kube/client.ts";
import { unless } from "../../adapters/kube/kube-error.ts";
import { resourcePath, resources } from "../../adapters/kube/resources.ts";
import { type KubeExecution, storedExecution } from "../../adapters/kube/stored.ts";
import { readRecord, type RunRecord } from "../../host/journals.ts";
import type { ObjectKey, StoredExecution } from "../../ports/cluster.ts";
import type { JournalStore } from "../../ports/store.ts";
import type { Caller } from "./authenticate.ts";
import type { Authorizer } from "./authorize.ts";
import { notFound } from "./problems.ts";
import { runPath } from "./schemas.ts";
import type { Call } from "./server.ts";

export interface Runs {
  /** The run, for a caller who may read its journal. Throws Problem (not-found) for others and where it is not there (A1). */
  readable(caller: Caller, key: ObjectKey): Promise<StoredExecution>;
  /** As `readable`. */
  readableByUid(caller: Caller, uid: string): Promise<StoredExecution>;
}

export interface RecordOptions {
  readonly runs: Pick<Runs, "readable">;
  readonly store: () => Promise<JournalStore>;
}

/** The record of the run that a call names. Throws as `readable` does. */
export async function recordOf({ runs, store }: RecordOptions, { caller, params }: Call): Promise<RunRecord> {
  const run = await runs.readable(caller, params as unknown as ObjectKey);
  return readRecord(await store(), run);
}

export interface RunsOptions {
  readonly client: KubeClient;
  readonly authorizer: Authorizer;
  readonly store: () => Promise<JournalStore>;
}

/** Of a UID that nobody knows: the cluster is asked about the caller all the same, so that both answers take the same time. */
const nowhere: ObjectKey = { namespace: "default", name: "unknown" };

/** A worker may have written there what it likes. */
function keyIn(bytes: string): ObjectKey | undefined {
  try {
    const { namespace, name } = JSON.parse(bytes) as Partial<ObjectKey>;
    return runPath.safeParse({ namespace, name }).data;
  } catch {
    return undefined;
  }
}

export function runs({ client, authorizer, store }: RunsOptions): Runs {
  /** Undefined = not there, or in a namespace that the operator is not for. */
  async function get(key: ObjectKey): Promise<StoredExecution | undefined> {
    const path = resourcePath(resources.executions, key);
    const object = await client.request<KubeExecution>({ path }).catch(unless(404, 403));
    return object === undefined ? undefined : storedExecution(object);
  }

  async function readable(caller: Caller, key: ObjectKey): Promise<StoredExecution> {
    if (!(await authorizer.may(caller, "journal", key))) throw notFound();
    const run = await get(key);
    if (run === undefined) throw notFound();
    return run;
  }

  /** A run's record says where its object is; it is its own worker's word, so the object must agree. */
  async function keyOf(uid: string): Promise<ObjectKey | undefined> {
    const journals = await store();
    const { execution } = await journals.view(uid, []);
    if (execution === undefined) return undefined;
    const bytes = (await journals.bodies(uid, [execution.snapshot])).get(execution.snapshot);
    return bytes === undefined ? undefined : keyIn(bytes);
  }

  return {
    readable,
    async readableByUid(caller, uid) {
      const key = await keyOf(uid);
      if (key === undefined) {
        await authorizer.may(caller, "journal", nowhere);
        throw notFound();
      }
      const run = await readable(caller, key);
      if (run.uid !== uid) throw notFound();
      return run;
    },
  };
}
