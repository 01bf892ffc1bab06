/** ttlSecondsAfterFinished: when the object of a run that has ended goes. Its journal has a time of its own. */
import type { Execution } from "../../api/types.ts";

export interface Expiry {
  /** Milliseconds since the epoch. */
  readonly atMs: number;
  /** Who would create the object anew, and have everything done and paid for again: then it stays. */
  readonly keptBy: string | undefined;
}

/** Undefined = it has no such time. */
export function expiryOf({ spec, metadata }: Execution, completedAtMs: number): Expiry | undefined {
  const { ttlSecondsAfterFinished: seconds } = spec;
  return seconds === undefined ? undefined : { atMs: completedAtMs + seconds * 1_000, keptBy: gitOpsOwner(metadata) };
}

/** The tool that keeps this object as Git has it, by what each writes on its objects. */
export function gitOpsOwner({ labels = {}, annotations = {} }: Execution["metadata"]): string | undefined {
  if (annotations["argocd.argoproj.io/tracking-id"] !== undefined) return "Argo CD";
  if (labels["argocd.argoproj.io/instance"] !== undefined) return "Argo CD";
  if (labels["kustomize.toolkit.fluxcd.io/name"] !== undefined) return "Flux";
  if (labels["helm.toolkit.fluxcd.io/name"] !== undefined) return "Flux";
  if (annotations["meta.helm.sh/release-name"] !== undefined || labels["app.kubernetes.io/managed-by"] === "Helm")
    return "Helm";
  return undefined;
}
