/**
 * Which pods belong to which run, how those ended that are gone (a deleted pod takes its exit code with it), and why those are not
 * there that the API server refused.
 */
import type { ObjectKey, WorkerView } from "../../ports/cluster.ts";
import type { Change } from "./informer.ts";
import { podLabels } from "./names.ts";
import { workerView, type WorkerPod } from "./worker-view.ts";

/** Ends that are kept over all runs; the run with the oldest loses its own first, and leases say what is over then. */
const endedMax = 10_000;

export class Workers {
  /** Pods that exist: by run, by name. */
  readonly #pods = new Map<string, Map<string, WorkerPod>>();
  /** Ends of pods that do not: by run, by name, in their order. */
  readonly #ends = new Map<string, Map<string, WorkerView>>();
  #endCount = 0;
  /** Pods that the API server does not take as yet: by run, by name. */
  readonly #refusals = new Map<string, Map<string, { readonly key: ObjectKey; readonly view: WorkerView }>>();

  /** The run that a change belongs to; undefined = none of ours. */
  take({ type, object }: Change<WorkerPod>): ObjectKey | undefined {
    const uid = object.metadata.labels?.[podLabels.uid];
    // Only what the run owns: labels alone could be copied onto any pod.
    const owner = object.metadata.ownerReferences?.find((each) => each.uid === uid && each.kind === "Execution");
    if (uid === undefined || owner === undefined) return undefined;
    const { name, namespace = "" } = object.metadata;
    const pods = this.#pods.get(uid) ?? new Map<string, WorkerPod>();
    if (type === "Deleted") {
      pods.delete(name);
      this.#keepEnd(uid, object);
    } else {
      pods.set(name, object);
      this.dropRefusal(uid, name);
    }
    if (pods.size === 0) this.#pods.delete(uid);
    else this.#pods.set(uid, pods);
    return { namespace, name: owner.name };
  }

  pod(uid: string, name: string): WorkerPod | undefined {
    return this.#pods.get(uid)?.get(name);
  }

  /** Whether a pod of this name is there, or ended and went. */
  isKnown(uid: string, name: string): boolean {
    return this.pod(uid, name) !== undefined || this.#ends.get(uid)?.has(name) === true;
  }

  of(uid: string): WorkerView[] {
    const living = [...(this.#pods.get(uid)?.values() ?? [])].flatMap((pod) => workerView(pod) ?? []);
    const refused = [...(this.#refusals.get(uid)?.values() ?? [])].map(({ view }) => view);
    return [...(this.#ends.get(uid)?.values() ?? []), ...living, ...refused];
  }

  /** Whether that is news. */
  refuse(key: ObjectKey, uid: string, name: string, view: WorkerView): boolean {
    const refusals = this.#refusals.get(uid) ?? new Map();
    const isNew = refusals.get(name)?.view.detail !== view.detail;
    this.#refusals.set(uid, refusals.set(name, { key, view }));
    return isNew;
  }

  /** Nobody asks for that pod any more, or it is there. The run of it, if it was refused. */
  dropRefusal(uid: string, name: string): ObjectKey | undefined {
    const refusals = this.#refusals.get(uid);
    const key = refusals?.get(name)?.key;
    refusals?.delete(name);
    if (refusals?.size === 0) this.#refusals.delete(uid);
    return key;
  }

  /** The run is gone. */
  forget(uid: string): void {
    this.#forgetEnds(uid);
    this.#refusals.delete(uid);
  }

  #forgetEnds(uid: string): void {
    this.#endCount -= this.#ends.get(uid)?.size ?? 0;
    this.#ends.delete(uid);
  }

  #keepEnd(uid: string, pod: WorkerPod): void {
    const view = workerView(pod);
    // One that was not seen to end may still be at work: its lease says when it is not.
    if (view?.state !== "Exited") return;
    const ends = this.#ends.get(uid) ?? new Map<string, WorkerView>();
    if (!ends.has(pod.metadata.name)) this.#endCount += 1;
    this.#ends.set(uid, ends.set(pod.metadata.name, view));
    const [oldest] = this.#ends.keys();
    if (this.#endCount > endedMax && oldest !== undefined) this.#forgetEnds(oldest);
  }
}
