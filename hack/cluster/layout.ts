// Where a test cluster keeps its files, and which ports it has.
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { cacheHome } from "./go-binary.ts";

export interface Layout {
  readonly name: string;
  readonly folder: string;
  /** Admin's; the server is a loopback address. */
  readonly kubeconfig: string;
  readonly pki: string;
  readonly logs: string;
  readonly pids: string;
}

export function layoutOf(name: string): Layout {
  if (!/^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/.test(name))
    throw new Error(`--name ${name} must be lower-case letters, digits and hyphens, 40 at most`);
  const folder = join(process.env["OAO_CLUSTER_HOME"] ?? join(cacheHome, "clusters"), name);
  const inside = (part: string): string => join(folder, part);
  return {
    name,
    folder,
    kubeconfig: inside("kubeconfig"),
    pki: inside("pki"),
    logs: inside("logs"),
    pids: inside("pids"),
  };
}

export function makeFolders(layout: Layout): void {
  for (const folder of [layout.pki, layout.logs, layout.pids]) mkdirSync(folder, { recursive: true });
}

/** `count` ports of 127.0.0.1 that nobody listens on now. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      return server;
    }),
  );
  const ports = servers.map((server) => {
    const address = server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  });
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

export interface Started {
  readonly component: string;
  readonly pid: number;
  /** Start time of the process in clock ticks since boot: a pid may be another's by now. */
  readonly identity: string;
}

export function startedOf(layout: Layout): Started[] {
  try {
    return readdirSync(layout.pids).map((file) => JSON.parse(readFileSync(join(layout.pids, file), "utf8")) as Started);
  } catch {
    return []; // never brought up
  }
}

/** "" when there is no such process. */
export function identityOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? "" : (fields[19] ?? "");
  } catch {
    return "";
  }
}

export function isAlive(started: Started): boolean {
  return started.identity !== "" && identityOf(started.pid) === started.identity;
}
