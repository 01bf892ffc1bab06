/** What a pod says about its worker. Pure. */
import { workerExitCodes, workerExitOf } from "../../api/exit-codes.ts";
import type { WorkerFailure, WorkerView } from "../../ports/cluster.ts";
import { podLabels } from "./names.ts";
import type { KubeObject } from "./resources.ts";

/** What is read of a pod; kept in the cache, and nothing else. */
export interface WorkerPod extends KubeObject {
  readonly status?: {
    readonly phase?: string;
    readonly reason?: string;
    readonly message?: string;
    readonly conditions?: readonly PodCondition[];
    readonly containerStatuses?: readonly { readonly name: string; readonly state?: ContainerState }[];
  };
}

interface PodCondition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
  readonly lastTransitionTime?: string;
}

interface ContainerState {
  readonly waiting?: { readonly reason?: string; readonly message?: string };
  readonly running?: object;
  readonly terminated?: {
    readonly exitCode: number;
    readonly signal?: number;
    readonly reason?: string;
    readonly message?: string;
  };
}

/** By the reason a container waits for. Others (ContainerCreating, PodInitializing) are the ordinary way to a start. */
const waitingFailures = new Map<string | undefined, WorkerFailure>(
  Object.entries<WorkerFailure>({
    ErrImagePull: "ImagePullFailed",
    ImagePullBackOff: "ImagePullFailed",
    ErrImageNeverPull: "ImagePullFailed",
    ImageInspectError: "ImagePullFailed",
    RegistryUnavailable: "ImagePullFailed",
    InvalidImageName: "BadConfig",
    CreateContainerConfigError: "BadConfig",
    CreateContainerError: "BadConfig",
    RunContainerError: "BadConfig",
  }),
);

/** By the reason of the pod, of its DisruptionTarget condition, or of its container's end. */
const endFailures = new Map<string | undefined, WorkerFailure>(
  Object.entries<WorkerFailure>({
    OOMKilled: "OOMKilled",
    Evicted: "Evicted",
    Preempting: "Evicted",
    PreemptionByScheduler: "Evicted",
    TerminationByKubelet: "Evicted",
    EvictionByEvictionAPI: "Evicted",
    Terminated: "Evicted",
    NodeShutdown: "Evicted",
    NodeAffinity: "Evicted",
    OutOfcpu: "Evicted",
    OutOfmemory: "Evicted",
    OutOfpods: "Evicted",
    UnexpectedAdmissionError: "Evicted",
    DeletionByTaintManager: "NodeLost",
    DeletionByPodGC: "NodeLost",
    NodeLost: "NodeLost",
    DeadlineExceeded: "DeadlineExceeded",
    StartError: "BadConfig",
    ContainerCannotRun: "BadConfig",
  }),
);

const ownCodes: ReadonlySet<number> = new Set(Object.values(workerExitCodes));
export const detailLengthMax = 300;

/** Undefined = no worker pod of ours: its labels do not say which attempt it is. */
export function workerView(pod: WorkerPod): WorkerView | undefined {
  const { labels } = pod.metadata;
  const node = labels?.[podLabels.node];
  const attempt = wholeNumber(labels?.[podLabels.attempt]);
  const itemLabel = labels?.[podLabels.item];
  const item = wholeNumber(itemLabel);
  if (node === undefined || attempt === undefined || (itemLabel !== undefined && item === undefined)) return undefined;
  return { node, ...(item === undefined ? {} : { item }), attempt, ...stateOf(pod) };
}

type ViewState = Omit<WorkerView, "node" | "item" | "attempt">;

function stateOf(pod: WorkerPod): ViewState {
  const { status } = pod;
  const state = status?.containerStatuses?.find(({ name }) => name === "worker")?.state;
  const disruption = conditionOf(status, "DisruptionTarget");
  const disrupted = disruption?.status === "True" ? disruption : undefined;
  if (state?.terminated !== undefined) return ended(state.terminated, status, disrupted);
  if (status?.phase === "Failed" || status?.phase === "Succeeded") {
    const reason = status.reason ?? disrupted?.reason;
    return exited(failureOf([status.reason, disrupted?.reason]), [reason, status.message ?? disrupted?.message]);
  }
  if (isNodeLost(status)) return exited("NodeLost", ["NodeLost", "its node is not heard of"]);
  if (state?.running !== undefined) return { state: "Running" };
  if (neverStarts(disrupted)) return exited("NodeLost", [disrupted?.reason, disrupted?.message]);
  return starting(pod, state?.waiting);
}

