/**
 * What a kubelet serves besides its pods: their logs, over TLS, to the API server that `kubectl logs` asks. For nodes of local
 * processes (hack/cluster/process-kubelet.ts), whose logs are files. The API server must be on this machine.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { ServerResponse } from "node:http";
import type { KubeClient } from "../../src/adapters/kube/client.ts";
import { resourcePath, resources } from "../../src/adapters/kube/resources.ts";

export interface KubeletLogs {
  close(): Promise<void>;
}

export interface KubeletLogsOptions {
  readonly client: KubeClient;
  readonly node: string;
  /** Files `NAMESPACE_POD.log`. */
  readonly logs: string;
  /** For its certificate. */
  readonly folder: string;
  /** Program that contains kubeadm. */
  readonly kube: string;
}

const pollMs = 100;

export async function serveKubeletLogs({ client, node, logs, folder, kube }: KubeletLogsOptions): Promise<KubeletLogs> {
  const pki = join(folder, "kubelet-pki");
  const made = spawnSync(kube, ["kubeadm", "init", "phase", "certs", "ca", "--cert-dir", pki], { encoding: "utf8" });
  if (made.status !== 0) throw new Error(`no certificate: ${made.stderr}`);
  const tls = { key: readFileSync(join(pki, "ca.key")), cert: readFileSync(join(pki, "ca.crt")) };
  const server = createServer(tls, (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? "/", "https://kubelet");
    const [, kind, namespace = "", pod = ""] = pathname.split("/").map(decodeURIComponent);
    const file = join(logs, `${namespace}_${pod}.log`);
    if (kind !== "containerLogs" || !existsSync(file)) return response.writeHead(404).end("there is no such log");
    response.writeHead(200, { "Content-Type": "text/plain" });
    response.flushHeaders();
    if (searchParams.get("follow") !== "true") return response.end(readFileSync(file));
    return void follow(client, { namespace, pod, file }, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await client.request({
    method: "PATCH",
    patch: "Merge",
    path: resourcePath({ group: "", version: "v1", plural: "nodes" }, { name: node, subresource: "status" }),
    body: {
      status: {
        addresses: [{ type: "InternalIP", address: "127.0.0.1" }],
        daemonEndpoints: { kubeletEndpoint: { Port: port } },
      },
    },
  });
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** What is appended, until the container has ended. */
async function follow(
  client: KubeClient,
  { namespace, pod, file }: { readonly namespace: string; readonly pod: string; readonly file: string },
  response: ServerResponse,
): Promise<void> {
  let sent = 0;
  const send = () => {
    if (statSync(file).size <= sent) return;
    const text = readFileSync(file).subarray(sent);
    sent += text.length;
    response.write(text);
  };
  while (!response.destroyed) {
    const path = resourcePath(resources.pods, { namespace, name: pod });
    const found = await client.request<{ status?: { phase?: string } }>({ path }).catch(() => undefined);
    send();
    if (found?.status?.phase !== "Running") break;
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
  response.end();
}
