/**
 * The lease and the stop signal of one attempt: a heartbeat each second, at once when the store says that something
 * changed, and the one AbortSignal that ends every call of this process.
 */
import { FencedError, OaoError, StoppedError } from "../core/errors/errors.ts";
import type { Control, NodeKey, Wake } from "../core/protocol/types.ts";
import type { Clock } from "../ports/clock.ts";
import type { JournalStore } from "../ports/store.ts";
import type { Lease } from "./lease.ts";

export interface LifelineOptions {
  readonly store: JournalStore;
  readonly clock: Clock;
  readonly uid: string;
  readonly identity: NodeKey & { attempt: number; claimId: string };
  readonly phase: "Main" | "Finally";
  readonly lease: Lease;
  readonly heartbeatIntervalMs: number;
  /** After Suspended, calls in flight may end by themselves for this long. */
  readonly suspendGraceMs: number;
  live(): string;
}

/** A waiter for a sibling's settle looks again after this long even if no wake-up came (they are lossy). */
const settleWaitMs = 250;
const askBeforeLeavingMs = 300;

export class Lifeline {
  readonly #options: LifelineOptions;
  readonly #stop = new AbortController();
  #wakers: (() => void)[] = [];
  #settleWaiters: (() => void)[] = [];
  #renewedAtMs: number;
  #suspendedAtMs: number | undefined;
  #revision = 0;
  #ended = false;

  constructor(options: LifelineOptions) {
    this.#options = options;
    this.#renewedAtMs = options.clock.monotonicMs();
  }

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** Watch and beat until `end`. Returns when the first subscription stands. */
  async start(): Promise<() => Promise<void>> {
    const unwatch = await this.#options.store.watch(this.#options.uid, (wake) => this.#woken(wake));
    const beating = this.#beat();
    return async () => {
      this.#ended = true;
      this.#wake();
      await beating;
      await unwatch();
    };
  }

  /** The process is asked to end: calls stop, what is in flight is made again by the next attempt. */
  terminate(reason: string): void {
    // The host may have ended the run for a reason that the cut calls must carry: ask before leaving, but not for long.
    const asked = Promise.race([this.#renew(), this.#options.clock.sleep(askBeforeLeavingMs)]);
    void asked.finally(() => this.#abort(new StoppedError("Terminated", reason)));
  }

  /** Resolves after a sibling's settle or a short while. Rejects when stopped. */
  async settled(): Promise<void> {
    this.#stop.signal.throwIfAborted();
    const waiting = new AbortController();
    const woken = new Promise<void>((resolve) => this.#settleWaiters.push(resolve));
    const timer = this.#options.clock.sleep(settleWaitMs, AbortSignal.any([waiting.signal, this.#stop.signal]));
    await Promise.race([woken, timer.catch(() => undefined)]);
    waiting.abort();
    this.#stop.signal.throwIfAborted();
  }

  /** Also called with the control of every command's reply: whoever learns first acts. */
  observe(control: Control): void {
    const { phase, clock } = this.#options;
    // A repeated reply carries the control of its first time.
    if (control.revision < this.#revision) return;
    this.#revision = control.revision;
    if (control.state === "Cancelled" || control.state === "Violated")
      this.#abort(new StoppedError(control.state, control.message));
    if (control.state === "Finalizing" && phase === "Main") this.#abort(new StoppedError("Cancelled", control.message));
    if (control.state === "Suspended") this.#suspendedAtMs ??= clock.monotonicMs();
    else this.#suspendedAtMs = undefined;
  }

  #woken(wake: Wake): void {
    for (const resolve of this.#settleWaiters.splice(0)) resolve();
    if (wake === "control") this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#wakers.splice(0)) resolve();
  }

  async #beat(): Promise<void> {
    let renewing: Promise<void> | undefined;
    while (!this.#ended) {
      // One in flight, and waited for no longer than a beat: a store that hangs must not stop the clock of the lease.
      renewing ??= this.#renew().finally(() => {
        renewing = undefined;
      });
      const woken = new Promise<void>((resolve) => this.#wakers.push(resolve));
      const answered = await this.#endsInABeat(renewing);
      this.#enforceDeadlines();
      if (answered && !this.#ended) await this.#endsInABeat(woken);
    }
  }

  /** False = a beat went by first. */
  async #endsInABeat(awaited: Promise<void>): Promise<boolean> {
    const { clock, heartbeatIntervalMs } = this.#options;
    const waiting = new AbortController();
    const beat = clock.sleep(heartbeatIntervalMs, waiting.signal).then(
      () => false,
      () => false,
    );
    const ended = await Promise.race([awaited.then(() => true), beat]);
    waiting.abort();
    return ended;
  }

  async #renew(): Promise<void> {
    const { store, uid, identity, lease, clock } = this.#options;
    try {
      const sentAtMs = clock.monotonicMs();
      const live = this.#options.live();
      const reply = await store.execute(uid, { op: "heartbeat", ...identity, live, leaseTtlMs: lease.ttlMs });
      if (reply.code === "OK") {
        this.#renewedAtMs = sentAtMs;
        this.observe(reply.control);
      }
      if (reply.code === "FENCED") this.#abort(new FencedError(reply.attempt));
      // RECLAIM and NOT_OPEN: the store was rolled back; the session's next command heals or ends it.
    } catch {
      // The store is away: the lease decides below.
    }
  }

  #enforceDeadlines(): void {
    const { clock, lease, heartbeatIntervalMs, suspendGraceMs } = this.#options;
    const leaseTtlMs = lease.ttlMs;
    const now = clock.monotonicMs();
    if (now - this.#renewedAtMs > leaseTtlMs - 2 * heartbeatIntervalMs) {
      this.#abort(
        new OaoError(
          "OAO_LEASE_LOST",
          `the journal store could not be reached for ${Math.round(now - this.#renewedAtMs)} ms; calls ended before the lease of ${leaseTtlMs} ms ran out`,
        ),
      );
    }
    if (this.#suspendedAtMs !== undefined && now - this.#suspendedAtMs > suspendGraceMs)
      this.#abort(new StoppedError("Suspended", "suspended"));
  }

  #abort(reason: Error): void {
    if (!this.#stop.signal.aborted) this.#stop.abort(reason);
    for (const resolve of this.#settleWaiters.splice(0)) resolve();
  }
}
