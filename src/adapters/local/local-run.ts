/** A run of a laptop, and the row that it is kept in. */
import type { Execution } from "../../api/execution.ts";
import type { ExecutionStatus } from "../../api/status.ts";
import type { StoredExecution } from "../../ports/cluster.ts";

/** How a run is hosted: where its module tools are, and the URL of its journal store. Never the secrets of either. */
export interface RunPlace {
  readonly baseDir: string;
  readonly store: string;
}

export interface LocalRun extends StoredExecution {
  readonly place: RunPlace;
}

export interface Row {
  namespace: string;
  name: string;
  uid: string;
  version: number;
  generation: number;
  created_ms: number;
  object: string;
  status: string | null;
  base_dir: string;
  store: string;
}

/** A run as it was read, and the text its object was parsed from. */
export interface Held {
  readonly run: LocalRun;
  readonly object: string;
}

/** `held`: an earlier reading, whose object is taken when its text is the same. */
export function asRun(found: unknown, held?: Held): LocalRun | undefined {
  if (found === undefined) return undefined;
  const row = found as Row;
  const object = held?.object === row.object ? held.run.object : (JSON.parse(row.object) as Execution);
  return {
    key: { namespace: row.namespace, name: row.name },
    uid: row.uid,
    resourceVersion: String(row.version),
    generation: row.generation,
    createdAtMs: row.created_ms,
    object: {
      ...object,
      metadata: { ...object.metadata, generation: row.generation, resourceVersion: String(row.version) },
    },
    status: row.status === null ? undefined : (JSON.parse(row.status) as ExecutionStatus),
    place: { baseDir: row.base_dir, store: row.store },
  };
}
