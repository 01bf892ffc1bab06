/**
 * Whole runs inside the test's process: the real reconcile loop over the real worker code and one memory store. A cluster in memory
 * whose workers are calls of `runNode`, so that a run takes tens of milliseconds.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { systemClock } from "../../src/adapters/clock/system-clock.ts";
import { MemoryStore } from "../../src/adapters/store/memory/memory-store.ts";
import type { PolicySpec } from "../../src/api/policy.ts";
import type { ExecutionStatus } from "../../src/api/status.ts";
import { approvalPrefix } from "../../src/api/common.ts";
import type { ManifestSpec } from "../../src/api/execution.ts";
import type { ReplaySpec } from "../../src/api/replay.ts";
import { keysOfRows } from "../../src/core/planner/needs.ts";
import { itemName } from "../../src/core/protocol/names.ts";
import type { NodeKey } from "../../src/core/protocol/types.ts";
import { readEntry } from "../../src/core/steps/chain.ts";
import type { StepEntry } from "../../src/core/steps/format.ts";
import { canonicalSteps, type TracedCall } from "../../src/core/trace/journal.ts";
import { type HostIo, SnapshotCache } from "../../src/host/io.ts";
import { readJournals, readRecord, type RunRecord } from "../../src/host/journals.ts";
import { defaultPolicyLabel } from "../../src/host/governing.ts";
import { type RunLoop, runLoop } from "../../src/host/run-loop.ts";
import { Slots } from "../../src/host/slots.ts";
import type {
  Cluster,
  ObjectKey,
  StoredExecution,
  StoredPolicy,
  WorkerOrder,
  WorkerView,
} from "../../src/ports/cluster.ts";
import { Conflict } from "../../src/ports/cluster-errors.ts";
import type { JournalStore } from "../../src/ports/store.ts";
import { StoreUnavailable } from "../../src/ports/store-errors.ts";
import { runNode } from "../../src/worker/run-node.ts";
import { workerIo } from "./run-worker.ts";

const namespace = "team-a";

/** Retries at once; whatever else a test's policy says is laid over it. */
export const quickPolicy: PolicySpec = { retry: { retryDelaySeconds: 0, maxRetries: 2, jitter: "None" } };

export interface RunOptions {
  /** Over `quickPolicy`; it alone governs the run. */
  readonly policy?: PolicySpec | undefined;
}

export interface EndedRun {
  readonly name: string;
  readonly uid: string;
  readonly status: ExecutionStatus;
  readonly record: RunRecord;
  /** Step n at n - 1, those of other runs that it reuses among them. */
  readonly steps: readonly TracedCall<StepEntry>[];
  /** Every call that this run made: J3 has it in its own journals before it is made. */
  readonly live: readonly LiveCall[];
}

export interface LiveCall {
  /** As `placeOf` writes it. */
  readonly place: string;
  readonly kind: "model" | "tool";
}

interface HostedWorker {
  view: WorkerView;
  readonly terminate: AbortController;
  isKilled: boolean;
}

export class ReplayWorld implements Cluster {
  readonly listsAll = true;
  readonly store = new MemoryStore(systemClock);
  readonly runs = new Map<string, StoredExecution>();
  /** Passes that threw. */
  readonly failures: unknown[] = [];
  /** What a worker gets instead of the store; `kill` is what ends that worker then and there. */
  storeFor: (store: JournalStore, order: WorkerOrder, kill: () => void) => JournalStore = (store) => store;
  /** Each worker that was started. */
  readonly orders: WorkerOrder[] = [];
  readonly #workers = new Map<string, Map<string, HostedWorker>>();
  /** What the code of one worker keeps for its own callbacks is not the next one's: they are processes of their own. */
  readonly #outside = AsyncLocalStorage.snapshot();
  readonly #listeners = new Set<(key: ObjectKey) => void>();
  readonly #loop: RunLoop;
  #onStatus: (status: ExecutionStatus, name: string) => void = () => undefined;
  #policy: StoredPolicy = policyOf(quickPolicy);
  readonly #waiting = new Map<string, () => void>();
  #versions = 0;

  readonly io: HostIo = {
    cluster: this,
    clock: systemClock,
    journal: () => this.store,
    floorPolicies: [],
    requireSecretPairing: false,
    requireFitStore: true,
    stopGraceMs: 1_000,
    slots: new Slots(),
    snapshots: new SnapshotCache(),
    report: (event) => {
      if (event.kind === "Failed" && !(event.error instanceof Conflict)) this.failures.push(event.error);
    },
  };

