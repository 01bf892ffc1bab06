/** What the API server holds of executions, policies and worker pods, in caches, and who is told of changes. */
import type { Clock } from "../../ports/clock.ts";
import type { ObjectKey, StoredExecution, StoredPolicy, WorkerView } from "../../ports/cluster.ts";
import { Cache } from "./caches.ts";
import type { KubeClient } from "./client.ts";
import type { InformerOptions } from "./informer.ts";
import type { KubeError } from "./kube-error.ts";
import { workerSelector } from "./names.ts";
import { type KubeObject, resources } from "./resources.ts";
import {
  type KubeExecution,
  type KubePolicy,
  storedExecution,
  storedPolicy,
  trimExecution,
  trimPolicy,
} from "./stored.ts";
import { trimPod, type WorkerPod } from "./worker-view.ts";
import { Workers } from "./workers.ts";

export interface ObservedOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  /** Empty = all of them. */
  readonly namespaces: readonly string[];
  /** Told of each watch that began again after an error. Must not throw. */
  readonly onWatchRestart?: (resource: string, error: KubeError) => void;
  /** The informers' own when absent. */
  readonly watch?: Pick<InformerOptions<KubeObject>, "watchSeconds" | "silenceMs" | "backoff">;
}

/** Executions may be large; pages of them are not. */
const executionPageSize = 50;

export class Observed {
  readonly executions: Cache<KubeExecution>;
  readonly pods: Cache<WorkerPod>;
  readonly workers = new Workers();
  readonly #policies: Cache<KubePolicy>;
  readonly #parsed = new WeakMap<KubePolicy, StoredPolicy>();
  readonly #listeners = new Set<(key: ObjectKey) => void>();
  readonly #namespaces: readonly string[];
  /** Those that the API server does not let us read, or that are not there. */
  readonly #refused: ReadonlyMap<string, PromiseWithResolvers<void>>;
  /** Those whose caches hold everything: of others nothing is shown, so that nothing is decided on half of it. */
  readonly #ready = new Set<string>();

  constructor({ client, clock, namespaces, onWatchRestart, watch }: ObservedOptions) {
    this.#namespaces = namespaces.length === 0 ? [""] : namespaces;
    this.#refused = new Map(this.#namespaces.map((namespace) => [namespace, Promise.withResolvers<void>()]));
    const common = (resource: keyof typeof resources) => ({
      client,
      clock,
      resource: resources[resource],
      onRestart: (error: KubeError, namespace: string) => {
        if (error.status === 403 || error.status === 404) this.#refused.get(namespace)?.resolve();
        onWatchRestart?.(resource, error);
      },
      ...watch,
    });
    this.executions = new Cache(namespaces, {
      ...common("executions"),
      trim: trimExecution,
      pageSize: executionPageSize,
    });
    this.#policies = new Cache(namespaces, { ...common("policies"), trim: trimPolicy });
    this.pods = new Cache(namespaces, { ...common("pods"), trim: trimPod, labelSelector: workerSelector });
    this.#follow();
  }

  /**
   * Resolves when the caches hold everything but of namespaces that may not be read (S1: one that is gone keeps no other waiting);
   * those join once they may. Waits as long as the API server is away.
   */
  async start(): Promise<void> {
    for (const cache of this.#all()) cache.start();
    await Promise.all(
      this.#namespaces.map(async (namespace) => {
        const ready = Promise.all(this.#all().map((cache) => cache.synced(namespace))).then(() =>
          this.#join(namespace),
        );
        await Promise.race([ready, this.#refused.get(namespace)?.promise]);
      }),
    );
  }

  #join(namespace: string): void {
    this.#ready.add(namespace);
    for (const { metadata } of this.executions.values())
      if (namespace === "" || metadata.namespace === namespace)
        this.#tell({ namespace: metadata.namespace ?? "", name: metadata.name });
  }

  isReady(namespace: string): boolean {
    return this.#ready.has("") || this.#ready.has(namespace);
  }

  async stop(): Promise<void> {
    this.#listeners.clear();
    await Promise.all(this.#all().map((cache) => cache.stop()));
  }

  get watchRestarts(): number {
    return this.#all().reduce((sum, cache) => sum + cache.restarts, 0);
  }

  get silentMs(): number {
    return Math.max(...this.#all().map((cache) => cache.silentMs));
  }

  run(key: ObjectKey): StoredExecution | undefined {
    const found = this.isReady(key.namespace) ? this.executions.get(key.namespace, key.name) : undefined;
    return found && storedExecution(found);
  }

  /** By name. */
  policies(namespace: string): StoredPolicy[] {
    const found = [...this.#policies.in(namespace)].map((object) => this.#policy(object));
    return found.sort((a, b) => (String(a.metadata.name) < String(b.metadata.name) ? -1 : 1));
  }

  /** Every policy, with the reading of it. */
  *allPolicies(): Generator<{ readonly object: KubePolicy; readonly stored: StoredPolicy }> {
    for (const object of this.#policies.values()) yield { object, stored: this.#policy(object) };
  }

  /** Undefined = gone. */
  policy({ namespace, name }: ObjectKey): { readonly object: KubePolicy; readonly stored: StoredPolicy } | undefined {
    const object = this.#policies.get(namespace, name);
    return object && { object, stored: this.#policy(object) };
  }

  /** As long as the caches live. */
  watchPolicies(listener: (key: ObjectKey) => void): void {
    this.#policies.onChange(({ object: { metadata } }) =>
      listener({ namespace: metadata.namespace ?? "", name: metadata.name }),
    );
  }

  watch(listener: (key: ObjectKey) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** A pod that is refused, or that nobody wants any more after that, leaves no event behind: the run is told here, of news only. */
  refuse(key: ObjectKey, uid: string, name: string, view: WorkerView): void {
    if (this.workers.refuse(key, uid, name, view)) this.#tell(key);
  }

  dropRefusal(uid: string, name: string): void {
    const key = this.workers.dropRefusal(uid, name);
    if (key !== undefined) this.#tell(key);
  }

  #all(): readonly (Cache<KubeExecution> | Cache<KubePolicy> | Cache<WorkerPod>)[] {
    return [this.executions, this.#policies, this.pods];
  }

  #follow(): void {
    this.executions.onChange(({ type, object }) => {
      if (type === "Deleted") this.workers.forget(object.metadata.uid);
      this.#tell(storedExecution(object).key);
    });
    this.pods.onChange((change) => {
      const key = this.workers.take(change);
      if (key !== undefined) this.#tell(key);
    });
    // Runs that were not opened yet may have waited for it; the others keep their snapshot (G2).
    this.#policies.onChange(({ object }) => {
      for (const { metadata, status } of this.executions.in(object.metadata.namespace ?? "")) {
        if (status?.snapshot === undefined && status?.completedAt === undefined)
          this.#tell({ namespace: metadata.namespace ?? "", name: metadata.name });
      }
    });
  }

  #tell(key: ObjectKey): void {
    if (this.isReady(key.namespace)) for (const listener of this.#listeners) listener(key);
  }

  #policy(object: KubePolicy): StoredPolicy {
    const known = this.#parsed.get(object) ?? storedPolicy(object);
    this.#parsed.set(object, known);
    return known;
  }
}
