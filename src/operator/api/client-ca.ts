/** The authority that the cluster's client certificates come from, as the API server publishes it for servers like this one. */
import type { KubeClient } from "../../adapters/kube/client.ts";
import { resourcePath, resources } from "../../adapters/kube/resources.ts";

const published = { namespace: "kube-system", name: "extension-apiserver-authentication" };

/** PEM, one or several; undefined = the cluster has none. Throws KubeError, 403 where the RoleBinding in kube-system is missing. */
export async function readClientCa(client: KubeClient): Promise<string | undefined> {
  const { data } = await client.request<{ data?: Readonly<Record<string, string>> }>({
    path: resourcePath(resources.configMaps, published),
  });
  // Not requestheader-client-ca-file: that one is for proxies that speak for others.
  const pem = data?.["client-ca-file"]?.trim();
  return pem === undefined || pem === "" ? undefined : pem;
}
