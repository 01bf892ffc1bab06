// A real node on this machine: containerd, kubelet and kube-proxy in a network namespace of their own.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { findProgram } from "../debian-program.ts";
import { cgroupFolders } from "./cgroups.ts";
import { run, start, until } from "./components.ts";
import { kubeBinary } from "./kube-binary.ts";
import { isAlive, type Layout, startedOf } from "./layout.ts";
import { connectNode, inNetwork, type Network, nodePlace, type NodePlace } from "./network.ts";
import { type NodeFiles, nodeFiles, writeNodeFiles } from "./node-files.ts";
import { removeNode } from "./node-removal.ts";
import { pauseArchive } from "./pause-image.ts";

const readyMs = 60_000;

/** Program, and the Debian package that brings it. */
const programs = {
  containerd: "containerd",
  runc: "runc",
  "/usr/lib/cni/bridge": "containernetworking-plugins",
  iptables: "iptables",
  nft: "nftables",
  conntrack: "conntrack",
  socat: "socat",
  ethtool: "ethtool",
  ip: "iproute2",
  nsenter: "util-linux",
};

/** Throws one line that says what container nodes lack here. */
export function needPrograms(): void {
  if (process.platform !== "linux" || process.getuid?.() !== 0)
    throw new Error("container nodes need root on Linux: --nodes process does without");
  const missing = Object.entries(programs).filter(([name, from]) => findProgram([name], from) === undefined);
  if (missing.length > 0)
    throw new Error(`container nodes need the Debian packages ${missing.map(([, from]) => from).join(", ")}`);
}

/** Nodes with a folder, in order of index. */
export function nodesOf(layout: Layout, network: Network): NodePlace[] {
  return [1, 2, 3]
    .map((index) => nodePlace(network, index))
    .filter((node) => existsSync(nodeFiles(layout, node).folder));
}

/** Resolves when the node is Ready. Repeat: no-op while its components live, else it is made anew. */
export async function addNode(layout: Layout, network: Network, index: number): Promise<void> {
  const node = nodePlace(network, index);
  const mine = startedOf(layout).filter(({ component }) => component.startsWith(`${node.name}.`));
  if (mine.length === 3 && mine.every(isAlive)) return;
  await removeNode(layout, node); // what a crash left behind
  const files = writeNodeFiles(layout, network, node);
  connectNode(
    network,
    node,
    nodesOf(layout, network).filter((other) => other.index !== index),
  );
  for (const folder of cgroupFolders(node.id)) makeCgroup(folder);
  credentials(layout, node, files);
  const kube = kubeBinary();
  const inside = inNetwork(node);
  start(layout, `${node.name}.containerd`, [...inside, "containerd", "--config", files.containerd]);
  await until(layout, `${node.name}.containerd`, readyMs, () => answers(files));
  importImage(files, pauseArchive());
  const flags = {
    config: files.kubelet,
    kubeconfig: files.kubeletConfig,
    "hostname-override": node.name,
    "node-ip": node.address,
    "root-dir": files.kubeletRoot,
    "cert-dir": join(files.kubeletRoot, "pki"),
    "cgroup-root": `/${node.id}`,
  };
  const kubelet = Object.entries(flags).map(([name, value]) => `--${name}=${value}`);
  start(layout, `${node.name}.kubelet`, [...inside, kube, "kubelet", ...kubelet]);
  start(layout, `${node.name}.kube-proxy`, [...inside, kube, "kube-proxy", "--config", files.proxy]);
  await until(layout, `${node.name}.kubelet`, readyMs, () => isReady(kube, layout, node));
}

/** A `docker save` archive, into every node. */
export function loadImage(layout: Layout, network: Network, archive: string): void {
  for (const node of nodesOf(layout, network)) importImage(nodeFiles(layout, node), archive);
}

function importImage(files: NodeFiles, archive: string): void {
  run("ctr", ["--address", files.socket, "-n", "k8s.io", "images", "import", archive]);
}

function answers({ socket }: NodeFiles): boolean {
  try {
    run("ctr", ["--address", socket, "--timeout", "2s", "plugins", "ls"]);
    return true;
  } catch {
    return false;
  }
}

function isReady(kube: string, layout: Layout, { name }: NodePlace): boolean {
  const path = '{.status.conditions[?(@.type=="Ready")].status}';
  const ask = ["kubectl", "--kubeconfig", layout.kubeconfig, "get", "node", name, "-o", `jsonpath=${path}`];
  try {
    return run(kube, ask) === "True";
  } catch {
    return false; // not registered yet
  }
}

/** A child cgroup of version 1 may run nowhere until it has its parent's processors and memory nodes. */
function makeCgroup(folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (const file of ["cpuset.cpus", "cpuset.mems"]) {
    const [own, parent] = [join(folder, file), join(folder, "..", file)];
    if (existsSync(own) && existsSync(parent)) writeFileSync(own, readFileSync(parent));
  }
}

/** The certificates are signed by the cluster's authority; the server is this machine as the node sees it. */
function credentials(layout: Layout, { name }: NodePlace, files: NodeFiles): void {
  const config = join(files.folder, "kubeadm.yaml");
  const text = readFileSync(join(layout.folder, "kubeadm.yaml"), "utf8");
  writeFileSync(config, text.replace(/name: [a-z0-9-]+ \}/, `name: ${name} }`));
  const kubeadm = (...args: string[]) => run(kubeBinary(), ["kubeadm", ...args, "--config", config]);
  kubeadm("init", "phase", "kubeconfig", "kubelet", "--kubeconfig-dir", files.folder);
  writeFileSync(files.proxyConfig, kubeadm("kubeconfig", "user", "--client-name=system:kube-proxy"), { mode: 0o600 });
}
