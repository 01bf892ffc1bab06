/**
 * A host as a model: the reference store, workers as table rows, effects that get lost. It applies plans the way
 * reconcile() does and checks on the way what must never happen.
 */
import assert from "node:assert/strict";
import { MemoryStore } from "../../../src/adapters/store/memory/memory-store.ts";
import type { WorkerExitName } from "../../../src/api/exit-codes.ts";
import type { ExecutionStatus } from "../../../src/api/status.ts";
import type { ExecutionSpec } from "../../../src/api/types.ts";
import { canonicalJson, sha256Hex } from "../../../src/core/digest/digest.ts";
import type { Json } from "../../../src/core/digest/json.ts";
import { itemsOfInterest, outputsNeeded } from "../../../src/core/planner/needs.ts";
import { plan } from "../../../src/core/planner/plan.ts";
import { initialStatus } from "../../../src/core/planner/render.ts";
import type { Decision, Seen, SeenAnswer, SeenWorker } from "../../../src/core/planner/types.ts";
import type { EffectivePolicy } from "../../../src/core/policy/types.ts";
import { emptyLedger } from "../../../src/core/protocol/amounts.ts";
import { genesis, itemName } from "../../../src/core/protocol/names.ts";
import type { Command, ItemRecord, NodeKey, Reply } from "../../../src/core/protocol/types.ts";
import { recordAnswer } from "../../../src/host/answers.ts";
import type { StoredExecution } from "../../../src/ports/cluster.ts";
import { packBody, textsOf, unpackBody } from "../../../src/core/steps/bodies.ts";
import { t0 } from "./builders.ts";

type Start = Extract<Decision, { kind: "StartWorker" }>;

export interface Worker {
  readonly order: Start;
  readonly claimId: string;
  state: "Starting" | "Running" | "Exited";
  exit: WorkerExitName | undefined;
  /** SIGTERM was sent. */
  asked: boolean;
  seq: number;
  /** Ticks until the watch shows each change; a lost exit is never shown. */
  listedAfter: number;
  exitListedAfter: number;
}

export type Fate =
  | { readonly ends: "Succeeded"; readonly output: Json }
  | { readonly ends: "Failed"; readonly errorClass: string; readonly final?: boolean }
  | { readonly ends: "exit"; readonly exit: WorkerExitName };

export interface ModelOptions {
  readonly random: () => number;
  readonly policy: EffectivePolicy;
  readonly listsAll: boolean;
  /** What an attempt comes to. */
  readonly fate: (start: Start, attempts: number) => Fate;
  /** What people answer when an approval node asks, sooner or later. */
  readonly answer: (node: string) => "Approved" | "Rejected";
  readonly lagTicks: number;
  readonly lostEffects: number;
}

const uid = "00000000-0000-4000-8000-000000000001";
const leaseTtlMs = 3_000;

export class ModelHost {
  nowMs = t0;
  tick = 0;
  desired: "Running" | "Suspended" | "Cancelled" = "Running";
  status: ExecutionStatus;
  readonly store: MemoryStore;
  readonly workers: Worker[] = [];
  readonly started: Start[] = [];
  readonly #spec: ExecutionSpec;
  readonly #options: ModelOptions;

  constructor(spec: ExecutionSpec, options: ModelOptions) {
    this.#spec = spec;
    this.#options = options;
    this.store = new MemoryStore({ nowMs: () => this.nowMs });
    const bytes = canonicalJson({ spec });
    this.status = initialStatus(spec, t0, { snapshot: sha256Hex(bytes) });
    this.send({ op: "open", snapshot: sha256Hex(bytes), limits: {}, auditLimits: {} });
  }

  send(command: Command): Reply {
    return this.store.executeNow(uid, command);
  }

