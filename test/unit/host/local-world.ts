/** A cluster in memory for host tests: objects with versions, and workers that do as they are told. */
import { MemoryStore } from "../../../src/adapters/store/memory/memory-store.ts";
import type { ExecutionStatus } from "../../../src/api/status.ts";
import type { Execution, ExecutionSpec } from "../../../src/api/types.ts";
import type { Json } from "../../../src/core/digest/json.ts";
import { canonicalJson, sha256Hex } from "../../../src/core/digest/digest.ts";
import { emptyLedger } from "../../../src/core/protocol/amounts.ts";
import { genesis } from "../../../src/core/protocol/names.ts";
import type { Command, NodeKey, StoredEntry } from "../../../src/core/protocol/types.ts";
import { packBody } from "../../../src/core/steps/bodies.ts";
import { chain, type EntryDraft } from "../../../src/core/steps/chain.ts";
import { type HostEvent, type HostIo, SnapshotCache } from "../../../src/host/io.ts";
import { reconcile } from "../../../src/host/reconcile.ts";
import { Slots } from "../../../src/host/slots.ts";
import type { Clock } from "../../../src/ports/clock.ts";
import type {
  Cluster,
  ObjectKey,
  StoredExecution,
  StoredPolicy,
  WorkerOrder,
  WorkerView,
} from "../../../src/ports/cluster.ts";
import { Conflict } from "../../../src/ports/cluster-errors.ts";
import type { JournalStore } from "../../../src/ports/store.ts";

export const uid = "00000000-0000-4000-8000-0000000000aa";

/** Time that only moves when a test says so. */
export class ManualClock implements Clock {
  #nowMs = 1_767_225_600_000;
  #sleepers: { readonly atMs: number; readonly wake: () => void }[] = [];
  nowMs = (): number => this.#nowMs;
  monotonicMs = (): number => this.#nowMs;
  uuid = (): string => uid;
  random = (): number => 0.5;
  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#sleepers.push({ atMs: this.#nowMs + ms, wake: resolve });
      signal?.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
    });
  }
  get sleeping(): number {
    return this.#sleepers.length;
  }
  pass(ms: number): void {
    this.#nowMs += ms;
    const due = this.#sleepers.filter((each) => each.atMs <= this.#nowMs);
    this.#sleepers = this.#sleepers.filter((each) => each.atMs > this.#nowMs);
    for (const each of due) each.wake();
  }
}

export class World implements Cluster {
  readonly listsAll = true;
  readonly clock = new ManualClock();
  readonly store = new MemoryStore(this.clock);
  /** What host and workers use: `store`, unless a test says another. */
  journal: JournalStore = this.store;
  readonly runs = new Map<string, StoredExecution>();
  readonly orders: WorkerOrder[] = [];
  readonly stopped: WorkerView[] = [];
  readonly events: HostEvent[] = [];
  views: WorkerView[] = [];
  policyList: StoredPolicy[] = [];
  /** Workers write these bytes into their journals, which are no entry. */
  garbled: string | undefined;
  writes = 0;
  /** Called before an effect; a throw is the host losing it. */
  before: (effect: string) => void = () => undefined;
  /** What a worker's node gives; absent = the worker stays at work. */
  outputs: Readonly<Record<string, Json>> = {};
  #listeners = new Set<(key: ObjectKey) => void>();

  readonly io: HostIo = {
    cluster: this,
    clock: this.clock,
    journal: () => this.journal,
    floorPolicies: [],
    requireSecretPairing: false,
    requireFitStore: true,
    stopGraceMs: 1_000,
    slots: new Slots(),
    snapshots: new SnapshotCache(),
    report: (event) => this.events.push(event),
  };

  apply(name: string, spec: ExecutionSpec, metadata: Execution["metadata"] = {}): ObjectKey {
    const key = { namespace: "team-a", name };
    const old = this.runs.get(name);
    const object = {
      apiVersion: "oao.dev/v1alpha1",
      kind: "Execution",
      metadata: { ...metadata, ...key },
      spec,
    } as const;
    const generation = (old?.generation ?? 0) + 1;
    this.runs.set(name, {
      key,
      uid: old?.uid ?? uid,
      resourceVersion: `${generation}/${this.writes}`,
      generation,
      createdAtMs: this.clock.nowMs(),
      object,
      status: old?.status,
    });
    this.tell(key);
    return key;
  }

  status(name: string): ExecutionStatus {
    const status = this.runs.get(name)?.status;
    if (status === undefined) throw new Error(`${name} has no status`);
    return status;
  }

