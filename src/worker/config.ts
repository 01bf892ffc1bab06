/** The worker's configuration, parsed once from its environment. No user text ever arrives here: names and digests only. */
import type { WorkerOrder } from "../ports/cluster.ts";

export interface WorkerConfig {
  readonly order: WorkerOrder;
  /** file:<directory> or redis(s)://… */
  readonly storeUrl: string;
  /** Folder that module tools are relative to. */
  readonly baseDir: string;
  readonly leaseTtlMs: number;
  readonly heartbeatIntervalMs: number;
  readonly suspendGraceMs: number;
  readonly logLevel: string;
}

/** Throws with the variable's name when one is missing or unreadable. */
export function readConfig(env: NodeJS.ProcessEnv): WorkerConfig {
  return {
    order: readOrder(need(env, "OAO_ORDER")),
    storeUrl: need(env, "OAO_STORE"),
    baseDir: env["OAO_BASE_DIR"] ?? process.cwd(),
    leaseTtlMs: wholeNumber(env, "OAO_LEASE_TTL_MS", 10_000),
    heartbeatIntervalMs: wholeNumber(env, "OAO_HEARTBEAT_INTERVAL_MS", 1_000),
    suspendGraceMs: wholeNumber(env, "OAO_SUSPEND_GRACE_MS", 5_000),
    logLevel: env["OAO_LOG_LEVEL"] ?? "info",
  };
}

function readOrder(text: string): WorkerOrder {
  const order = JSON.parse(text) as Partial<WorkerOrder>;
  for (const field of ["uid", "node", "attempt", "try", "phase", "snapshot", "outputs", "key"] as const) {
    if (order[field] === undefined) throw new Error(`OAO_ORDER has no field ${field}`);
  }
  return order as WorkerOrder;
}

function need(env: NodeJS.ProcessEnv, name: string): string {
  const value = env[name];
  if (value === undefined || value === "")
    throw new Error(`${name} is not set: a worker is started by OAO, not by hand`);
  return value;
}

function wholeNumber(env: NodeJS.ProcessEnv, name: string, absent: number): number {
  const text = env[name];
  if (text === undefined) return absent;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1)
    throw new Error(`${name} must be a whole number of milliseconds, not ${JSON.stringify(text)}`);
  return value;
}