  async seen(): Promise<Seen> {
    const workers = this.#views();
    const keys = itemsOfInterest(this.#spec, this.status);
    const view = await this.store.view(uid, keys);
    const items = keys.map((key, place) => ({ key, record: view.items[place] }));
    const records = new Map(items.map(({ key, record }) => [itemName(key), record]));
    const needed = outputsNeeded(this.#spec, this.status, (key) => records.get(itemName(key)));
    const roots = await this.store.bodies(uid, needed);
    const texts = await this.store.bodies(uid, [...roots.values()].flatMap(textsOf));
    return {
      run: {
        uid,
        namespace: "n",
        name: "r",
        generation: 1,
        desiredState: this.desired,
        journalRetentionSeconds: 3_600,
        answers: this.#answers(),
      },
      spec: this.#spec,
      policy: this.#options.policy,
      snapshot: this.status.snapshot ?? "",
      status: this.status,
      execution: view.execution,
      store: { runId: await this.store.runId(), ...(await this.store.durability()) },
      items,
      workers,
      listsAll: this.#options.listsAll,
      outputs: new Map([...roots].map(([digest, root]) => [digest, unpackBody(root, (text) => texts.get(text) ?? "")])),
    };
  }

  #answers(): ReadonlyMap<string, SeenAnswer> {
    const { answer, random } = this.#options;
    const open = (this.status.approvals ?? []).filter(({ decision }) => decision === undefined && random() < 0.3);
    return new Map(
      open.map(({ request, node }) => [request, { decision: answer(node), by: "somebody", proven: true }]),
    );
  }

  /** One pass as in host/reconcile.ts; some effects get lost, as when the host dies between status and effect. */
  async reconcile(): Promise<number | undefined> {
    const planned = plan(await this.seen(), this.nowMs);
    await this.store.putBodies(uid, planned.bodies);
    this.status = planned.status;
    for (const decision of planned.decisions) {
      if (this.#options.random() < this.#options.lostEffects) return 0;
      await this.perform(decision);
    }
    if (planned.statusAfter !== undefined) this.status = planned.statusAfter;
    return planned.wakeAfterMs;
  }

  async perform(decision: Decision): Promise<void> {
    switch (decision.kind) {
      case "SetControl":
        assert.match(this.send({ op: "control", to: decision.to, message: decision.message }).code, /OK|REFUSED/);
        return;
      case "ReleaseAttempt":
        assert.match(this.send({ op: "release", ...decision.key, attempt: decision.attempt }).code, /OK|FENCED/);
        return;
      case "StopWorker":
        for (const worker of this.workers) if (isSame(worker.order, decision.worker)) worker.asked = true;
        return;
      case "StartWorker":
        return this.#start(decision);
      case "RecordAnswer": {
        const run = { uid, key: { namespace: "n", name: "r" } } as StoredExecution;
        return recordAnswer(run, decision, { journal: () => this.store });
      }
      case "Seal":
        return;
    }
  }

  async record(key: NodeKey): Promise<ItemRecord | undefined> {
    return (await this.store.view(uid, [key])).items[0];
  }

  get running(): readonly Worker[] {
    return this.workers.filter((worker) => worker.state !== "Exited");
  }

  /** One random worker goes one step on. */
  async step(): Promise<void> {
    this.tick += 1;
    const { running } = this;
    const worker = running[Math.floor(this.#options.random() * running.length)];
    if (worker === undefined) return;
    for (const each of running) if (each.state === "Running") this.#heartbeat(each);
    if (worker.state === "Exited") return;
    if (worker.state === "Starting") return this.#claim(worker);
    if (worker.asked) return this.#exit(worker, "stopped");
    await this.#work(worker);
  }

  #start(order: Start): void {
    if (this.workers.some((worker) => isSame(worker.order, { ...order.key, attempt: order.attempt }))) return; // P2
    const seenBefore = this.started.filter((each) => itemName(each.key) === itemName(order.key));
    assert.ok(
      seenBefore.every((each) => each.attempt < order.attempt),
      "attempt numbers only grow",
    );
    this.started.push(order);
    const { random, lagTicks } = this.#options;
    this.workers.push({
      order,
      claimId: `${itemName(order.key)}#${order.attempt}`,
      state: "Starting",
      exit: undefined,
      asked: false,
      seq: 0,
      listedAfter: this.tick + Math.floor(random() * lagTicks),
      exitListedAfter: 0,
    });
  }

  #claim(worker: Worker): void {
    const { order, claimId } = worker;
    const reply = this.send({
      op: "claim",
      ...order.key,
      attempt: order.attempt,
      claimId,
      try: order.try,
      limits: {},
      auditLimits: {},
      known: order.known,
      leaseTtlMs,
    });
    if (reply.code === "FINISHED") return this.#exit(worker, "done");
    if (reply.code !== "OK") {
      assert.match(reply.code, /FENCED|CLAIMED/);
      return this.#exit(worker, "fenced");
    }
    worker.state = "Running";
  }

  async #work(worker: Worker): Promise<void> {
    const attempts = this.started.filter((each) => itemName(each.key) === itemName(worker.order.key)).length;
    const fate = this.#options.fate(worker.order, attempts);
    if (this.#options.random() < 0.5) return this.#finish(worker, "commit", {}, []);
    if (fate.ends === "exit") return this.#exit(worker, fate.exit);
    if (fate.ends === "Failed") {
      const error = { class: fate.errorClass, message: "as told" };
      const finished = JSON.stringify({
        outcome: "Failed",
        output: null,
        error,
        ...(fate.final === true ? { final: true } : {}),
      });
      return this.#finish(
        worker,
        "finish",
        { finished, ...(fate.errorClass === "PolicyViolation" ? { violation: "PolicyViolation: told so" } : {}) },
        [],
        "failed",
      );
    }
    const packed = packBody(fate.output);
    await this.#finish(
      worker,
      "finish",
      { finished: JSON.stringify({ outcome: "Succeeded", output: packed.digest, error: null }) },
      packed.bodies,
      "done",
    );
  }

