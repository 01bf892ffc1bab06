/** The API server that adapter tests talk to, and namespaces of their own in it. */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { inject } from "vitest";
import { parse } from "yaml";
import { systemClock } from "../../../src/adapters/clock/system-clock.ts";
import { KubeClient } from "../../../src/adapters/kube/client.ts";
import { loadKubeConfig } from "../../../src/adapters/kube/connection.ts";
import { isKubeError } from "../../../src/adapters/kube/kube-error.ts";
import { type KubeObject, type Resource, resourcePath, resources } from "../../../src/adapters/kube/resources.ts";
import { eventually } from "../../support/patience.ts";

export const configMaps: Resource = { group: "", version: "v1", plural: "configmaps" };
const namespaces: Resource = { group: "", version: "v1", plural: "namespaces" };

export function adminClient(): KubeClient {
  return new KubeClient(loadKubeConfig(inject("kubeconfig")), { clock: systemClock });
}

const customResources: Resource = { group: "apiextensions.k8s.io", version: "v1", plural: "customresourcedefinitions" };

/** Our kinds, as they are in crds/. A repeat changes nothing. */
export async function installKinds(client: KubeClient): Promise<void> {
  for (const resource of [resources.executions, resources.policies]) {
    const file = new URL(`../../../crds/${resource.group}_${resource.plural}.yaml`, import.meta.url);
    const body = parse(readFileSync(file, "utf8")) as KubeObject;
    const query = { fieldManager: "adapter-tests", force: true };
    const path = resourcePath(customResources, { name: body.metadata.name });
    await client.request({ method: "PATCH", patch: "Apply", path, query, body });
    await eventually(() => client.request({ path: resourcePath(resource) }));
  }
}

const admissionKinds: readonly Resource[] = ["validatingadmissionpolicybindings", "validatingadmissionpolicies"].map(
  (plural) => ({ group: "admissionregistration.k8s.io", version: "v1", plural }),
);

/** Takes away what config/admission, or a release that is gone, has left in the cluster; resolves once it is not in force any more. */
export async function withoutAdmission(client: KubeClient): Promise<void> {
  for (const resource of admissionKinds)
    for (const name of ["approvals.oao.dev", "requested-by.oao.dev"])
      await client.request({ method: "DELETE", path: resourcePath(resource, { name }) }).catch((error: unknown) => {
        if (!isKubeError(error, 404)) throw error;
      });
  const annotations = { "approval.oao.dev/nobody": "Approve:nobody", "oao.dev/requested-by": "nobody" };
  const body = {
    apiVersion: "oao.dev/v1alpha1",
    kind: "Execution",
    metadata: { name: "never-made", annotations },
    spec: { replay: { executionRef: { name: "nothing" } } },
  };
  const path = resourcePath(resources.executions, { namespace: "default" });
  await eventually(() => client.request({ method: "POST", path, query: { dryRun: "All" }, body }));
}

const serviceAccounts: Resource = { group: "", version: "v1", plural: "serviceaccounts" };

/** A new namespace whose pods must pass the level restricted, and are admitted: its account is there. Removed by the caller. */
export async function makeNamespace(client: KubeClient): Promise<string> {
  const name = `adapter-${randomBytes(4).toString("hex")}`;
  const labels = { "pod-security.kubernetes.io/enforce": "restricted" };
  await client.request({ method: "POST", path: resourcePath(namespaces), body: { metadata: { name, labels } } });
  const account = resourcePath(serviceAccounts, { namespace: name, name: "default" });
  await eventually(() => client.request({ path: account }));
  return name;
}

/** Does not wait until it is gone. */
export async function removeNamespace(client: KubeClient, name: string): Promise<void> {
  await client.request({ method: "DELETE", path: resourcePath(namespaces, { name }) });
}

export interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
}

export function makeConfigMap(client: KubeClient, namespace: string, name: string, text = ""): Promise<ConfigMap> {
  const body = { metadata: { name }, data: { text } };
  return client.request({ method: "POST", path: resourcePath(configMaps, { namespace }), body });
}

export function changeConfigMap(client: KubeClient, namespace: string, name: string, text: string): Promise<ConfigMap> {
  const path = resourcePath(configMaps, { namespace, name });
  return client.request({ method: "PATCH", patch: "Merge", path, body: { data: { text } } });
}

export async function deleteObject(
  client: KubeClient,
  resource: Resource,
  namespace: string,
  name: string,
): Promise<void> {
  await client.request({ method: "DELETE", path: resourcePath(resource, { namespace, name }) });
}
