/**
 * A run's life as server-sent events. Nothing is queued for a reader: status and journal are looked at when there is room to send,
 * so a slow one costs no memory, sees the latest status and misses no step.
 */
import type { Clock } from "../../ports/clock.ts";
import type { ExecutionStatus } from "../../api/status.ts";
import { KubeExecutions } from "../../adapters/kube/executions.ts";
import type { KubeClient } from "../../adapters/kube/client.ts";
import { itemName } from "../../core/protocol/names.ts";
import type { NodeKey, StoredEntry } from "../../core/protocol/types.ts";
import { readEntry } from "../../core/steps/chain.ts";
import { pathText, stepKey } from "../../core/steps/identity.ts";
import { keysOfRows } from "../../core/planner/needs.ts";
import type { ObjectKey, StoredExecution } from "../../ports/cluster.ts";
import type { JournalStore } from "../../ports/store.ts";
import { cursorText, type Positions, readCursor, saysEnd } from "./event-cursor.ts";
import { type GrownItem, grownItems } from "./grown-items.ts";
import type { Runs } from "./runs.ts";
import type { Handlers } from "./server.ts";
import { streamed } from "./send.ts";
import { Turns } from "./turns.ts";

export interface EventsOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly runs: Runs;
  readonly store: () => Promise<JournalStore>;
}

/** Then the caller has to show credentials again. */
const streamMs = 300_000;
/** For proxies, and to notice who is gone. */
const aliveMs = 15_000;
/** Wake-ups of the store may be missed. */
const lookMs = 2_000;
/** The field `retry` of the stream: so long a client waits after a broken connection before it comes back. */
const reconnectMs = 1_000;
/** Between looks at a run that changes all the time. */
const pauseMs = 200;
/** An id is told after so many steps at most: after a break in between, these come again. */
const pageSize = 16;
const streams = { atOnce: 200, perCaller: 10, waiting: 0 };

export function events(options: EventsOptions): Pick<Handlers, "events"> {
  const turns = new Turns(streams, { said: "too many streams are open", afterSeconds: 10 });
  return {
    async events({ caller, params, headers, accepts, signal }) {
      const run = await options.runs.readable(caller, params as unknown as ObjectKey);
      const store = await options.store();
      const cursor = (headers as { "last-event-id"?: string })["last-event-id"];
      const follower = new Follower(run, store, cursor);
      if (cursor !== undefined && (await follower.isTold())) return { status: 204 };
      const leave = await turns.take(caller.username, signal);
      const answer = streamed(follow(follower, options, signal), { accepts, signal }, leave);
      return { ...answer, headers: { "X-Accel-Buffering": "no" } };
    },
  };
}

async function* follow(
  follower: Follower,
  { client, clock }: EventsOptions,
  signal: AbortSignal,
): AsyncGenerator<string> {
  const over = new AbortController();
  const stop = AbortSignal.any([signal, over.signal]);
  const endMs = clock.monotonicMs() + streamMs;
  let isGone = false;
  let wake = Promise.withResolvers<void>();
  const watching = new KubeExecutions(client, clock).follow(
    follower.run,
    (run) => {
      if (run === undefined) isGone = true;
      else follower.run = run;
      wake.resolve();
    },
    () => undefined,
    stop,
  );
  // A watch that may not be is noticed by the poll: the object is gone, or the stream ends in its time.
  watching.catch(() => undefined);
  const unwatch = await follower.store.watch(follower.run.uid, () => wake.resolve());
  let saidMs = clock.monotonicMs();
  try {
    yield `retry: ${reconnectMs}\n\n`;
    while (!stop.aborted && clock.monotonicMs() < endMs) {
      wake = Promise.withResolvers<void>();
      for await (const text of follower.news()) {
        saidMs = clock.monotonicMs();
        yield text;
      }
      if (isGone || follower.hasEnded) {
        yield `event: end\ndata: ${JSON.stringify({ gone: isGone })}\n\n`;
        return;
      }
      await Promise.race([wake.promise, clock.sleep(lookMs, stop).catch(() => undefined)]);
      await clock.sleep(pauseMs, stop).catch(() => undefined);
      if (clock.monotonicMs() - saidMs < aliveMs) continue;
      saidMs = clock.monotonicMs();
      yield ": alive\n\n";
    }
  } finally {
    over.abort();
    await unwatch();
  }
}

