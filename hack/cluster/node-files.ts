// Configuration of one container node. Every path is the node's own, so that nodes of one machine never meet.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Layout } from "./layout.ts";
import type { Network, NodePlace } from "./network.ts";

export const pauseImage = "oao.test/pause:1";
export const dnsAddress = "10.96.0.10";

export interface NodeFiles {
  readonly folder: string;
  readonly containerd: string;
  readonly socket: string;
  readonly kubelet: string;
  readonly kubeletConfig: string;
  readonly kubeletRoot: string;
  readonly proxy: string;
  readonly proxyConfig: string;
}

export function nodeFiles(layout: Layout, { name }: NodePlace): NodeFiles {
  const folder = join(layout.folder, "nodes", name);
  const inside = (part: string): string => join(folder, part);
  return {
    folder,
    containerd: inside("containerd.toml"),
    socket: inside("containerd.sock"),
    kubelet: inside("kubelet.yaml"),
    kubeletConfig: inside("kubelet.conf"),
    kubeletRoot: inside("kubelet"),
    proxy: inside("kube-proxy.yaml"),
    proxyConfig: inside("kube-proxy.conf"),
  };
}

export function writeNodeFiles(layout: Layout, network: Network, node: NodePlace): NodeFiles {
  const files = nodeFiles(layout, node);
  const inside = (part: string): string => join(files.folder, part);
  for (const part of ["cni", "kubelet", "pods"]) mkdirSync(inside(part), { recursive: true });
  writeFileSync(files.containerd, containerd(files.socket, inside));
  writeFileSync(join(files.folder, "cni", "10-oao.conflist"), JSON.stringify(cni(node, inside("addresses"))));
  writeFileSync(inside("resolv.conf"), ""); // pods ask the cluster's name server and no other
  writeFileSync(files.kubelet, kubelet(layout, files, inside));
  writeFileSync(files.proxy, proxy(network, node, files));
  return files;
}

/** restrict_oom_score_adj: without the right to lower it, every sandbox would die at its start. */
function containerd(socket: string, inside: (part: string) => string): string {
  return `version = 2
root = "${inside("containerd/root")}"
state = "${inside("containerd/state")}"
[grpc]
address = "${socket}"
[plugins."io.containerd.internal.v1.opt"]
path = "${inside("containerd/opt")}"
[plugins."io.containerd.grpc.v1.cri"]
restrict_oom_score_adj = true
sandbox_image = "${pauseImage}"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "${inside("cni")}"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
`;
}

function cni({ id, podSubnet }: NodePlace, dataDir: string): object {
  const ipam = {
    type: "host-local",
    dataDir,
    ranges: [[{ subnet: podSubnet }]],
    routes: [{ dst: "0.0.0.0/0" }],
  };
  return {
    cniVersion: "0.4.0",
    name: id,
    plugins: [
      { type: "bridge", bridge: "cni0", isGateway: true, ipMasq: true, hairpinMode: true, ipam },
      { type: "portmap", capabilities: { portMappings: true } },
    ],
  };
}

function kubelet(layout: Layout, { socket }: NodeFiles, inside: (part: string) => string): string {
  return JSON.stringify({
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    cgroupDriver: "cgroupfs",
    failSwapOn: false,
    containerRuntimeEndpoint: `unix://${socket}`,
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: join(layout.pki, "ca.crt") },
    },
    authorization: { mode: "Webhook" },
    clusterDNS: [dnsAddress],
    clusterDomain: "cluster.local",
    resolvConf: inside("resolv.conf"),
    podLogsDir: inside("pods"),
    volumePluginDir: inside("volume-plugins"),
    // The disk is the machine's: how full it is says nothing about the node.
    evictionHard: { "memory.available": "100Mi", "nodefs.available": "0%", "imagefs.available": "0%" },
    imageGCHighThresholdPercent: 100,
  });
}

function proxy({ podCidr }: Network, { name }: NodePlace, { proxyConfig }: NodeFiles): string {
  return JSON.stringify({
    apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
    kind: "KubeProxyConfiguration",
    mode: "nftables",
    clientConnection: { kubeconfig: proxyConfig },
    hostnameOverride: name,
    clusterCIDR: podCidr,
    // The kernel's limits are the machine's and stay as they are.
    conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: "0s", tcpCloseWaitTimeout: "0s" },
  });
}
