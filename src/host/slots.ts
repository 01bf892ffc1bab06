/** maxConcurrentExecutions: which runs of a namespace may be at work at once, first come, first served. */
import type { StoredExecution } from "../ports/cluster.ts";

/** Whose turn it is not yet. */
export interface Place {
  /** From 1. */
  readonly place: number;
  readonly waiting: number;
  readonly running: number;
}

/** So many of a queue are looked at when a run ends; the others wait for their own look. */
const frontMax = 16;

/**
 * One per host. What a cache does not show yet counts from here: of runs that are admitted at once, none is missed. Two hosts that
 * lead by mistake may admit one run too many each.
 */
export class Slots {
  readonly #admitted = new Map<string, Set<string>>();
  /** Namespaces in which a run had to wait. */
  readonly #queues = new Set<string>();

  /** Undefined = this run may start, and holds a slot until `inNamespace` shows it opened, over or gone. */
  take(run: StoredExecution, limit: number, inNamespace: readonly StoredExecution[]): Place | undefined {
    const { namespace } = run.key;
    const admitted = this.#admitted.get(namespace) ?? new Set<string>();
    const open = new Set(inNamespace.filter(isOpen).map(({ uid }) => uid));
    const unopened = new Set(inNamespace.filter((each) => !isOpen(each)).map(({ uid }) => uid));
    for (const uid of admitted) if (!unopened.has(uid)) admitted.delete(uid);
    if (admitted.has(run.uid)) return undefined;
    const queue = inNamespace.filter((each) => isQueued(each) && !admitted.has(each.uid)).sort(byAge);
    const ahead = queue.filter((each) => each.uid !== run.uid && byAge(each, run) < 0).length;
    const running = open.size + admitted.size;
    if (running + ahead < limit) {
      this.#admitted.set(namespace, admitted.add(run.uid));
      return undefined;
    }
    this.#queues.add(namespace);
    const waiting = queue.length + (queue.some(({ uid }) => uid === run.uid) ? 0 : 1);
    return { place: ahead + 1, waiting, running };
  }

  /** Whether a run that ends there may be what another one waits for. */
  hasQueue(namespace: string): boolean {
    return this.#queues.has(namespace);
  }

  /** It could not be opened after all. */
  give({ key, uid }: StoredExecution): void {
    this.#admitted.get(key.namespace)?.delete(uid);
  }
}

/** Those whose turn may have come when a run of their namespace has ended. */
export function frontOf(inNamespace: readonly StoredExecution[]): readonly StoredExecution[] {
  return inNamespace
    .filter(({ status }) => status?.phase === "Queued")
    .sort(byAge)
    .slice(0, frontMax);
}

/** Rarely, the farther back: its turn comes with the end of others, which is told to the front of the queue. */
export function lookAgainMs({ place }: Place): number {
  return Math.min(300_000, 2_000 * place);
}

function isOpen({ status }: StoredExecution): boolean {
  return status?.snapshot !== undefined && status.completedAt === undefined;
}

/** One that waits for something else, a policy or a store, keeps nobody behind it waiting. */
function isQueued(run: StoredExecution): boolean {
  if (run.deletedAtMs !== undefined || isOpen(run)) return false;
  return run.status === undefined || run.status.phase === "Queued";
}

function byAge(a: StoredExecution, b: StoredExecution): number {
  return a.createdAtMs - b.createdAtMs || (a.key.name < b.key.name ? -1 : a.key.name > b.key.name ? 1 : 0);
}