  async get(key: ObjectKey): Promise<StoredExecution | undefined> {
    this.before(`get ${key.name}`);
    return this.runs.get(key.name);
  }
  async list(): Promise<readonly StoredExecution[]> {
    return [...this.runs.values()].filter((run) => run.status?.completedAt === undefined);
  }
  async policies(): Promise<readonly StoredPolicy[]> {
    return this.policyList;
  }
  async writeStatus(seen: Pick<StoredExecution, "key" | "resourceVersion">, status: ExecutionStatus): Promise<string> {
    this.before("writeStatus");
    const run = this.runs.get(seen.key.name);
    if (run?.resourceVersion !== seen.resourceVersion) throw new Conflict(`${seen.key.name} changed`);
    this.writes += 1;
    const resourceVersion = `${run.generation}/${this.writes}`;
    this.runs.set(seen.key.name, { ...run, resourceVersion, status: structuredClone(status) });
    this.tell(run.key);
    return resourceVersion;
  }
  async workers(): Promise<readonly WorkerView[]> {
    return this.views;
  }
  async startWorker(order: WorkerOrder): Promise<void> {
    this.before(`start ${order.node}#${order.attempt}`);
    if (
      this.orders.some((each) => each.node === order.node && each.item === order.item && each.attempt === order.attempt)
    )
      return;
    this.orders.push(order);
    const key = order.item === undefined ? { node: order.node } : { node: order.node, item: order.item };
    const output = this.outputs[order.node];
    const claimed = await this.journal.execute(uid, {
      op: "claim",
      ...key,
      attempt: order.attempt,
      claimId: "c",
      try: order.try,
      limits: {},
      auditLimits: {},
      known: order.known,
      leaseTtlMs: 5_000,
    });
    if (output === undefined || claimed.code !== "OK") {
      this.views.push({ ...key, attempt: order.attempt, state: "Running" });
      return;
    }
    const packed = packBody(output);
    const content = {
      op: "finish",
      ...key,
      attempt: order.attempt,
      claimId: "c",
      seq: 1,
      ledger: emptyLedger,
      leaseTtlMs: 5_000,
      steps: 1,
      finished: JSON.stringify({ outcome: "Succeeded", output: packed.digest, error: null }),
    };
    const entries =
      this.garbled === undefined
        ? chain(draftsOf(order, packed.digest), 0, genesis(uid, key))
        : [garbledEntry(key, this.garbled)];
    const reply = await this.journal.execute(uid, {
      ...content,
      digest: sha256Hex(canonicalJson(content)),
      entries,
      bodies: packed.bodies,
    } as unknown as Command);
    if (reply.code !== "OK") throw new Error(JSON.stringify(reply));
  }
  /** As workers do that find the run suspended: they leave by themselves, nobody stopped them. */
  leaveSuspended(): void {
    this.views = this.views.map((view) =>
      view.state === "Exited" ? view : { ...view, state: "Exited", exit: "stopped" },
    );
  }
  async stopWorker(_uid: string, worker: WorkerView): Promise<void> {
    this.stopped.push(worker);
    const place = this.views.findIndex(
      (view) => view.node === worker.node && view.attempt === worker.attempt && view.state !== "Exited",
    );
    const view = this.views[place];
    if (view !== undefined) this.views[place] = { ...view, state: "Exited", exit: "stopped" };
  }
  async hold(run: StoredExecution, operator?: string): Promise<StoredExecution> {
    if (operator === undefined || run.heldBy !== undefined || run.status?.operator !== undefined) return run;
    this.before("hold");
    const stored = this.runs.get(run.key.name);
    if (stored === undefined) return run;
    if (stored.resourceVersion !== run.resourceVersion) throw new Conflict(`${run.key.name} changed`);
    this.writes += 1;
    const held = { ...stored, heldBy: operator, resourceVersion: `${stored.generation}/${this.writes}` };
    this.runs.set(run.key.name, held);
    return held;
  }
  async release(): Promise<void> {}
  async remove(run: StoredExecution): Promise<void> {
    this.runs.delete(run.key.name);
  }
  isProven = false;
  async provesApprovals(): Promise<boolean> {
    return this.isProven;
  }
  /** As kubectl annotate does. */
  annotate(name: string, annotations: Readonly<Record<string, string>>): void {
    const run = this.runs.get(name);
    if (run === undefined) throw new Error(`there is no ${name}`);
    const metadata = { ...run.object.metadata, annotations: { ...run.object.metadata.annotations, ...annotations } };
    this.runs.set(name, { ...run, object: { ...run.object, metadata } });
    this.tell(run.key);
  }
  watch(listener: (key: ObjectKey) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
  tell(key: ObjectKey): void {
    for (const listener of this.#listeners) listener(key);
  }
}

/** Passes until one changes nothing and asks for none at once. */
export async function settle(world: World, key: ObjectKey): Promise<void> {
  for (let pass = 0; pass < 50; pass += 1) {
    const { writes } = world;
    const wakeAfterMs = await reconcile(key, world.io);
    if (wakeAfterMs !== 0 && world.writes === writes) return;
  }
  throw new Error("does not settle");
}

/** One tool call and the end, as a worker writes them. */
function draftsOf({ attempt, try: tryNumber }: WorkerOrder, output: string): EntryDraft[] {
  const common = { attempt, try: tryNumber, output: { body: output }, error: null };
  const at = "2026-01-01T00:00:00.000Z";
  const identity = { path: [0, 0], kind: "tool", name: "t", requestDigest: "r", occurrence: 0 } as const;
  const times = { startedAt: at, completedAt: at };
  return [
    {
      type: "step",
      ...common,
      ...identity,
      ...times,
      input: { body: output },
      usage: null,
      outcome: "Ok",
      toolCalls: [],
    },
    { type: "finish", ...common, outcome: "Succeeded", at },
  ];
}

function garbledEntry(key: NodeKey, bytes: string): StoredEntry {
  return { index: 0, prevHash: genesis(uid, key), hash: sha256Hex(bytes), bytes };
}
