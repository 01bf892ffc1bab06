/** One random schedule: two nodes race one budget while workers crash, are copied, pause and wake, and the store forgets. */
import { MemoryStore } from "../../src/adapters/store/memory/memory-store.ts";
import { canonicalJson, sha256Hex } from "../../src/core/digest/digest.ts";
import { tokenEstimator } from "../../src/core/digest/tokens.ts";
import { executionLimits } from "../../src/core/policy/limits.ts";
import type { decide } from "../../src/core/protocol/decide.ts";
import { itemKey, itemName } from "../../src/core/protocol/names.ts";
import type { Command, KnownPosition, Reply } from "../../src/core/protocol/types.ts";
import type { JournalEntry, Snapshot } from "../../src/core/steps/format.ts";
import { idempotencyKey, stepKey } from "../../src/core/steps/identity.ts";
import type { WorkerExit, WorkerOrder } from "../../src/ports/cluster.ts";
import type { JournalStore } from "../../src/ports/store.ts";
import { StoreUnavailable } from "../../src/ports/store-errors.ts";
import { openPolicy } from "../support/policies.ts";
import { Random } from "../support/random.ts";
import { runAttempt } from "./attempt.ts";
import { type Outside, spec, tools } from "./program.ts";
import { type Actor, Scheduler } from "./scheduler.ts";
import { Broken, Shadow } from "./shadow.ts";

interface Worker extends Actor {
  readonly node: string;
  readonly attempt: number;
  /** What the store told this worker is durable. */
  acknowledged: { length: number; head: string };
  exit: WorkerExit | undefined;
}

export interface ScheduleReport {
  readonly steps: number;
  readonly happened: ReadonlySet<string>;
  readonly outcome: "done" | "violated" | "cancelled" | "lost" | "failed";
}

const uid = "simulated";
const nodes = ["a", "b"] as const;
const faultSteps = 250;
const stepsMax = 5_000;

/** Throws Broken (or whatever a worker threw by mistake) with the seed; the same seed, the same schedule. */
export async function runSchedule(seed: number, rules?: typeof decide): Promise<ScheduleReport> {
  const simulation = new Simulation(seed, rules);
  try {
    return await simulation.run();
  } catch (error) {
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    throw new Error(`seed ${seed}: ${message}\n${simulation.log.slice(-40).join("\n")}`, { cause: error });
  }
}

class Simulation {
  readonly log: string[] = [];
  readonly #random: Random;
  readonly #scheduler: Scheduler;
  readonly #store: MemoryStore;
  readonly #shadow: Shadow;
  readonly #workers: Worker[] = [];
  readonly #happened = new Set<string>();
  readonly #order: Omit<WorkerOrder, "node" | "attempt">;
  readonly #rounds: number;
  /** Schedules differ in kind: some roll back, some are calm but for one sort of fault. */
  readonly #mayRollBack: boolean;
  readonly #faultRate: number;
  readonly #attempts = new Map<string, number>(nodes.map((node) => [node, 0]));
  readonly #status = new Map<string, KnownPosition>();
  #saved: { store: unknown; shadow: unknown }[] = [];
  #runId = 1;
  #delivered = 0;
  #nonce = 0;
  #faults = true;
  #failure: unknown;
  /** Seen by the host, so in its status. */
  #final: "Cancelled" | "Violated" | undefined;

