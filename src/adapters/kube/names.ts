/** Names and labels of what a run has in a cluster: derived, so that making them twice makes them once (P2). */
import { sha256Hex } from "../../core/digest/digest.ts";
import { itemName } from "../../core/protocol/names.ts";
import type { NodeKey } from "../../core/protocol/types.ts";

export const finalizer = "oao.dev/stop";

/**
 * Annotation, beside the finalizer: `UID namespace/release` of the object and of the operator that holds it. It counts on the object
 * of that UID alone, so that copies of a manifest, and what people write into one, give no run away.
 */
const heldByAnnotation = "oao.dev/held-by";

/** Undefined = without a name. */
export function heldBy(uid: string, operator: string | undefined): Record<string, string> {
  return operator === undefined ? {} : { [heldByAnnotation]: `${uid} ${operator}` };
}

export const notHeld = { [heldByAnnotation]: null };

export function holderOf(uid: string, annotations: Readonly<Record<string, string>> = {}): string | undefined {
  const [of, operator] = (annotations[heldByAnnotation] ?? "").split(" ");
  return of === uid ? operator : undefined;
}

export const podLabels = {
  uid: "oao.dev/execution-uid",
  node: "oao.dev/node",
  item: "oao.dev/item",
  attempt: "oao.dev/attempt",
  managedBy: "app.kubernetes.io/managed-by",
  component: "app.kubernetes.io/component",
} as const;

/** What every worker pod carries, and nothing else should. */
export const workerLabels = { [podLabels.managedBy]: "oao", [podLabels.component]: "worker" } as const;
export const workerSelector = selectorOf(workerLabels);

/** As a list or a watch asks for objects by their labels. */
export function selectorOf(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .join(",");
}

/** `oao-<8 hex of the run>-<10 hex of the item>-<attempt>`: a node's own name may be too long. */
export function podName(uid: string, key: NodeKey, attempt: number): string {
  return `oao-${sha256Hex(uid).slice(0, 8)}-${sha256Hex(itemName(key)).slice(0, 10)}-${attempt}`;
}

/** The Secret with the run's own password for the journal store. */
export function secretName(uid: string): string {
  return `oao-${uid}`;
}
