/** The Cluster port on Kubernetes: objects, policies and pods from caches that own writes enter at once. */
import type { V1Pod } from "@kubernetes/client-node";
import { apiVersion, approvalPrefix } from "../../api/common.ts";
import type { ExecutionStatus } from "../../api/status.ts";
import type { Snapshot } from "../../core/steps/format.ts";
import type {
  Cluster,
  ObjectKey,
  StoredExecution,
  StoredPolicy,
  WorkerOrder,
  WorkerView,
} from "../../ports/cluster.ts";
import { Conflict } from "../../ports/cluster-errors.ts";
import type { KubeClient, KubeRequest } from "./client.ts";
import { isKubeError } from "./kube-error.ts";
import { finalizer, heldBy, notHeld, podName, secretName } from "./names.ts";
import { Observed, type ObservedOptions } from "./observed.ts";
import { ownerReference, type PodSettings, storeCaKey, storePasswordKey, workerPod } from "./pod.ts";
import { defaultResources, type PodResources } from "./pod-resources.ts";
import { resourcePath, resources } from "./resources.ts";
import { type KubeExecution, storedExecution } from "./stored.ts";
import { detailLengthMax, lacksSomething, type WorkerPod } from "./worker-view.ts";

export interface KubeClusterOptions extends ObservedOptions {
  readonly workerImage: string;
  /** The journal store as pods see it, without credentials. */
  readonly storeUrl: string;
  /** Certificate authority of the store, PEM. */
  readonly storeCa?: string | undefined;
  /** Addresses that tools must not reach; none when absent. */
  readonly denyCidrs?: readonly string[];
  /** Of pods whose node does not say; defaultResources when absent. */
  readonly resources?: PodResources;
  /** 10,000 when absent. */
  readonly leaseTtlMs?: number;
  /** Between SIGTERM and SIGKILL of a pod, whoever ends it; 15,000 when absent. */
  readonly stopGraceMs?: number;
  /** The run's own user at the journal store, made if it is not there. */
  readonly credentials: {
    ensure(run: StoredExecution, snapshot: Snapshot): Promise<{ readonly user: string; readonly password: string }>;
  };
  /** What the run was opened with: the object alone does not say what it inherits. Undefined = gone. */
  readonly snapshot: (run: StoredExecution, digest: string) => Promise<Snapshot | undefined>;
}

/** In config/admission. */
const approvalPolicy = "approvals.oao.dev";

export class KubeCluster implements Cluster {
  readonly listsAll = false;
  readonly #options: KubeClusterOptions;
  readonly #client: KubeClient;
  readonly #pods: PodSettings;
  readonly #observed: Observed;
  /** Runs whose Secret is there; forgotten with the run. */
  readonly #secretsMade = new Set<string>();

