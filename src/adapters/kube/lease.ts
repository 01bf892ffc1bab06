/**
 * One leader among several processes, by a coordination Lease.
 *
 * L1 A leader that could not renew for two thirds of the lease stops leading before anyone else may begin.
 * L2 Whoever waits measures the lease from when it saw it change, by its own clock: clocks of machines need not agree.
 * L3 The lease is given back only after the work of the leader has ended.
 */
import type { Clock } from "../../ports/clock.ts";
import type { KubeClient } from "./client.ts";
import { isKubeError } from "./kube-error.ts";
import { type ObjectMeta, resourcePath, resources } from "./resources.ts";

export interface LeaseOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly namespace: string;
  readonly name: string;
  /** Unique per process. */
  readonly identity: string;
  /** Whole seconds; 15,000 when absent. */
  readonly leaseMs?: number;
  /** Told of each request that failed. Must not throw. */
  readonly onError?: (error: unknown) => void;
}

interface Lease {
  readonly apiVersion: "coordination.k8s.io/v1";
  readonly kind: "Lease";
  readonly metadata: Pick<ObjectMeta, "name"> & Partial<ObjectMeta>;
  readonly spec?: {
    readonly holderIdentity?: string;
    readonly leaseDurationSeconds?: number;
    readonly acquireTime?: string;
    readonly renewTime?: string;
    readonly leaseTransitions?: number;
  };
}

/** How often whoever waits looks: a lease that was given back is taken within it. */
const lookMs = 500;

/**
 * Waits to become the leader, then runs `work` until `signal` aborts or the lease is lost: the signal of `work` aborts then,
 * and `work` must end. Resolves "Stopped" (lease given back) or "Lost"; rejects with what `work` throws.
 */
export async function runAsLeader(
  options: LeaseOptions,
  work: (signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<"Stopped" | "Lost"> {
  const lease = new HeldLease(options);
  if (!(await lease.acquire(signal))) return "Stopped";
  const leading = new AbortController();
  const onStop = () => leading.abort();
  signal.addEventListener("abort", onStop, { once: true });
  if (signal.aborted) leading.abort();
  const renewing = lease.renew(leading.signal).then((outcome) => {
    leading.abort();
    return outcome;
  });
  try {
    await work(leading.signal);
  } finally {
    leading.abort();
    signal.removeEventListener("abort", onStop);
    if ((await renewing) === "Stopped") await lease.release(); // L3
  }
  return renewing;
}

class HeldLease {
  readonly #options: LeaseOptions;
  readonly #leaseMs: number;
  #seen: { readonly version: string; readonly atMs: number } | undefined;
  #held: Lease | undefined;
  #renewedMs = 0;

  constructor(options: LeaseOptions) {
    this.#options = options;
    this.#leaseMs = options.leaseMs ?? 15_000;
  }

  /** False = the signal came first. */
  async acquire(signal: AbortSignal): Promise<boolean> {
    while (!signal.aborted) {
      if (await this.#try(signal)) return true;
      await this.#options.clock.sleep(lookMs, signal).catch(() => undefined);
    }
    return false;
  }

  async renew(signal: AbortSignal): Promise<"Stopped" | "Lost"> {
    const { clock } = this.#options;
    while (!signal.aborted) {
      await clock.sleep(this.#leaseMs / 6, signal).catch(() => undefined);
      if (signal.aborted) break;
      if (await this.#try(signal)) continue;
      // Somebody else wrote the object: what it says now counts.
      if (this.#held === undefined && (await this.#try(signal))) continue;
      if (signal.aborted) break;
      if (this.#held === undefined || clock.monotonicMs() - this.#renewedMs > (this.#leaseMs * 2) / 3) return "Lost"; // L1
    }
    return "Stopped";
  }

  /** Best effort: a lease that is not given back ends by itself. */
  async release(): Promise<void> {
    if (this.#held === undefined) return;
    const { holderIdentity: _, ...spec } = this.#held.spec ?? {};
    await this.#put({ ...this.#held, spec: { ...spec, leaseDurationSeconds: 1 } }).catch((error: unknown) =>
      this.#options.onError?.(error),
    );
    this.#held = undefined;
  }

  /** Take or renew once. False = not now; `#held` is undefined once somebody else has it. */
  async #try(signal: AbortSignal): Promise<boolean> {
    const { clock, client, identity, onError } = this.#options;
    const askedMs = clock.monotonicMs();
    try {
      const current =
        this.#held ?? (await client.request<Lease>({ path: this.#path(), signal, timeoutMs: lookMs * 4 }));
      if (!this.#isFree(current)) return false;
      const isRenewal = current.spec?.holderIdentity === identity;
      this.#held = await this.#put(this.#claim(current, isRenewal), signal);
      this.#renewedMs = askedMs;
      return true;
    } catch (error) {
      if (isKubeError(error, 404)) return this.#create(askedMs);
      if (isKubeError(error, 409)) this.#held = undefined;
      else if (!signal.aborted) onError?.(error);
      return false;
    }
  }

  async #create(askedMs: number): Promise<boolean> {
    const { client, namespace, name, onError } = this.#options;
    this.#held = undefined;
    try {
      const fresh: Lease = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: { name } };
      const path = resourcePath(resources.leases, { namespace });
      this.#held = await client.request<Lease>({ method: "POST", path, body: this.#claim(fresh, false) });
      this.#renewedMs = askedMs;
      return true;
    } catch (error) {
      if (!isKubeError(error, 409)) onError?.(error);
      return false;
    }
  }

  /** Ours, given back, or not renewed for its whole time as seen from here (L2). */
  #isFree({ metadata, spec }: Lease): boolean {
    const nowMs = this.#options.clock.monotonicMs();
    if (spec?.holderIdentity === undefined || spec.holderIdentity === "") return true;
    if (spec.holderIdentity === this.#options.identity) return true;
    const version = metadata.resourceVersion ?? "";
    if (this.#seen?.version !== version) this.#seen = { version, atMs: nowMs };
    return nowMs - this.#seen.atMs > (spec.leaseDurationSeconds ?? 0) * 1_000;
  }

  #claim(current: Lease, isRenewal: boolean): Lease {
    const { clock, identity } = this.#options;
    // Microseconds, as the API asks for.
    const now = new Date(clock.nowMs()).toISOString().replace("Z", "000Z");
    const transitions = current.spec?.leaseTransitions ?? 0;
    return {
      ...current,
      spec: {
        holderIdentity: identity,
        leaseDurationSeconds: Math.ceil(this.#leaseMs / 1_000),
        acquireTime: isRenewal ? (current.spec?.acquireTime ?? now) : now,
        renewTime: now,
        leaseTransitions: isRenewal ? transitions : transitions + 1,
      },
    };
  }

  async #put(lease: Lease, signal?: AbortSignal): Promise<Lease> {
    const timeoutMs = Math.min(this.#leaseMs / 6, 5_000);
    return this.#options.client.request<Lease>({
      method: "PUT",
      path: this.#path(),
      body: lease,
      signal,
      timeoutMs,
      // A repeat of a write that was done would read as somebody else's.
      repeatable: false,
    });
  }

  #path(): string {
    const { namespace, name } = this.#options;
    return resourcePath(resources.leases, { namespace, name });
  }
}
