/** Eight nodes race one budget through the real meter until it ends: bar i, and the proof that nobody starves. */
import { MemoryStore } from "../../src/adapters/store/memory/memory-store.ts";
import type { ExecutionSpec } from "../../src/api/execution.ts";
import { canonicalJson, sha256Hex } from "../../src/core/digest/digest.ts";
import { tokenEstimator } from "../../src/core/digest/tokens.ts";
import { PolicyViolationError, StoppedError } from "../../src/core/errors/errors.ts";
import { executionLimits } from "../../src/core/policy/limits.ts";
import { openPolicy } from "../support/policies.ts";
import { Random } from "../support/random.ts";
import { openAttempt } from "../../src/worker/attempt.ts";
import { stepScope } from "../../src/worker/scope.ts";
import type { JournalStore } from "../../src/ports/store.ts";
import type { LiveCall, ModelAnswer } from "../../src/ports/step.ts";
import { type Actor, Scheduler } from "./scheduler.ts";

export interface RaceResult {
  readonly limit: number;
  /** settled + lost, total tokens. */
  readonly counted: number;
  /** What was handed on to the nodes, inputs included. */
  readonly delivered: number;
  /** Tokens each node was given. */
  readonly byNode: readonly number[];
  readonly waits: number;
  readonly commands: number;
}

const racers = 8;
const stepsMax = 200_000;
const uid = "race";

export async function runRace(seed: number): Promise<RaceResult> {
  return new Race(seed).run();
}

class Race {
  readonly #random: Random;
  readonly #scheduler: Scheduler;
  readonly #store: MemoryStore;
  readonly #limit: number;
  readonly #inputTokens: number;
  readonly #byNode = Array.from({ length: racers }, () => 0);
  readonly #snapshot: string;
  #waits = 0;
  #commands = 0;

