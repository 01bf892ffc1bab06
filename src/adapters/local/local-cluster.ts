/** The Cluster port on a laptop: objects in `.oao/index.db`, workers as child processes of this one. */
import { type FSWatcher, watch as watchFile } from "node:fs";
import type { GovernancePolicy } from "../../api/policy.ts";
import type { ExecutionStatus } from "../../api/status.ts";
import { itemName } from "../../core/protocol/names.ts";
import type { Cluster, ObjectKey, StoredExecution, WorkerOrder, WorkerView } from "../../ports/cluster.ts";
import type { WorkerRow } from "./host-records.ts";
import type { LocalIndex } from "./local-index.ts";
import type { LocalRun } from "./local-run.ts";
import { processIdentity } from "./process-identity.ts";
import { RunLock } from "./run-lock.ts";
import { StartGate } from "./start-gate.ts";
import { workerLogPath } from "./worker-log.ts";
import { WorkerProcess, type WorkerProgram } from "./worker-process.ts";
import { commonEnvironment, workerProgram } from "./worker-program.ts";

export interface LocalClusterOptions {
  readonly index: LocalIndex;
  /** The host's own environment; workers get the least of it. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Secrets of one node, by variable name: only those that its own model and tools name. */
  readonly secretsOf: (run: LocalRun, order: WorkerOrder) => Readonly<Record<string, string>>;
  /** A filter that takes these values out of a text, in every form they may have there. */
  readonly maskOf: (secrets: Iterable<string>) => (text: string) => string;
  /** Store URL as workers get it, when it differs from the one in the index (which holds no password). */
  readonly storeUrl?: (run: LocalRun) => string;
  /** Absent: the worker that belongs to this program. */
  readonly program?: WorkerProgram;
}

/** Another process hosts the run. */
export class RunHeld extends Error {
  override readonly name = "RunHeld";
  readonly pid: number | undefined;
  constructor(key: ObjectKey, pid: number | undefined) {
    super(
      `Execution ${key.namespace}/${key.name} is being run by ${pid === undefined ? "another process" : `process ${pid}`}`,
    );
    this.pid = pid;
  }
}

export class LocalCluster implements Cluster {
  /** Every worker of a held run is a child of this process: `take` ended all others. */
  readonly listsAll = true;
  readonly #options: LocalClusterOptions;
  readonly #index: LocalIndex;
  readonly #locks = new Map<string, RunLock>();
  readonly #workers = new Map<string, WorkerProcess>();
  /** What was asked for is fixed, and large: parsed once, not for every worker. */
  readonly #runs = new Map<string, LocalRun>();
  readonly #gate = new StartGate();
  readonly #leftovers = new Map<string, WorkerView[]>();
  readonly #listeners = new Set<(key: ObjectKey) => void>();
  #watcher: FSWatcher | undefined;
  #poll: NodeJS.Timeout | undefined;
  #seenVersion = 0;

  constructor(options: LocalClusterOptions) {
    this.#options = options;
    this.#index = options.index;
  }