  async #finish(
    worker: Worker,
    op: "commit" | "finish",
    more: object,
    bodies: readonly { digest: string; bytes: string }[],
    exit?: WorkerExitName,
  ): Promise<void> {
    const { order, claimId } = worker;
    const held = await this.record(order.key);
    const index = held?.length ?? 0;
    const prevHash = index === 0 ? genesis(uid, order.key) : (held?.head ?? "");
    const bytes = canonicalJson({ v: 1, index, prevHash, by: claimId });
    worker.seq += 1;
    const content = {
      op,
      ...order.key,
      attempt: order.attempt,
      claimId,
      seq: worker.seq,
      steps: index + 1,
      ledger: emptyLedger,
      leaseTtlMs,
      ...more,
    };
    const entries = [{ index, prevHash, hash: sha256Hex(bytes), bytes }];
    const reply = this.send({
      ...content,
      digest: sha256Hex(canonicalJson(content)),
      entries,
      bodies,
    } as unknown as Command);
    if (reply.code === "FENCED") return this.#exit(worker, "fenced");
    assert.equal(reply.code, "OK");
    if (exit !== undefined) this.#exit(worker, exit);
  }

  #heartbeat(worker: Worker): void {
    const { order, claimId } = worker;
    const reply = this.send({ op: "heartbeat", ...order.key, attempt: order.attempt, claimId, live: "", leaseTtlMs });
    if (reply.code !== "OK") return this.#exit(worker, "fenced");
    const admitted = order.phase === "Finally" ? "Finalizing" : "Running";
    if (reply.control.state !== admitted) worker.asked = true;
  }

  #exit(worker: Worker, exit: WorkerExitName): void {
    const { random, lagTicks } = this.#options;
    worker.state = "Exited";
    worker.exit = exit;
    worker.exitListedAfter = this.tick + Math.floor(random() * lagTicks);
  }

  /** What the host lists: late, and some twice, in any order. */
  #views(): SeenWorker[] {
    const { random, listsAll } = this.#options;
    const views: SeenWorker[] = [];
    for (const { order, state, exit, listedAfter, exitListedAfter } of this.workers) {
      if (!listsAll && this.tick < listedAfter) continue;
      const shown: SeenWorker["state"] =
        state === "Exited" && !listsAll && this.tick < exitListedAfter ? "Running" : state;
      const view: SeenWorker = {
        ...order.key,
        attempt: order.attempt,
        state: shown,
        ...(shown === "Exited" ? { exit } : {}),
      };
      // A process that ended on its own may be forgotten by the time somebody asks.
      if (shown === "Exited" && random() < 0.2) continue;
      views.push(view);
      if (random() < 0.1) views.push({ ...view, state: "Running", exit: undefined });
    }
    return views.sort(() => random() - 0.5);
  }
}

function isSame(order: Start, worker: NodeKey & { attempt: number }): boolean {
  return itemName(order.key) === itemName(worker) && order.attempt === worker.attempt;
}
