/** reconcile() for every run that something happens to: object and worker changes, journal wake-ups, time. */
import type { ExecutionStatus } from "../api/status.ts";
import type { ObjectKey } from "../ports/cluster.ts";
import { otherHolder } from "./holder.ts";
import type { HostIo } from "./io.ts";
import { frontOf } from "./slots.ts";
import { reconcile } from "./reconcile.ts";
import { WorkQueue } from "./work-queue.ts";

export interface RunLoopOptions {
  /** Runs looked at at once; 8 when absent. */
  readonly parallel?: number;
  readonly backoff?: { readonly firstMs: number; readonly maxMs: number };
  /** Which runs this host is for; all when absent. A laptop's index shows the runs of other processes too. */
  readonly concerns?: (key: ObjectKey) => boolean;
}

export interface RunLoop {
  /** Look at this run now. */
  add(key: ObjectKey): void;
  /** Runs that wait for a pass. */
  readonly depth: number;
  /** Ends watching and resolves when no pass is at work; workers go on. */
  stop(): Promise<void>;
}

/**
 * A pass takes time in proportion to the rows of a run, so does the pause after it: a large run's workers, which end one by
 * one, are looked at together, and no run takes its host for itself.
 */
function restMs(rows: number): number {
  const perRowMs = 0.1;
  const mostMs = 100;
  return Math.min(mostMs, Math.floor(rows * perRowMs));
}

function rowsOf(status: ExecutionStatus | undefined): number {
  return (status?.nodes ?? []).reduce((sum, row) => sum + 1 + (row.items?.length ?? 0), 0);
}

export function runLoop(given: HostIo, options: RunLoopOptions = {}): RunLoop {
  const io: HostIo = {
    ...given,
    report(event) {
      given.report?.(event);
      if (event.kind !== "Status" || event.status.completedAt === undefined) return;
      if (given.slots.hasQueue(event.key.namespace)) void freed(event.key.namespace);
    },
  };
  const sizes = new Map<string, number>();
  /** Runs that were looked at: what is begun is ended before more is begun, else a burst is started whole before any of it ends. */
  const begun = new Set<string>();
  const journals = new Map<string, Promise<() => Promise<void>>>();
  const queue = new WorkQueue<ObjectKey>({
    clock: io.clock,
    nameOf: (key) => `${key.namespace}/${key.name}`,
    isBegun: (key) => begun.has(`${key.namespace}/${key.name}`),
    parallel: options.parallel ?? 8,
    restMs: (key) => restMs(sizes.get(`${key.namespace}/${key.name}`) ?? 0),
    backoff: options.backoff ?? { firstMs: 100, maxMs: 60_000 },
    async work(key) {
      // On a laptop every port answers at once, so passes that wake each other would keep signals, timers and exits waiting.
      await new Promise((resolve) => setImmediate(resolve));
      const startedMs = io.clock.monotonicMs();
      await follow(key);
      const dueAfterMs = await reconcile(key, io);
      io.report?.({ kind: "Passed", key, tookMs: io.clock.monotonicMs() - startedMs });
      return dueAfterMs;
    },
    onError: (key, error, retryAfterMs) => io.report?.({ kind: "Failed", key, error, retryAfterMs }),
  });

  /** Journal wake-ups are followed while a run is not over. */
  async function follow(key: ObjectKey): Promise<void> {
    const run = await io.cluster.get(key);
    const name = `${key.namespace}/${key.name}`;
    const isOver = run === undefined || run.status?.completedAt !== undefined || otherHolder(run, io) !== undefined;
    if (run === undefined) begun.delete(name);
    else begun.add(name);
    if (isOver) sizes.delete(name);
    else sizes.set(name, rowsOf(run.status));
    if (isOver) {
      const stopWatching = journals.get(name);
      journals.delete(name);
      await (await stopWatching)?.();
    } else if (!journals.has(name)) {
      const store = await io.journal(run);
      journals.set(
        name,
        store.watch(run.uid, () => queue.add(key)),
      );
      // Lossy by contract, so a failure to watch only costs time.
      journals.get(name)?.catch(() => journals.delete(name));
    }
  }

  const concerns = options.concerns ?? (() => true);

  /** A run of this namespace has ended, so it may be another's turn. */
  async function freed(namespace: string): Promise<void> {
    // Where this fails, each queued run looks again by itself.
    const waiting = await io.cluster.list(namespace).catch(() => []);
    for (const { key } of frontOf(waiting.filter((run) => otherHolder(run, io) === undefined)))
      if (concerns(key)) queue.add(key);
  }

  const unwatch = io.cluster.watch((key) => concerns(key) && queue.add(key));
  return {
    add: (key) => queue.add(key),
    get depth() {
      return queue.depth;
    },
    async stop() {
      unwatch();
      await queue.stop();
      const watching = await Promise.allSettled(journals.values());
      for (const each of watching) if (each.status === "fulfilled") await each.value();
    },
  };
}