  /** As `oao verify --file` asks for: a Strict replay may bring a spec of its own. */
  constructor(options: Pick<HostIo, "replaysAsWritten"> = {}) {
    this.#loop = runLoop({ ...this.io, ...options }, { backoff: { firstMs: 1, maxMs: 20 } });
  }

  /** Applies an Execution and resolves with what became of it. The policy is the namespace's: runs that are started later have theirs. */
  async run(name: string, spec: ManifestSpec, options: RunOptions = {}): Promise<EndedRun> {
    const ended = new Promise<void>((resolve) => {
      this.#waiting.set(name, resolve);
    });
    this.#policy = policyOf({ ...quickPolicy, ...options.policy });
    this.apply(name, spec);
    await ended;
    return this.ended(name);
  }

  /** The replay of a run that has ended; strict unless `replay` holds a cursor. */
  replay(parent: string, replay: Partial<ReplaySpec> = {}, own: ManifestSpec = {}, options: RunOptions = {}) {
    this.#versions += 1;
    const name = `replay-${this.#versions}`;
    return this.run(name, { ...own, replay: { ...replay, executionRef: { name: parent } } }, options);
  }

  /** What is recorded of a run that has ended. */
  async ended(name: string): Promise<EndedRun> {
    const run = this.stored(name);
    if (run.status === undefined) throw new Error(`${name} has no status`);
    const record = await readRecord(this.store, run);
    const steps = canonicalSteps(record.spec, await readJournals(record));
    return { name, uid: run.uid, status: run.status, record, steps, live: this.#liveCalls(run.uid) };
  }

  #liveCalls(uid: string): LiveCall[] {
    return [...this.store.recordsOf(uid).entries].flatMap(([key, entries]) => {
      const [item = "", node = ""] = key.split("/");
      return entries.map(readEntry).flatMap((entry): LiveCall[] => {
        if (entry.type !== "intent" || (entry.kind !== "model" && entry.kind !== "tool")) return [];
        const place = { node, ...(item === "" ? {} : { item: Number(item) }) };
        return [{ place: placeOf(place, entry.path), kind: entry.kind }];
      });
    });
  }

  stored(name: string): StoredExecution {
    const run = this.runs.get(name);
    if (run === undefined) throw new Error(`there is no run ${name}`);
    return run;
  }

