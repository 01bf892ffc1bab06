/** The reference store: `decide` over maps. For tests and simulations; nothing survives the process. */
import { OaoError } from "../../../core/errors/errors.ts";
import { decide } from "../../../core/protocol/decide.ts";
import { isUid, itemKey } from "../../../core/protocol/names.ts";
import { type RestoredFigures, restoreEntries } from "../../../core/protocol/restore.ts";
import type {
  Account,
  Command,
  ExecutionRecord,
  ItemRecord,
  NodeKey,
  Reply,
  StoredBody,
  StoredEntry,
  Wake,
} from "../../../core/protocol/types.ts";
import type { Clock } from "../../../ports/clock.ts";
import type { Durability, JournalStore, JournalView } from "../../../ports/store.ts";

export interface Run {
  execution: ExecutionRecord | undefined;
  nodes: Map<string, Account>;
  items: Map<string, ItemRecord>;
  entries: Map<string, StoredEntry[]>;
  bodies: Map<string, string>;
}

export class MemoryStore implements JournalStore {
  readonly #clock: Pick<Clock, "nowMs">;
  /** Milliseconds since the epoch before which a run does not expire. */
  readonly #kept = new Map<string, number>();
  readonly #runs = new Map<string, Run>();
  readonly #listeners = new Map<string, Set<(wake: Wake) => void>>();
  readonly #rules: typeof decide;
  #runId: string;

  /** `rules` is for tests of the tests: a broken protocol must be caught. */
  constructor(clock: Pick<Clock, "nowMs">, runId = "memory", rules: typeof decide = decide) {
    this.#clock = clock;
    this.#runId = runId;
    this.#rules = rules;
  }

  async execute(uid: string, command: Command): Promise<Reply> {
    return this.executeNow(uid, command);
  }

  /** The same without a promise, for simulations that schedule by hand. */
  executeNow(uid: string, command: Command): Reply {
    const run = this.#run(uid);
    const key = "node" in command ? command : undefined;
    const records = {
      execution: run.execution,
      node: key === undefined ? undefined : run.nodes.get(key.node),
      item: key === undefined ? undefined : run.items.get(itemKey(key)),
    };
    const outcome = this.#rules(records, command, this.#clock.nowMs());
    if (outcome.records !== undefined) {
      run.execution = outcome.records.execution;
      if (key !== undefined) {
        if (outcome.records.node !== undefined) run.nodes.set(key.node, outcome.records.node);
        if (outcome.records.item !== undefined) run.items.set(itemKey(key), outcome.records.item);
        if (outcome.entries.length > 0) {
          const held = run.entries.get(itemKey(key)) ?? [];
          held.push(...outcome.entries);
          run.entries.set(itemKey(key), held);
        }
      }
      for (const body of outcome.bodies) run.bodies.set(body.digest, body.bytes);
    }
    if (outcome.wake !== undefined) this.#wake(uid, outcome.wake);
    return outcome.reply;
  }

  async view(uid: string, items: readonly NodeKey[]): Promise<JournalView> {
    const run = this.#run(uid);
    return { execution: run.execution, items: items.map((key) => run.items.get(itemKey(key))) };
  }

  async nodeAccount(uid: string, node: string): Promise<Account | undefined> {
    return this.#run(uid).nodes.get(node);
  }

  async entries(uid: string, key: NodeKey, from: number, limit: number): Promise<readonly StoredEntry[]> {
    return (this.#run(uid).entries.get(itemKey(key)) ?? []).slice(from, from + limit);
  }

  async bodies(uid: string, digests: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const held = this.#run(uid).bodies;
    const found = new Map<string, string>();
    for (const digest of digests) {
      const bytes = held.get(digest);
      if (bytes !== undefined) found.set(digest, bytes);
    }
    return found;
  }

  async putBodies(uid: string, bodies: readonly StoredBody[]): Promise<void> {
    const held = this.#run(uid).bodies;
    for (const body of bodies) held.set(body.digest, body.bytes);
  }

  async restoreEntries(
    uid: string,
    key: NodeKey,
    entries: readonly StoredEntry[],
    figures: RestoredFigures,
  ): Promise<void> {
    const run = this.#run(uid);
    const held = run.entries.get(itemKey(key)) ?? [];
    const records = { execution: run.execution, item: run.items.get(itemKey(key)) };
    const restored = restoreEntries(uid, key, entries, figures, records, (index) => held[index]?.hash);
    run.items.set(itemKey(key), restored.item);
    run.entries.set(itemKey(key), [...held, ...restored.entries]);
  }

  async watch(uid: string, listener: (wake: Wake) => void): Promise<() => Promise<void>> {
    const listeners = this.#listeners.get(uid) ?? new Set();
    listeners.add(listener);
    this.#listeners.set(uid, listeners);
    return async () => {
      listeners.delete(listener);
    };
  }

  async dropBodies(uid: string, keep: readonly string[]): Promise<void> {
    const kept = new Set(keep);
    const { bodies } = this.#run(uid);
    for (const digest of bodies.keys()) if (!kept.has(digest)) bodies.delete(digest);
  }

  async keep(uid: string, _items: readonly NodeKey[], seconds: number): Promise<void> {
    const untilMs = this.#clock.nowMs() + seconds * 1_000;
    if (this.#runs.has(uid)) this.#kept.set(uid, Math.max(untilMs, this.#kept.get(uid) ?? 0));
  }

  /** Memory has no timers: only 0 removes, anything else outlives the process anyway. */
  async expire(uid: string, _items: readonly NodeKey[], seconds: number): Promise<void> {
    if (seconds > 0 || (this.#kept.get(uid) ?? 0) > this.#clock.nowMs()) return;
    this.#runs.delete(uid);
    this.#kept.delete(uid);
  }

  async runId(): Promise<string> {
    return this.#runId;
  }

  /** It lives as long as whoever uses it, so there is nobody to forget for. */
  async durability(): Promise<Durability> {
    return { durable: true, reasons: [], unfit: [] };
  }

  async fill(): Promise<number> {
    return 0;
  }

  async close(): Promise<void> {
    this.#listeners.clear();
  }

  /** A deep copy of one run's state, so that a simulation can roll the store back. */
  snapshotOf(uid: string): unknown {
    return structuredClone(this.#run(uid));
  }

  /** A restart that forgot what came after the snapshot. */
  restore(uid: string, snapshot: unknown, runId: string): void {
    this.#runs.set(uid, structuredClone(snapshot) as Run);
    this.#runId = runId;
  }

  /** What a run holds now, for simulations; not a copy. */
  recordsOf(uid: string): Readonly<Run> {
    return this.#run(uid);
  }

  #run(uid: string): Run {
    if (!isUid(uid)) throw new OaoError("OAO_PROTOCOL", `not a run's uid: ${JSON.stringify(uid.slice(0, 80))}`);
    const found = this.#runs.get(uid);
    if (found !== undefined) return found;
    const run: Run = {
      execution: undefined,
      nodes: new Map(),
      items: new Map(),
      entries: new Map(),
      bodies: new Map(),
    };
    this.#runs.set(uid, run);
    return run;
  }

  #wake(uid: string, wake: Wake): void {
    for (const listener of this.#listeners.get(uid) ?? []) queueMicrotask(() => listener(wake));
  }
}