  constructor(options: KubeClusterOptions) {
    this.#options = options;
    this.#client = options.client;
    this.#pods = {
      workerImage: options.workerImage,
      storeUrl: options.storeUrl,
      hasStoreCa: options.storeCa !== undefined,
      denyCidrs: options.denyCidrs ?? [],
      resources: options.resources ?? defaultResources,
      leaseTtlMs: options.leaseTtlMs ?? 10_000,
      graceSeconds: Math.ceil((options.stopGraceMs ?? 15_000) / 1_000),
    };
    this.#observed = new Observed(options);
    this.#observed.executions.onChange(({ type, object }) => {
      if (type === "Deleted") this.#secretsMade.delete(object.metadata.uid);
    });
  }

  /** Resolves when the caches hold everything that may be read. Waits as long as the API server is away. */
  start(): Promise<void> {
    return this.#observed.start();
  }

  stop(): Promise<void> {
    return this.#observed.stop();
  }

  get watchRestarts(): number {
    return this.#observed.watchRestarts;
  }

  /** How long the API server has not been heard on some watch, milliseconds: more than 60,000 means that caches are old. */
  get silentMs(): number {
    return this.#observed.silentMs;
  }

  /** Policies as the caches hold them, for whoever writes their status. */
  get policyObjects(): Pick<Observed, "policy" | "allPolicies" | "watchPolicies"> {
    return this.#observed;
  }

  /** Of the run as the caches hold it; undefined = gone. */
  uidOf(key: ObjectKey): string | undefined {
    return this.#observed.run(key)?.uid;
  }

  /** All that the caches hold, over or not. */
  *executions(): Generator<StoredExecution> {
    for (const object of this.#observed.executions.values())
      if (this.#observed.isReady(object.metadata.namespace ?? "")) yield storedExecution(object);
  }

  async get(key: ObjectKey): Promise<StoredExecution | undefined> {
    return this.#observed.run(key);
  }

  async list(namespace: string): Promise<readonly StoredExecution[]> {
    return [...this.#observed.executions.in(namespace)]
      .filter(({ status }) => status?.completedAt === undefined)
      .map(storedExecution);
  }

  async policies(namespace: string): Promise<readonly StoredPolicy[]> {
    return this.#observed.policies(namespace);
  }

  async writeStatus(
    { key, uid, resourceVersion }: Pick<StoredExecution, "key" | "uid" | "resourceVersion">,
    status: ExecutionStatus,
  ): Promise<string> {
    const metadata = { ...key, uid, resourceVersion };
    const body = { apiVersion, kind: "Execution", metadata, status };
    const written = await this.#write(key, {
      method: "PUT",
      path: resourcePath(resources.executions, { ...key, subresource: "status" }),
      body,
    });
    return written.metadata.resourceVersion;
  }

  async workers(uid: string): Promise<readonly WorkerView[]> {
    return this.#observed.workers.of(uid);
  }

  async startWorker(order: WorkerOrder): Promise<void> {
    const run = await this.get(order.key);
    if (run?.uid !== order.uid || run.deletedAtMs !== undefined) return; // deleted meanwhile
    const name = podName(order.uid, order, order.attempt);
    const isKnown = this.#observed.workers.isKnown(order.uid, name); // P2
    if (isKnown && !lacksSomething(this.#observed.workers.pod(order.uid, name))) return;
    const { credentials, snapshot: snapshotOf } = this.#options;
    const snapshot = await snapshotOf(run, order.snapshot);
    if (snapshot === undefined) throw new Error(`the snapshot ${order.snapshot} of ${nameOf(run.key)} is gone`);
    const { user, password } = await credentials.ensure(run, snapshot);
    // Somebody may have deleted it, and nobody else can make it again.
    if (isKnown) this.#secretsMade.delete(run.uid);
    try {
      await this.#ensureSecret(run, password);
      if (!isKnown) await this.#makePod(run, workerPod(run, order, snapshot, user, this.#pods));
    } catch (error) {
      // Quotas and admission policies are other people's to change, and the spec's own fields may be what they refuse.
      if (!isKubeError(error, 403) && !isKubeError(error, 422)) throw error;
      const { node, item, attempt } = order;
      const key = item === undefined ? { node } : { node, item };
      const detail = (error.refusal?.said ?? error.message).slice(0, detailLengthMax);
      const view = { ...key, attempt, state: "Starting", failure: "PodRefused", detail } as const;
      this.#observed.refuse(run.key, run.uid, name, view);
    }
  }

  async #makePod(run: StoredExecution, body: V1Pod): Promise<void> {
    const path = resourcePath(resources.pods, { namespace: run.key.namespace });
    try {
      this.#observed.pods.remember(
        await this.#client.request<WorkerPod>({ method: "POST", path, body, repeatable: true }),
      );
    } catch (error) {
      if (!isKubeError(error, 409, "AlreadyExists")) throw error;
    }
  }

  async stopWorker(uid: string, worker: WorkerView, graceMs: number): Promise<void> {
    const pod = this.#observed.workers.pod(uid, podName(uid, worker, worker.attempt));
    if (pod === undefined) this.#observed.dropRefusal(uid, podName(uid, worker, worker.attempt));
    // A pod that is already being deleted has been told; it can only be given less time.
    if (pod === undefined || (pod.metadata.deletionTimestamp !== undefined && graceMs > 0)) return;
    const { name, namespace, uid: podUid } = pod.metadata;
    // With 0 the object would go before the kubelet has ended the process, and nobody would know when it did.
    const gracePeriodSeconds = Math.max(1, Math.ceil(graceMs / 1_000));
    const body = { gracePeriodSeconds, preconditions: { uid: podUid } };
    await this.#delete(resourcePath(resources.pods, { namespace, name }), body);
  }

  async hold(run: StoredExecution, operator?: string): Promise<StoredExecution> {
    const held = finalizersOf(run);
    const isNamed = operator === undefined || (run.status?.operator ?? run.heldBy) !== undefined;
    if ((held.includes(finalizer) && isNamed) || run.deletedAtMs !== undefined) return run;
    const finalizers = [...new Set([...held, finalizer])];
    return storedExecution(await this.#setFinalizers(run, finalizers, heldBy(run.uid, operator)));
  }

  async release(run: StoredExecution): Promise<void> {
    const held = finalizersOf(run);
    if (!held.includes(finalizer)) return;
    await this.#setFinalizers(
      run,
      held.filter((each) => each !== finalizer),
      run.heldBy === undefined ? {} : notHeld,
    ).catch((error: unknown) => {
      if (!isKubeError(error, 404)) throw error;
    });
  }

  async remove(run: StoredExecution): Promise<void> {
    const body = { preconditions: { uid: run.uid }, propagationPolicy: "Background" };
    await this.#delete(resourcePath(resources.executions, run.key), body);
  }

  /**
   * The admission policy is there when it refuses an answer under a foreign name: tried without effect, on this very object, so
   * that no right to read cluster-wide objects is needed.
   */
  async provesApprovals({ key }: StoredExecution): Promise<boolean> {
    const path = resourcePath(resources.executions, key);
    const annotations = { [`${approvalPrefix}${this.#options.clock.uuid()}`]: "Approve:nobody" };
    try {
      const query = { dryRun: "All" };
      await this.#client.request({ method: "PATCH", patch: "Merge", path, query, body: { metadata: { annotations } } });
      return false;
    } catch (error) {
      // Whatever else refuses it proves nothing.
      if (isKubeError(error, 403) || isKubeError(error, 422))
        return error.message.includes(`ValidatingAdmissionPolicy '${approvalPolicy}'`);
      throw error;
    }
  }

  watch(listener: (key: ObjectKey) => void): () => void {
    return this.#observed.watch(listener);
  }

  /** Owned by the run and never read back: the right to create is enough. */
  async #ensureSecret(run: StoredExecution, password: string): Promise<void> {
    if (this.#secretsMade.has(run.uid)) return;
    const { storeCa } = this.#options;
    const body = {
      apiVersion: "v1",
      kind: "Secret",
      type: "Opaque",
      metadata: { name: secretName(run.uid), ownerReferences: [ownerReference(run)] },
      stringData: { [storePasswordKey]: password, ...(storeCa === undefined ? {} : { [storeCaKey]: storeCa }) },
    };
    const path = resourcePath(resources.secrets, { namespace: run.key.namespace });
    await this.#client.request({ method: "POST", path, body, repeatable: true }).catch((error: unknown) => {
      if (!isKubeError(error, 409, "AlreadyExists")) throw error;
    });
    this.#secretsMade.add(run.uid);
  }

  /** The version keeps a list that somebody else changed meanwhile from being overwritten. */
  async #setFinalizers(
    { key, resourceVersion }: StoredExecution,
    finalizers: readonly string[],
    annotations: Readonly<Record<string, string | null>>,
  ): Promise<KubeExecution> {
    const path = resourcePath(resources.executions, key);
    return this.#write(key, {
      method: "PATCH",
      patch: "Merge",
      path,
      body: { metadata: { resourceVersion, finalizers, annotations } },
    });
  }

  async #write(key: ObjectKey, request: KubeRequest): Promise<KubeExecution> {
    try {
      const written = await this.#client.request<KubeExecution>(request);
      this.#observed.executions.remember(written);
      return written;
    } catch (error) {
      if (!isKubeError(error, 409) && !(isKubeError(error, 404) && request.method === "PUT")) throw error;
      throw new Conflict(`Execution ${nameOf(key)} is not as it was seen: ${error.message}`);
    }
  }

  /** Gone, or another object of the name: nothing to delete. */
  async #delete(path: string, body: unknown): Promise<void> {
    await this.#client.request({ method: "DELETE", path, body }).catch((error: unknown) => {
      if (!isKubeError(error, 404) && !isKubeError(error, 409)) throw error;
    });
  }
}

function finalizersOf(run: StoredExecution): readonly string[] {
  const { finalizers } = run.object.metadata as { readonly finalizers?: readonly string[] };
  return finalizers ?? [];
}

function nameOf({ namespace, name }: ObjectKey): string {
  return `${namespace}/${name}`;
}
