import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { LocalCluster } from "../../../src/adapters/local/local-cluster.ts";
import { LocalIndex } from "../../../src/adapters/local/local-index.ts";
import type { LocalRun } from "../../../src/adapters/local/local-run.ts";
import { maskSecrets } from "../../../src/adapters/tool/secrets.ts";
import type { Execution } from "../../../src/api/execution.ts";
import type { ExecutionStatus } from "../../../src/api/status.ts";
import type { WorkerOrder, WorkerView } from "../../../src/ports/cluster.ts";

export const clock = { nowMs: () => Date.now(), uuid: () => randomUUID() };

export function temporaryHome(): { home: string; remove: () => void } {
  const home = mkdtempSync(join(tmpdir(), "oao-local-"));
  return { home, remove: () => rmSync(home, { recursive: true, force: true }) };
}

export const execution = (name: string): Execution => ({
  apiVersion: "oao.dev/v1alpha1",
  kind: "Execution",
  metadata: { name },
  spec: { task: "test", nodes: [{ name: "a", tool: { ref: "t" } }] },
});

export const status = (phase: ExecutionStatus["phase"]): ExecutionStatus => ({
  observedGeneration: 1,
  phase,
  conditions: [],
  progress: "0/1",
  nodeCounts: {},
  nodes: [],
});

export function order(run: LocalRun, node: string, attempt = 1): WorkerOrder {
  return { uid: run.uid, key: run.key, node, attempt, try: 1, phase: "Main", snapshot: "s", outputs: {} };
}

const program = {
  execPath: process.execPath,
  args: [fileURLToPath(new URL("./stand-in-worker.mjs", import.meta.url))],
};

export function openCluster(home: string, secrets: Record<string, string> = {}, env: NodeJS.ProcessEnv = process.env) {
  const index = new LocalIndex(home, clock);
  const cluster = new LocalCluster({ index, env, program, maskOf: maskSecrets, secretsOf: () => secrets });
  return { index, cluster };
}

export function createRun(index: LocalIndex, home: string, name = "brief"): LocalRun {
  return index.create({ namespace: "default", name }, execution(name), {
    baseDir: home,
    store: `file:${join(home, "journals")}`,
  });
}

/** Resolves when a change has been told and `until` holds. */
export async function changed<T>(cluster: LocalCluster, until: () => Promise<T | undefined>): Promise<T> {
  for (;;) {
    let unwatch = () => {};
    const told = new Promise<void>((resolve) => (unwatch = cluster.watch(() => resolve())));
    const found = await until();
    if (found === undefined) await told;
    unwatch();
    if (found !== undefined) return found;
  }
}

export function exited(cluster: LocalCluster, uid: string, node: string): Promise<WorkerView> {
  return changed(cluster, async () =>
    (await cluster.workers(uid)).find((view) => view.node === node && view.state === "Exited"),
  );
}

/** Looks at a log until it says so; the file is written by another process than the one that says it. */
export async function logged(path: string, text: string): Promise<void> {
  for (;;) {
    try {
      if (readFileSync(path, "utf8").includes(text)) return;
    } catch {
      // not yet there
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Another process that holds runs and starts workers; see host.ts. */
export interface OtherHost {
  readonly child: ChildProcess;
  /** Next line it prints, as JSON. */
  next(): Promise<Record<string, unknown>>;
  /** Resolves when the process is gone. */
  kill(signal: NodeJS.Signals): Promise<void>;
}

export function otherHost(...args: readonly string[]): OtherHost {
  const child = spawn(process.execPath, [fileURLToPath(new URL("./host.ts", import.meta.url)), ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  return {
    child,
    next: async () => {
      const line = await lines.next();
      if (line.done === true) throw new Error("the other host ended");
      return JSON.parse(line.value) as Record<string, unknown>;
    },
    kill: async (signal) => {
      child.kill(signal);
      await gone;
    },
  };
}
