/** The kinds this adapter talks about, and their paths. */
import { group, version } from "../../api/common.ts";

export interface Resource {
  /** "" = the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
}

export const resources = {
  executions: { group, version, plural: "executions" },
  policies: { group, version, plural: "governancepolicies" },
  pods: { group: "", version: "v1", plural: "pods" },
  services: { group: "", version: "v1", plural: "services" },
  secrets: { group: "", version: "v1", plural: "secrets" },
  leases: { group: "coordination.k8s.io", version: "v1", plural: "leases" },
  accessReviews: { group: "authorization.k8s.io", version: "v1", plural: "selfsubjectaccessreviews" },
  tokenReviews: { group: "authentication.k8s.io", version: "v1", plural: "tokenreviews" },
  subjectReviews: { group: "authorization.k8s.io", version: "v1", plural: "subjectaccessreviews" },
  configMaps: { group: "", version: "v1", plural: "configmaps" },
  selfReviews: { group: "authentication.k8s.io", version: "v1", plural: "selfsubjectreviews" },
  events: { group: "events.k8s.io", version: "v1", plural: "events" },
} as const satisfies Record<string, Resource>;

/** Every part is escaped: a name can never reach another resource. */
export function resourcePath(
  resource: Resource,
  place: { readonly namespace?: string | undefined; readonly name?: string; readonly subresource?: string } = {},
): string {
  const { namespace, name, subresource } = place;
  const parts = [
    ...(resource.group === "" ? ["api"] : ["apis", resource.group]),
    resource.version,
    ...(namespace === undefined ? [] : ["namespaces", namespace]),
    resource.plural,
    ...(name === undefined ? [] : [name]),
    ...(subresource === undefined ? [] : [subresource]),
  ];
  return `/${parts.map(encodeURIComponent).join("/")}`;
}

/** What is read of any object's metadata; times are RFC 3339 texts. */
export interface ObjectMeta {
  readonly name: string;
  readonly namespace?: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly generation?: number;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly finalizers?: readonly string[];
  readonly ownerReferences?: readonly { readonly kind: string; readonly name: string; readonly uid: string }[];
  readonly managedFields?: unknown;
}

export interface KubeObject {
  readonly metadata: ObjectMeta;
}

/** Versions of objects of one resource are whole numbers in order, with more digits than a number holds. */
export function isNewer(version: string, than: string): boolean {
  return version.length === than.length ? version > than : version.length > than.length;
}