function ended(
  end: NonNullable<ContainerState["terminated"]>,
  status: WorkerPod["status"],
  disrupted: PodCondition | undefined,
): ViewState {
  const { exitCode, signal, reason, message } = end;
  const how = signal === undefined || signal === 0 ? `exit code ${exitCode}` : `ended by signal ${signal}`;
  if (ownCodes.has(exitCode)) {
    const exit = workerExitOf(exitCode);
    // A drain asks workers to leave, and they do: why it was asked is told by the pod.
    const asker =
      exit === "stopped" ? [status?.reason, disrupted?.reason].find((each) => endFailures.has(each)) : undefined;
    if (asker === undefined) return { state: "Exited", exit, detail: how };
    const detail = detailOf([asker, disrupted?.message ?? status?.message, how]);
    return { state: "Exited", exit, failure: failureOf([asker]), detail };
  }
  const failure = failureOf([reason, status?.reason, disrupted?.reason]);
  const why = [reason, status?.reason, disrupted?.reason].find((each) => endFailures.has(each));
  return exited(failure, [why, how, message ?? status?.message]);
}

function starting({ metadata, status }: WorkerPod, waiting: ContainerState["waiting"]): ViewState {
  const failure = waitingFailures.get(waiting?.reason);
  if (failure !== undefined)
    return { state: "Starting", failure, detail: detailOf([waiting?.reason, waiting?.message]) };
  const scheduled = conditionOf(status, "PodScheduled");
  if (scheduled?.status === "False" && scheduled.reason === "Unschedulable")
    return { state: "Starting", failure: "Unschedulable", detail: detailOf(["Unschedulable", scheduled.message]) };
  const startingSinceMs = scheduled?.status === "True" ? Date.parse(scheduled.lastTransitionTime ?? "") : Number.NaN;
  if (Number.isNaN(startingSinceMs)) return { state: "Starting" };
  // Volumes, networks and pulls that are slow stand in Events of the pod alone, which the operator may not read.
  const detail = `its pod has a machine and no container yet; "kubectl describe pod -n ${metadata.namespace ?? ""} ${metadata.name}" says why: a ConfigMap that is missing, a large image, a network`;
  return { state: "Starting", startingSinceMs, detail };
}

/** Whether a pod has a machine and waits there for something that the operator may have to give. */
export function lacksSomething(pod: WorkerPod | undefined): boolean {
  const view = pod === undefined ? undefined : stateOf(pod);
  return view?.state === "Starting" && (view.failure === "BadConfig" || view.startingSinceMs !== undefined);
}

/**
 * The node controller marks the pods of a silent node as not ready and touches nothing else: no kubelet ever reports a
 * pod without readiness gates as not ready while its containers are. The journal's fence (J2) holds off a worker that lives on.
 */
function isNodeLost(status: WorkerPod["status"]): boolean {
  return conditionOf(status, "Ready")?.status === "False" && conditionOf(status, "ContainersReady")?.status === "True";
}

/**
 * Bound to a node that died before anybody knew: the pod has no container, so nothing is marked as not ready, and its
 * kubelet will never confirm the deletion.
 */
function neverStarts(disrupted: PodCondition | undefined): boolean {
  return disrupted?.reason === "DeletionByTaintManager";
}

function exited(failure: WorkerFailure, detail: readonly (string | undefined)[]): ViewState {
  return { state: "Exited", exit: "infrastructure", failure, detail: detailOf(detail) };
}

function failureOf(reasons: readonly (string | undefined)[]): WorkerFailure {
  for (const reason of reasons) {
    const known = endFailures.get(reason);
    if (known !== undefined) return known;
  }
  return "Crashed";
}

function conditionOf(status: WorkerPod["status"], type: string): PodCondition | undefined {
  return status?.conditions?.find((condition) => condition.type === type);
}

function detailOf(parts: readonly (string | undefined)[]): string {
  return parts
    .filter((part) => part !== undefined && part !== "")
    .join(": ")
    .slice(0, detailLengthMax);
}

function wholeNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : undefined;
}

/** For the informer: only what is read above. */
export function trimPod(pod: WorkerPod): WorkerPod {
  const { name, namespace, uid, resourceVersion, deletionTimestamp, labels, ownerReferences } = pod.metadata;
  const { phase, reason, message, conditions, containerStatuses } = pod.status ?? {};
  return {
    metadata: {
      name,
      uid,
      resourceVersion,
      ...(namespace === undefined ? {} : { namespace }),
      ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }),
      ...(labels === undefined ? {} : { labels }),
      ...(ownerReferences === undefined ? {} : { ownerReferences }),
    },
    status: {
      ...(phase === undefined ? {} : { phase }),
      ...(reason === undefined ? {} : { reason }),
      ...(message === undefined ? {} : { message }),
      ...(conditions === undefined ? {} : { conditions }),
      ...(containerStatuses === undefined
        ? {}
        : {
            containerStatuses: containerStatuses.map((each) => ({
              name: each.name,
              ...(each.state && { state: each.state }),
            })),
          }),
    },
  };
}
