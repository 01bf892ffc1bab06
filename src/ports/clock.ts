/** The only source of time and randomness outside core. */
export interface Clock {
  /** Wall clock, milliseconds since the epoch. For people and retention, never for order (J1). */
  nowMs(): number;
  /** Monotonic, milliseconds. For leases, timeouts and delays. */
  monotonicMs(): number;
  /** Resolves after `ms`, rejects with the signal's reason when it aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  uuid(): string;
  /** In [0, 1). */
  random(): number;
}