  /**
   * Become the one host of this run. Workers that a killed host left behind are killed first: from here on nothing but
   * this process makes calls for the run. Repeat: no-op. Throws RunHeld.
   */
  async take(run: Pick<StoredExecution, "uid" | "key">): Promise<void> {
    if (this.#locks.has(run.uid)) return;
    const lock = RunLock.take(this.#index.home, run.uid);
    if (lock === undefined) throw new RunHeld(run.key, this.#index.hosts.of(run.uid)?.pid);
    this.#locks.set(run.uid, lock);
    this.#index.hosts.set(run.uid, process.pid);
    this.#leftovers.set(run.uid, await this.#endLeftovers(run.uid));
  }

  holds(uid: string): boolean {
    return this.#locks.has(uid);
  }

  async get(key: ObjectKey): Promise<StoredExecution | undefined> {
    return this.#index.get(key);
  }

  async list(namespace: string): Promise<readonly StoredExecution[]> {
    return this.#index.unfinished(namespace);
  }

  async policies(namespace: string): Promise<readonly GovernancePolicy[]> {
    return this.#index.policies.list(namespace);
  }

  async writeStatus(
    seen: Pick<StoredExecution, "key" | "uid" | "resourceVersion">,
    status: ExecutionStatus,
  ): Promise<string> {
    return this.#index.writeStatus(seen, status);
  }

  async workers(uid: string): Promise<readonly WorkerView[]> {
    const own = [...this.#workers.values()].filter((worker) => worker.order.uid === uid).map((worker) => worker.view());
    const known = new Set(own.map((view) => workerName(view)));
    return [...(this.#leftovers.get(uid) ?? []).filter((view) => !known.has(workerName(view))), ...own];
  }

  async startWorker(order: WorkerOrder): Promise<void> {
    const id = `${order.uid}/${workerName(order)}`;
    if (this.#workers.has(id)) return; // P2
    const run = this.#runs.get(order.uid) ?? this.#index.byUid(order.uid);
    if (run === undefined) return; // deleted meanwhile
    if (!this.#locks.has(order.uid)) throw new Error(`run ${order.uid} is not held by this process`);
    this.#runs.set(order.uid, run);
    const secrets = this.#options.secretsOf(run, order);
    const worker = new WorkerProcess({
      order,
      program: this.#options.program ?? workerProgram(),
      env: this.#environment(run, order, secrets),
      logPath: workerLogPath(this.#index.home, order.uid, order),
      mask: this.#options.maskOf(Object.values(secrets)),
      onReady: () => this.#gate.leave(),
      onExit: () => this.#exited(order, run.key),
    });
    this.#workers.set(id, worker);
    this.#gate.enter(() => this.#spawn(worker));
  }

  async stopWorker(uid: string, worker: WorkerView, graceMs: number): Promise<void> {
    const found = this.#workers.get(`${uid}/${workerName(worker)}`);
    if (found !== undefined && !found.exited) void found.stop(graceMs);
  }

  /** An object of the index only goes by `remove`: nothing to hold. */
  async hold(run: StoredExecution): Promise<StoredExecution> {
    return run;
  }

  async release(): Promise<void> {}

  async remove(run: StoredExecution): Promise<void> {
    this.#runs.delete(run.uid);
    this.#index.remove(run);
  }

  /** Whoever may write the index may write any name. */
  async provesApprovals(): Promise<boolean> {
    return false;
  }

  /** All workers of this process at once; resolves when they are gone. */
  async stopAll(graceMs: number): Promise<void> {
    await Promise.all([...this.#workers.values()].map((worker) => worker.stop(graceMs)));
  }

  killAll(): void {
    for (const worker of this.#workers.values()) worker.kill();
  }

  /** Told of changes by this and every other process, and of workers that ended. Lossy; a slow poll stands behind it. */
  watch(listener: (key: ObjectKey) => void): () => void {
    this.#listeners.add(listener);
    if (this.#listeners.size === 1) this.#startWatching();
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.#stopWatching();
    };
  }

  /** Let go of every run. Workers must have ended. The index stays open: it is the caller's. */
  close(): void {
    this.#listeners.clear();
    this.#stopWatching();
    for (const [uid, lock] of this.#locks) {
      this.#index.hosts.clear(uid);
      lock.release();
    }
    this.#locks.clear();
    this.#runs.clear();
  }

  #environment(run: LocalRun, order: WorkerOrder, secrets: Readonly<Record<string, string>>): Record<string, string> {
    return {
      ...commonEnvironment(this.#options.env),
      ...secrets,
      OAO_HOME: this.#index.home,
      OAO_STORE: this.#options.storeUrl?.(run) ?? run.place.store,
      OAO_BASE_DIR: run.place.baseDir,
      OAO_ORDER: JSON.stringify(order),
    };
  }

  #spawn(worker: WorkerProcess): void {
    if (worker.exited) return this.#gate.leave(); // stopped while it waited
    worker.spawn();
    const { order, pid } = worker;
    if (pid === undefined) return;
    this.#index.hosts.addWorker(order.uid, { ...rowOf(order), pid, identity: processIdentity(pid) ?? "" });
  }

  #exited(order: WorkerOrder, key: ObjectKey): void {
    this.#index.hosts.removeWorker(order.uid, rowOf(order));
    this.#tell(key);
  }

  async #endLeftovers(uid: string): Promise<WorkerView[]> {
    const views: WorkerView[] = [];
    for (const row of this.#index.hosts.workers(uid)) {
      await endProcess(row);
      this.#index.hosts.removeWorker(uid, row);
      const { node, item, attempt } = row;
      views.push({ node, item, attempt, state: "Exited", exit: "infrastructure", detail: "its host ended before it" });
    }
    return views;
  }

  #tell(key: ObjectKey): void {
    for (const listener of this.#listeners) queueMicrotask(() => listener(key));
  }

  #startWatching(): void {
    this.#seenVersion = this.#index.latestVersion();
    this.#watcher = watchFile(this.#index.changesFile, { persistent: false }, () => this.#look());
    this.#watcher.on("error", () => undefined);
    this.#poll = setInterval(() => this.#look(), 500);
    this.#poll.unref();
  }

  #look(): void {
    const { latest, keys } = this.#index.changesSince(this.#seenVersion);
    this.#seenVersion = latest;
    for (const key of keys) this.#tell(key);
  }

  #stopWatching(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    clearInterval(this.#poll);
  }
}

function workerName(worker: { node: string; item?: number | undefined; attempt: number }): string {
  return `${itemName(worker)}#${worker.attempt}`;
}

function rowOf(order: WorkerOrder): { node: string; item: number | undefined; attempt: number } {
  return { node: order.node, item: order.item, attempt: order.attempt };
}

/** Kills exactly the process that was recorded, and waits until it is gone. */
async function endProcess(row: WorkerRow): Promise<void> {
  const gone = () => row.identity === "" || processIdentity(row.pid) !== row.identity;
  while (!gone()) {
    try {
      process.kill(row.pid, "SIGKILL");
    } catch {
      return; // it went in between
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
