/** The worker's configuration, parsed once from its environment. No user text ever arrives here: names and digests only. */
import { readFileSync } from "node:fs";
import type { WorkerOrder } from "../ports/cluster.ts";

export interface WorkerConfig {
  readonly order: WorkerOrder;
  /** file:<directory> or redis(s)://… */
  readonly storeUrl: string;
  /** The run's own user at the store, and the store's certificate authority (PEM). */
  readonly storeAccess: { readonly user?: string; readonly password?: string; readonly ca?: string };
  /** On a laptop tools may reach the machine itself; in a cluster only where a policy names the address. */
  readonly allowLoopback: boolean;
  /** Where tools never connect: addresses of the API server. */
  readonly denyCidrs: readonly string[];
  /** Folder that module tools are relative to. */
  readonly baseDir: string;
  /** Folder with a folder for each ConfigMap that modules come from; absent on a laptop. */
  readonly configMapsDir?: string | undefined;
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
    storeAccess: storeAccess(env),
    allowLoopback: env["OAO_ALLOW_LOOPBACK"] !== "false",
    denyCidrs: (env["OAO_DENY_CIDRS"] ?? "").split(",").filter((cidr) => cidr !== ""),
    baseDir: env["OAO_BASE_DIR"] ?? process.cwd(),
    configMapsDir: env["OAO_CONFIG_MAPS_DIR"],
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

function storeAccess(env: NodeJS.ProcessEnv): WorkerConfig["storeAccess"] {
  const { OAO_STORE_USER: user, OAO_STORE_PASSWORD: password, OAO_STORE_CA: caFile } = env;
  return {
    ...(user === undefined ? {} : { user }),
    ...(password === undefined ? {} : { password }),
    ...(caFile === undefined ? {} : { ca: readFileSync(caFile, "utf8") }),
  };
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
