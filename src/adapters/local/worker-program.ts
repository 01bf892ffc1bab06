import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { WorkerProgram } from "./worker-process.ts";

/**
 * The worker that belongs to this program: dist/worker.js beside the bundle that holds this code, else
 * src/worker/main.ts, run by type stripping. Throws when neither is there.
 */
export function workerProgram(here = import.meta.url, execPath = process.execPath): WorkerProgram {
  const candidates = [new URL("./worker.js", here), new URL("../../worker/main.ts", here)].map((url) =>
    fileURLToPath(url),
  );
  const path = candidates.find((candidate) => existsSync(candidate));
  if (path === undefined)
    throw new Error(`the worker program is missing: neither ${candidates.join(" nor ")} exists; run npm run build`);
  return { execPath, args: [path] };
}

/** Variables that any program of the machine needs; none of them holds a secret or points at one. */
const inherited = [
  "PATH",
  "HOME",
  "TZ",
  "LANG",
  "LC_ALL",
  "TMPDIR",
  "TEMP",
  "TMP",
  "SystemRoot",
  "NODE_EXTRA_CA_CERTS",
  "NODE_COMPILE_CACHE",
  "NODE_USE_SYSTEM_CA",
  "SSL_CERT_FILE",
  "SSL_CERT_DIR",
] as const;
/** Settings of the worker itself. */
const settings = ["OAO_LEASE_TTL_MS", "OAO_HEARTBEAT_INTERVAL_MS", "OAO_SUSPEND_GRACE_MS", "OAO_LOG_LEVEL"] as const;

/**
 * A host on the same machine sees its workers end, so their leases decide nothing while they answer: long enough that a
 * machine that is short of time loses none.
 */
const leaseTtlMs = 120_000;

/** What of the host's environment every worker gets. Proxies are left out: they would see and move every call. */
export function commonEnvironment(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const common: Record<string, string> = { OAO_LEASE_TTL_MS: String(leaseTtlMs) };
  for (const name of [...inherited, ...settings]) {
    const value = env[name];
    if (value !== undefined) common[name] = value;
  }
  return common;
}