  constructor(seed: number, rules: typeof decide | undefined) {
    const random = new Random(seed);
    this.#random = random;
    this.#scheduler = new Scheduler(random);
    this.#store = new MemoryStore({ nowMs: () => this.#scheduler.nowMs }, "run-1", rules);
    this.#shadow = new Shadow(uid, this.#store);
    this.#rounds = 1 + random.below(3);
    this.#mayRollBack = random.chance(0.4);
    this.#faultRate = random.pick([0, 0.04, 0.08, 0.15]);
    const limit = random.chance(0.5) ? 150 + random.below(800) : 4_000;
    const policy = openPolicy({
      limits: {
        execution: { TotalTokens: limit, ...(random.chance(0.2) ? { Steps: 2 + random.below(8) } : {}) },
        node: {},
        call: {},
      },
      auditLimits: { execution: { TotalTokens: 100 }, node: {}, call: {} },
      onInDoubt: random.pick(["Fail", "Retry"]),
    });
    const snapshot: Snapshot = { v: 1, uid, namespace: "default", name: "run", spec, policy };
    const bytes = canonicalJson(snapshot);
    this.#order = {
      uid,
      key: { namespace: "default", name: "run" },
      try: 1,
      phase: "Main",
      snapshot: sha256Hex(bytes),
      outputs: {},
    };
    void this.#store.putBodies(uid, [{ digest: sha256Hex(bytes), bytes }]);
    this.#store.executeNow(uid, { op: "open", snapshot: this.#order.snapshot, ...executionLimits(policy) });
  }

  async run(): Promise<ScheduleReport> {
    for (const node of nodes) this.#start(node);
    let steps = 0;
    for (; ; steps += 1) {
      await new Promise(setImmediate);
      if (this.#failure !== undefined) throw this.#failure as Error;
      if (steps > stepsMax) throw new Broken("progress", `no end after ${stepsMax} steps`);
      if (this.#outcome() !== undefined) break;
      this.#faults = steps < faultSteps;
      // A paused process is woken or taken over in the end; until then a sibling may rightly wait for what it holds.
      if (steps === faultSteps) this.#wakeAll();
      if (this.#faults && this.#random.chance(this.#faultRate)) this.#fault();
      this.#host();
      if (!this.#scheduler.step()) this.#wakeAll();
    }
    const outcome = this.#outcome() ?? "failed";
    this.#end(outcome);
    return { steps, happened: this.#happened, outcome };
  }

  /** A host without memory but its status: starts the next attempt of whatever has ended without an end of its own. */
  #host(): void {
    const state = this.#store.recordsOf(uid).execution?.control.state;
    if (state === "Suspended" && (!this.#faults || this.#random.chance(0.05)))
      this.#execute({ op: "control", to: "Running", message: "" });
    // A host is level-triggered: an end that the store forgot is given again.
    if (state === "Cancelled" || state === "Violated") this.#final ??= state;
    if (this.#final !== undefined && state !== this.#final)
      this.#execute({ op: "control", to: this.#final, message: "given again" });
    if (this.#final !== undefined) return;
    for (const node of nodes) {
      const own = this.#workers.filter((worker) => worker.node === node);
      if (this.#hasEnded(node) || own.some((worker) => worker.alive && worker.exit === undefined)) continue;
      if (state === "Running") this.#start(node);
    }
  }

  /** An end that the store has forgotten is none: the next attempt makes it again. */
  #hasEnded(node: string): boolean {
    const ended = this.#workers.some(
      (worker) => worker.node === node && (worker.exit === "done" || worker.exit === "failed"),
    );
    return ended && this.#store.recordsOf(uid).items.get(itemKey({ node }))?.finished !== undefined;
  }

  #outcome(): ScheduleReport["outcome"] | undefined {
    if (this.#workers.some((worker) => worker.exit === "lost")) return "lost";
    const busy = this.#workers.some((worker) => worker.alive && worker.exit === undefined && !worker.paused);
    const state = this.#store.recordsOf(uid).execution?.control.state;
    if (!busy && state === "Cancelled") return "cancelled";
    if (!busy && state === "Violated") return "violated";
    if (busy) return undefined;
    if (!nodes.every((node) => this.#hasEnded(node))) return undefined;
    return nodes.every((node) => this.#workers.some((worker) => worker.node === node && worker.exit === "done"))
      ? "done"
      : "failed";
  }

  #fault(): void {
    const working = this.#workers.filter((worker) => worker.alive && worker.exit === undefined);
    const roll = this.#random.next();
    const worker = working.length === 0 ? undefined : this.#random.pick(working);
    if (worker !== undefined && roll < 0.25) {
      this.#note("crash", worker.name);
      worker.alive = false;
      if (this.#random.chance(0.4)) this.#execute({ op: "release", node: worker.node, attempt: worker.attempt });
    } else if (worker !== undefined && roll < 0.4) {
      this.#note(worker.paused ? "wake" : "pause", worker.name);
      worker.paused = !worker.paused;
    } else if (worker !== undefined && roll < 0.55) {
      this.#note("takeover", worker.node);
      this.#start(worker.node);
    } else if (worker !== undefined && roll < 0.65) {
      this.#note("copy", worker.name);
      this.#spawn(worker.node, worker.attempt);
    } else if (roll < 0.72) {
      this.#note("suspend", "");
      this.#execute({ op: "control", to: "Suspended", message: "by hand" });
    } else if (roll < 0.74) {
      this.#note("cancel", "");
      this.#execute({ op: "control", to: "Cancelled", message: "by hand" });
    } else if (this.#mayRollBack && roll < 0.9 && this.#saved.length > 0) this.#rollBack();
    else if (worker !== undefined) this.#observe(worker.node);
  }

  /** The status sees an item's position, as a host does now and then. */
  #observe(node: string): void {
    const item = this.#store.recordsOf(uid).items.get(itemKey({ node }));
    if (item !== undefined) this.#status.set(node, { length: item.length, head: item.head });
  }

  #rollBack(): void {
    const saved = this.#random.pick(this.#saved);
    this.#note("rollback", "");
    this.#runId += 1;
    this.#store.restore(uid, saved.store, `run-${this.#runId}`);
    this.#shadow.restore(saved.shadow);
    this.#saved = [];
  }

  /** Nothing can go on: wake who is paused. */
  #wakeAll(): void {
    for (const worker of this.#workers) worker.paused = false;
  }

  #start(node: string): void {
    const attempt = (this.#attempts.get(node) ?? 0) + 1;
    this.#attempts.set(node, attempt);
    this.#spawn(node, attempt);
  }

  #spawn(node: string, attempt: number): void {
    const worker: Worker = {
      name: `${node}#${attempt}.${this.#workers.length}`,
      node,
      attempt,
      alive: true,
      paused: false,
      acknowledged: { length: 0, head: "" },
      exit: undefined,
    };
    this.#workers.push(worker);
    this.#note("start", worker.name);
    const outside = this.#outside(worker);
    const order: WorkerOrder = { ...this.#order, node, attempt, known: this.#status.get(node) };
    const io = {
      store: this.#storeOf(worker),
      clock: this.#scheduler.clockOf(worker),
      terminate: new AbortController().signal,
      version: "0",
      build: "sha256:simulated",
      leaseTtlMs: 60_000,
      heartbeatIntervalMs: 10_000,
      suspendGraceMs: 2_000,
      createTools: async () => tools(outside),
      apiKey: () => undefined,
      mask: (text: string) => text,
      log: () => undefined,
    };
    runAttempt(order, io, this.#rounds, outside).then(
      (exit) => {
        worker.exit = exit;
        this.#note(`exit ${exit}`, worker.name);
        if (exit === "lost" && !this.#shadow.rolledBack)
          this.#failure ??= new Broken(
            "durability",
            `${worker.name} says that entries are lost, but the store forgot nothing`,
          );
      },
      (error: unknown) => {
        this.#failure ??= error;
      },
    );
  }

  /** The store as one worker reaches it: requests and replies get lost on the way. */
  #storeOf(worker: Worker): JournalStore {
    const execute = async (_: string, command: Command): Promise<Reply> => {
      await this.#scheduler.turn(worker);
      const roll = this.#faults ? this.#random.next() : 1;
      const lossRate = this.#faultRate / 2;
      if (roll < lossRate) {
        this.#note("lost request", `${worker.name} ${command.op}`);
        throw new StoreUnavailable("the request was lost");
      }
      const reply = this.#execute(command);
      if (roll < 2 * lossRate) {
        this.#note("lost reply", `${worker.name} ${command.op} ${reply.code}`);
        throw new StoreUnavailable("the reply was lost");
      }
      this.log.push(`${worker.name} ${command.op} ${"seq" in command ? command.seq : ""} -> ${reply.code}`);
      this.#happened.add(reply.code);
      if (reply.code === "OK" && "seq" in command) {
        // Only heal may be answered while the store lacks something: it is what gives it back.
        this.#shadow.assertHolds(worker, worker.acknowledged.length, worker.acknowledged.head, worker.name);
        worker.acknowledged = { length: reply.length, head: reply.head };
        if (command.op === "heal") this.#note("healed", worker.name);
      }
      return reply;
    };
    const store = this.#store;
    return {
      execute: (run, command) => execute(run, command).catch((error: unknown) => this.#fail(error)),
      view: (run, items) => store.view(run, items),
      nodeAccount: (run, node) => store.nodeAccount(run, node),
      entries: (run, key, from, limit) => store.entries(run, key, from, limit),
      bodies: (run, digests) => store.bodies(run, digests),
      putBodies: (run, bodies) => store.putBodies(run, bodies),
      restoreEntries: (run, key, entries, figures) => store.restoreEntries(run, key, entries, figures),
      watch: (run, listener) =>
        store.watch(run, (wake) => worker.alive && !worker.paused && this.#random.chance(0.8) && listener(wake)),
      dropBodies: (run, keep) => store.dropBodies(run, keep),
      keep: (run, items, seconds) => store.keep(run, items, seconds),
      expire: (run, items, seconds) => store.expire(run, items, seconds),
      runId: () => store.runId(),
      durability: () => store.durability(),
      fill: () => store.fill(),
      close: () => store.close(),
    };
  }

  #execute(command: Command): Reply {
    const { execution, items } = this.#store.recordsOf(uid);
    const item = "node" in command ? items.get(itemKey(command)) : undefined;
    const before = { state: execution?.control.state, seq: item?.seq ?? 0 };
    if (this.#mayRollBack && this.#random.chance(0.2)) this.#save();
    const reply = this.#store.executeNow(uid, command);
    this.#shadow.applied(command, reply, before);
    this.#shadow.assertStore();
    this.#shadow.assertTruth(this.#delivered);
    return reply;
  }

  #save(): void {
    this.#saved.push({ store: this.#store.snapshotOf(uid), shadow: this.#shadow.copy() });
    if (this.#saved.length > 3) this.#saved.shift();
  }

  #outside(worker: Worker): Outside {
    const mayCall = (name: string, key: string): void => {
      try {
        this.#shadow.assertMayCall(worker, worker.attempt, { name, idempotencyKey: key }, (entry) =>
          keyOf(entry, worker.node),
        );
      } catch (error) {
        this.#fail(error);
      }
    };
    let estimator = tokenEstimator();
    return {
      modelCall: async (call, inputTokens) => {
        mayCall("model call", call.idempotencyKey);
        estimator = tokenEstimator();
        this.#deliver(inputTokens);
        await this.#scheduler.turn(worker);
      },
      toolCall: async (name, context) => {
        mayCall(name, context.idempotencyKey);
        await this.#scheduler.turn(worker);
      },
      delivered: (text) => {
        const before = estimator.tokens;
        this.#deliver(estimator.add(text) - before);
      },
      nonce: () => {
        this.#nonce += 1;
        return this.#nonce;
      },
      chance: (probability) => this.#random.chance(probability),
      below: (end) => this.#random.below(end),
    };
  }

  #deliver(tokens: number): void {
    this.#delivered += tokens;
    try {
      this.#shadow.assertTruth(this.#delivered);
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): never {
    if (!(error instanceof StoreUnavailable)) this.#failure ??= error;
    throw error;
  }

  #end(outcome: ScheduleReport["outcome"]): void {
    this.#shadow.assertStore();
    if (this.#shadow.rolledBack || outcome === "cancelled" || outcome === "violated") return;
    for (const worker of this.#workers)
      if (worker.alive && worker.exit === undefined)
        this.#execute({ op: "release", node: worker.node, attempt: worker.attempt });
    this.#shadow.assertSettled();
  }

  #note(what: string, who: string): void {
    this.#happened.add(what);
    this.log.push(`-- ${what} ${who}`);
  }
}

function keyOf(entry: JournalEntry, node: string): string | undefined {
  if (entry.type !== "intent" && entry.type !== "step") return undefined;
  return idempotencyKey(
    uid,
    itemName({ node }),
    stepKey(entry.path, entry.kind, entry.requestDigest, entry.occurrence),
  );
}