/** What was told of a run, and what there is to tell. */
class Follower {
  run: StoredExecution;
  readonly store: JournalStore;
  readonly #cursor: string | undefined;
  #told: Positions | undefined;
  #status = "";
  /** After the last `news`: the run is over and all of it was told. */
  hasEnded = false;

  constructor(run: StoredExecution, store: JournalStore, cursor: string | undefined) {
    this.run = run;
    this.store = store;
    this.#cursor = cursor;
  }

  /** Whether the cursor says that everything was told, of a run that is over. Its last step is not all: how it ended comes after. */
  async isTold(): Promise<boolean> {
    if (this.run.status?.completedAt === undefined || !saysEnd(this.#cursor)) return false;
    for await (const _ of this.#grown(this.run)) return false;
    return true;
  }

  /** Steps before the status that tells their end; what is told here is not told again. */
  async *news(): AsyncGenerator<string> {
    const { run } = this;
    for await (const { key, from, length } of this.#grown(run)) yield* this.#steps(run, key, from, length);
    const { status } = run;
    const text = JSON.stringify(told(status));
    const isEnd = status?.completedAt !== undefined;
    if (text !== this.#status) yield `event: status\nid: ${this.#id(run, isEnd)}\ndata: ${text}\n\n`;
    this.#status = text;
    this.hasEnded = isEnd;
  }

  /** Items with entries that were not told. */
  #grown(run: StoredExecution): AsyncGenerator<GrownItem> {
    return grownItems(this.store, run.uid, journalKeys(run), (item) => this.#positions(run).get(item) ?? 0);
  }

  async *#steps(run: StoredExecution, key: NodeKey, from: number, length: number): AsyncGenerator<string> {
    for (let next = from; next < length; ) {
      const page = await this.store.entries(run.uid, key, next, Math.min(pageSize, length - next));
      if (page.length === 0) return; // expired meanwhile
      next += page.length;
      this.#positions(run).set(itemName(key), next);
      const rows = page.flatMap((stored) => stepOf(run.uid, key, stored));
      const texts = rows.map((row) => `event: step\ndata: ${JSON.stringify(row)}\n`);
      if (texts.length > 0) yield `${texts.join("\n")}id: ${this.#id(run)}\n\n`;
    }
  }

  #positions({ status }: StoredExecution): Positions {
    if (status === undefined) return new Map();
    this.#told ??= readCursor(namesOf(status), this.#cursor);
    return this.#told;
  }

  #id(run: StoredExecution, isEnd = false): string {
    const names = run.status === undefined ? [] : namesOf(run.status);
    return cursorText(names, journalKeys(run), this.#positions(run), isEnd);
  }
}

/** Every item that may have entries of its own. */
function journalKeys({ status }: StoredExecution): NodeKey[] {
  return [...keysOfRows(status?.nodes ?? [])];
}

function namesOf({ nodes }: ExecutionStatus): string[] {
  return nodes.map(({ name }) => name);
}

/** What a person follows; the whole status is at the API server. */
function told(status: ExecutionStatus | undefined): object {
  if (status === undefined) return { phase: "Pending" };
  const { phase, progress, nodeCounts, usage, steps, startedAt, completedAt, conditions, nodes } = status;
  const rows = nodes.map(({ name, state, attempt, reason }) => ({ name, state, attempt, reason }));
  return { phase, progress, nodeCounts, usage, steps, startedAt, completedAt, conditions, nodes: rows };
}

/** A row of the trace without input and output. */
function stepOf(uid: string, { node, item }: NodeKey, stored: StoredEntry): object[] {
  const entry = readEntry(stored);
  if (entry.type !== "step") return [];
  return [
    {
      execution_id: uid,
      node: itemName(item === undefined ? { node } : { node, item }),
      state: entry.outcome,
      kind: entry.kind,
      name: entry.name,
      path: pathText(entry.path),
      step_key: stepKey(entry.path, entry.kind, entry.requestDigest, entry.occurrence),
      error: entry.error,
      token_usage: entry.usage,
      attempt: entry.attempt,
      try: entry.try,
      timestamp: entry.completedAt,
      started_at: entry.startedAt,
      hash: stored.hash,
    },
  ];
}