  apply(name: string, spec: ManifestSpec, annotations: Readonly<Record<string, string>> = {}): void {
    const key = { namespace, name };
    const old = this.runs.get(name);
    const metadata = { ...key, annotations: { ...old?.object.metadata.annotations, ...annotations } };
    this.#put({
      key,
      uid: old?.uid ?? crypto.randomUUID(),
      generation: (old?.generation ?? 0) + 1,
      createdAtMs: old?.createdAtMs ?? Date.now(),
      object: { apiVersion: "oao.dev/v1alpha1", kind: "Execution", metadata, spec },
      status: old?.status,
    });
  }

  /** Told of each status that is written from now on: where a test plays the part of people. */
  onStatus(listener: (status: ExecutionStatus, name: string) => void): void {
    this.#onStatus = listener;
  }

  /** As SIGKILL does: nothing of it gets to the store any more. */
  kill(node: string): void {
    for (const workers of this.#workers.values())
      for (const worker of workers.values())
        if (worker.view.node === node && worker.view.state !== "Exited") kill(worker);
  }

  /** As a person does while it runs. */
  cancel(name: string): void {
    this.apply(name, { ...this.stored(name).object.spec, desiredState: "Cancelled" });
  }

  /** As `oao approve` does: the annotation that answers the first open question. */
  answer(name: string, answer: "Approve" | "Reject"): void {
    const run = this.stored(name);
    const open = run.status?.approvals?.find(({ decision }) => decision === undefined);
    if (open === undefined) return;
    this.apply(name, run.object.spec, { [`${approvalPrefix}${open.request}`]: `${answer}:ada` });
  }

  async close(): Promise<void> {
    await this.#loop.stop();
  }

  async get(key: ObjectKey): Promise<StoredExecution | undefined> {
    const run = this.runs.get(key.name);
    return run?.key.namespace === key.namespace ? run : undefined;
  }
  async list(): Promise<readonly StoredExecution[]> {
    return [...this.runs.values()].filter(({ status }) => status?.completedAt === undefined);
  }
  async policies(): Promise<readonly StoredPolicy[]> {
    return [this.#policy];
  }
  async writeStatus(seen: Pick<StoredExecution, "key" | "resourceVersion">, status: ExecutionStatus): Promise<string> {
    const run = this.stored(seen.key.name);
    if (run.resourceVersion !== seen.resourceVersion) throw new Conflict(`${seen.key.name} changed`);
    const resourceVersion = this.#put({ ...run, status: structuredClone(status) });
    this.#onStatus(status, seen.key.name);
    const isSealed = status.completedAt !== undefined && status.sealed === true;
    if (isSealed) this.#waiting.get(seen.key.name)?.();
    return resourceVersion;
  }
  async workers(uid: string): Promise<readonly WorkerView[]> {
    return [...(this.#workers.get(uid)?.values() ?? [])].map(({ view }) => view);
  }
  async startWorker(order: WorkerOrder): Promise<void> {
    const workers = this.#workers.get(order.uid) ?? new Map<string, HostedWorker>();
    this.#workers.set(order.uid, workers);
    const name = `${itemName(order)}#${order.attempt}`;
    if (workers.has(name)) return;
    this.orders.push(order);
    const { node, item, attempt } = order;
    const terminate = new AbortController();
    const worker: HostedWorker = { view: { node, item, attempt, state: "Running" }, terminate, isKilled: false };
    workers.set(name, worker);
    const store = this.storeFor(mortal(this.store, worker), order, () => kill(worker));
    const io = workerIo(store, { terminate: terminate.signal });
    void this.#outside(() => runNode(order, io)).then((exit) => {
      worker.view = { ...worker.view, state: "Exited", exit: worker.isKilled ? "infrastructure" : exit };
      this.#tell(order.key);
    });
  }
  async stopWorker(uid: string, { node, item, attempt }: WorkerView): Promise<void> {
    this.#workers
      .get(uid)
      ?.get(`${itemName({ node, ...(item === undefined ? {} : { item }) })}#${attempt}`)
      ?.terminate.abort("asked to end");
  }
  async hold(run: StoredExecution): Promise<StoredExecution> {
    return run;
  }
  async release(): Promise<void> {}
  async remove({ key }: StoredExecution): Promise<void> {
    this.runs.delete(key.name);
  }
  async provesApprovals(): Promise<boolean> {
    return true;
  }
  watch(listener: (key: ObjectKey) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #put(run: Omit<StoredExecution, "resourceVersion">): string {
    this.#versions += 1;
    const resourceVersion = String(this.#versions);
    this.runs.set(run.key.name, { ...run, resourceVersion });
    this.#tell(run.key);
    return resourceVersion;
  }

  #tell(key: ObjectKey): void {
    for (const listener of this.#listeners) queueMicrotask(() => listener(key));
  }
}

function kill(worker: HostedWorker): void {
  worker.isKilled = true;
  worker.terminate.abort("killed");
}

/** The store as a process sees it that may be killed. */
function mortal(store: JournalStore, worker: HostedWorker): JournalStore {
  return new Proxy(store, {
    get: (target, name) => {
      const member: unknown = Reflect.get(target, name);
      if (typeof member !== "function") return member;
      return (...args: unknown[]): unknown => {
        if (worker.isKilled) return Promise.reject(new StoreUnavailable("the process of this worker is dead"));
        return Reflect.apply(member, target, args);
      };
    },
  });
}

/** `gather 0.1`, or `rate[3] 0.0`. */
export function placeOf(key: NodeKey, path: readonly number[]): string {
  return `${itemName(key)} ${path.join(".")}`;
}

function policyOf(spec: PolicySpec): StoredPolicy {
  return {
    apiVersion: "oao.dev/v1alpha1",
    kind: "GovernancePolicy",
    metadata: { name: "test", namespace, labels: { [defaultPolicyLabel]: "true" } },
    spec,
  };
}

/** What an end of its retention would take of a run. */
export function journalKeysOf(world: ReplayWorld, name: string): readonly NodeKey[] {
  return keysOfRows(world.stored(name).status?.nodes ?? []);
}
