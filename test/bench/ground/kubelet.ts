/**
 * A node whose pods are over at once: for each worker pod it writes what the worker would (claim, steps, finish, by the worker's own
 * session), then the pod's status. No process, no scheduler: what is left of an execution is the operator and the API server.
 */
import { systemClock } from "../../../src/adapters/clock/system-clock.ts";
import type { KubeClient } from "../../../src/adapters/kube/client.ts";
import { Informer } from "../../../src/adapters/kube/informer.ts";
import { isKubeError } from "../../../src/adapters/kube/kube-error.ts";
import { workerSelector } from "../../../src/adapters/kube/names.ts";
import { type KubeObject, resourcePath, resources } from "../../../src/adapters/kube/resources.ts";
import { canonicalJson } from "../../../src/core/digest/digest.ts";
import { packBody } from "../../../src/core/steps/bodies.ts";
import type { WorkerOrder } from "../../../src/ports/cluster.ts";
import type { JournalStore } from "../../../src/ports/store.ts";
import { Lease } from "../../../src/worker/lease.ts";
import type { Session } from "../../../src/worker/session.ts";
import { sessionOn } from "../../support/steps.ts";

/** Nobody renews it. */
const leaseMs = 3_600_000;

export interface SimulatedPod extends KubeObject {
  readonly spec: { readonly containers: readonly { readonly env: readonly { name: string; value?: string }[] }[] };
  readonly status?: { readonly phase?: string };
}

export interface SimulatedKubeletOptions {
  readonly client: KubeClient;
  /** Undefined = pods have no journal: only their status is written. */
  readonly store: (pod: SimulatedPod) => JournalStore | undefined;
  /** Between claim and finish. "Stays" = its pod is Running from then on. */
  readonly work?: (order: WorkerOrder, session: Session) => Promise<"Stays" | void>;
}

export class SimulatedKubelet {
  readonly #options: SimulatedKubeletOptions;
  readonly #informer: Informer<SimulatedPod>;
  readonly #taken = new Set<string>();
  readonly #stay: { readonly pod: SimulatedPod; readonly session: Session }[] = [];
  readonly errors: unknown[] = [];

  constructor(options: SimulatedKubeletOptions) {
    this.#options = options;
    this.#informer = new Informer<SimulatedPod>({
      client: options.client,
      clock: systemClock,
      resource: resources.pods,
      labelSelector: workerSelector,
      // It acts once on what it is shown and keeps nothing else.
      trim: (pod) => (this.#taken.has(pod.metadata.uid) ? { ...pod, spec: { containers: [] }, status: {} } : pod),
    });
    this.#informer.onChange(({ type, object }) => {
      const { uid } = object.metadata;
      if (type === "Deleted") this.#taken.delete(uid);
      else if (object.metadata.deletionTimestamp !== undefined) this.#do(this.#remove(object));
      else if (!this.#taken.has(uid) && (object.status?.phase ?? "Pending") === "Pending") {
        this.#taken.add(uid);
        this.#do(this.#run(object));
      }
    });
  }

  async start(): Promise<void> {
    this.#informer.start();
    await this.#informer.synced;
  }

  stop(): Promise<void> {
    return this.#informer.stop();
  }

  /** Pods that stay. */
  get staying(): number {
    return this.#stay.length;
  }

  async finishAll(): Promise<void> {
    for (const { pod, session } of this.#stay.splice(0)) {
      await finish(session);
      await this.#report(pod, "Succeeded", ended());
    }
  }

  #do(work: Promise<void>): void {
    work.catch((error: unknown) => isKubeError(error, 404) || this.errors.push(error));
  }

  async #run(pod: SimulatedPod): Promise<void> {
    const store = this.#options.store(pod);
    if (store !== undefined) {
      const text = pod.spec.containers[0]?.env.find(({ name }) => name === "OAO_ORDER")?.value ?? "";
      const order = JSON.parse(text) as WorkerOrder;
      const { node, item, attempt, phase, known } = order;
      const key = item === undefined ? { node } : { node, item };
      const lease = new Lease(leaseMs, 1_000, systemClock);
      const session = sessionOn(store, order.uid, key, { attempt, try: order.try, phase, known, lease });
      await session.claim();
      if ((await this.#options.work?.(order, session)) === "Stays") {
        this.#stay.push({ pod, session });
        return this.#report(pod, "Running", { running: { startedAt: new Date().toISOString() } });
      }
      await finish(session);
    }
    return this.#report(pod, "Succeeded", ended());
  }

  async #report({ metadata }: SimulatedPod, phase: string, state: object): Promise<void> {
    const { name, namespace, uid } = metadata;
    const worker = { name: "worker", image: "oao-worker:bench", imageID: "", ready: false, restartCount: 0, state };
    const path = resourcePath(resources.pods, { namespace, name, subresource: "status" });
    const body = { metadata: { uid }, status: { phase, containerStatuses: [worker] } };
    await this.#options.client.request({ method: "PATCH", patch: "Merge", path, body });
  }

  async #remove({ metadata: { name, namespace, uid } }: SimulatedPod): Promise<void> {
    const path = resourcePath(resources.pods, { namespace, name });
    await this.#options.client.request({
      method: "DELETE",
      path,
      body: { gracePeriodSeconds: 0, preconditions: { uid } },
    });
  }
}

function ended(): object {
  const at = new Date().toISOString();
  return { terminated: { exitCode: 0, reason: "Completed", startedAt: at, finishedAt: at } };
}

async function finish(session: Session): Promise<void> {
  const { digest, bodies } = packBody({ found: true });
  const { attempt } = session.identity;
  const at = new Date().toISOString();
  await session.finish(
    [{ type: "finish", attempt, try: 1, outcome: "Succeeded", output: { body: digest }, error: null, at }],
    bodies,
    canonicalJson({ outcome: "Succeeded", output: digest, error: null }),
  );
}