  constructor(seed: number) {
    this.#random = new Random(seed);
    this.#scheduler = new Scheduler(this.#random);
    this.#store = new MemoryStore({ nowMs: () => this.#scheduler.nowMs });
    this.#limit = 3_200 + this.#random.below(8_000);
    this.#inputTokens = 30 + this.#random.below(Math.floor(this.#limit * 0.04) - 30);
    const policy = openPolicy({ limits: { execution: { TotalTokens: this.#limit }, node: {}, call: {} } });
    const nodes = Array.from({ length: racers }, (_, place) => ({
      name: `n${place}`,
      agent: { ref: "agent", prompt: "" },
    }));
    const spec = {
      task: "race",
      models: [{ name: "m", provider: "openai", model: "x" }],
      agents: [{ name: "agent", model: "m" }],
      nodes,
    } as unknown as ExecutionSpec;
    const bytes = canonicalJson({ v: 1, uid, namespace: "default", name: "race", spec, policy });
    this.#snapshot = sha256Hex(bytes);
    void this.#store.putBodies(uid, [{ digest: this.#snapshot, bytes }]);
    this.#store.executeNow(uid, { op: "open", snapshot: this.#snapshot, ...executionLimits(policy) });
  }

  async run(): Promise<RaceResult> {
    let running = racers;
    let failure: unknown;
    for (let place = 0; place < racers; place += 1) {
      this.#race(place)
        .catch((error: unknown) => (failure ??= error))
        .finally(() => (running -= 1));
    }
    for (let steps = 0; running > 0; steps += 1) {
      await new Promise(setImmediate);
      if (failure !== undefined) throw failure as Error;
      if (steps > stepsMax) throw new Error("the race does not end");
      this.#scheduler.step();
      this.#assertWithin();
    }
    const account = this.#account();
    const delivered = this.#byNode.reduce((sum, tokens) => sum + tokens, 0);
    return {
      limit: this.#limit,
      counted: account.settled.TotalTokens + account.lost.TotalTokens,
      delivered,
      byNode: this.#byNode,
      waits: this.#waits,
      commands: this.#commands,
    };
  }

  /** Calls until the budget ends. */
  async #race(place: number): Promise<void> {
    const actor: Actor = { name: `n${place}`, alive: true, paused: false };
    const order = {
      uid,
      key: { namespace: "default", name: "race" },
      node: actor.name,
      attempt: 1,
      try: 1,
      phase: "Main" as const,
      snapshot: this.#snapshot,
      outputs: {},
    };
    const io = {
      store: this.#storeOf(actor),
      clock: this.#scheduler.clockOf(actor),
      terminate: new AbortController().signal,
      version: "0",
      build: "sha256:simulated",
      leaseTtlMs: 10_000_000,
      heartbeatIntervalMs: 1_000_000,
      suspendGraceMs: 1_000,
      createTools: async () => new Map(),
      apiKey: () => undefined,
      mask: (text: string) => text,
      log: () => undefined,
    };
    const attempt = await openAttempt(order, io);
    if ("exit" in attempt) throw new Error(`node ${place} did not start`);
    try {
      await attempt.prepare();
      const scope = stepScope(attempt.context);
      for (let o = 0; ; o += 1) {
        // Unlike content for each call; the estimate of the input is the same for all.
        const content = `${place}.${o}`.padEnd(4 * this.#inputTokens - 40, "x");
        const request = {
          model: "m",
          policyName: "openai/x",
          endpoint: "http://127.0.0.1:1",
          secret: undefined,
          header: { h: 1 },
          messages: [{ content, role: "user" }],
          declaredOutputCap: undefined,
        };
        await scope.model(o, request, (call) => this.#answer(place, actor, call));
      }
    } catch (error) {
      if (!(error instanceof PolicyViolationError || error instanceof StoppedError)) throw error;
    } finally {
      actor.alive = true;
      await attempt.close();
    }
  }

  async #answer(place: number, actor: Actor, call: LiveCall): Promise<ModelAnswer> {
    const estimator = tokenEstimator();
    const deliver = (tokens: number): void => {
      this.#byNode[place] = (this.#byNode[place] ?? 0) + tokens;
      this.#assertWithin();
    };
    deliver(this.#inputTokens - 10);
    for (let pieces = 1 + this.#random.below(30); pieces > 0; pieces -= 1) {
      await this.#scheduler.turn(actor);
      call.signal.throwIfAborted();
      const text = "y".repeat(1 + this.#random.below(40));
      const before = estimator.tokens;
      await call.meter(text);
      deliver(estimator.add(text) - before);
    }
    return {
      message: { role: "assistant", content: "" },
      usage: this.#random.chance(0.5) ? undefined : { input: 1, output: 1 },
    };
  }

  #storeOf(actor: Actor): JournalStore {
    const store = this.#store;
    return {
      execute: async (run, command) => {
        await this.#scheduler.turn(actor);
        this.#commands += 1;
        const reply = store.executeNow(run, command);
        if (reply.code === "WAIT") this.#waits += 1;
        return reply;
      },
      view: (run, items) => store.view(run, items),
      nodeAccount: (run, node) => store.nodeAccount(run, node),
      entries: (run, key, from, limit) => store.entries(run, key, from, limit),
      bodies: (run, digests) => store.bodies(run, digests),
      putBodies: (run, bodies) => store.putBodies(run, bodies),
      restoreEntries: (run, key, entries, figures) => store.restoreEntries(run, key, entries, figures),
      watch: (run, listener) => store.watch(run, listener),
      dropBodies: (run, keep) => store.dropBodies(run, keep),
      keep: (run, items, seconds) => store.keep(run, items, seconds),
      expire: (run, items, seconds) => store.expire(run, items, seconds),
      runId: () => store.runId(),
      durability: () => store.durability(),
      fill: () => store.fill(),
      close: () => store.close(),
    };
  }

  #account() {
    const account = this.#store.recordsOf(uid).execution?.account;
    if (account === undefined) throw new Error("the run is gone");
    return account;
  }

  /** B1 at each instant, counted and in truth. */
  #assertWithin(): void {
    const { settled, lost, reserved } = this.#account();
    const delivered = this.#byNode.reduce((sum, tokens) => sum + tokens, 0);
    const counted = settled.TotalTokens + lost.TotalTokens;
    if (counted > this.#limit || counted + reserved.TotalTokens > this.#limit)
      throw new Error(`B1: ${counted} counted, ${reserved.TotalTokens} held, limit ${this.#limit}`);
    if (delivered > counted + reserved.TotalTokens)
      throw new Error(`B1: ${delivered} delivered, ${counted} counted, ${reserved.TotalTokens} held`);
  }
}
