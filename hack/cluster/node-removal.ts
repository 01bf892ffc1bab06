// Takes container nodes away, also when a crash left them in any state: what is there is found, nothing is assumed.
import { spawnSync } from "node:child_process";
import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { cgroupFolders, processesOf, removeCgroup } from "./cgroups.ts";
import { end } from "./components.ts";
import { type Layout, startedOf } from "./layout.ts";
import { networkOf, nodePlace, type NodePlace, nodesMax } from "./network.ts";
import { nodeFiles } from "./node-files.ts";

/** What libcni remembers of the pods' networks; each name starts with the network's. */
const cniResults = "/var/lib/cni/results";
/** Links that the kubelet makes for collectors of logs. */
const logLinks = "/var/log/containers";

/** Every container node of the cluster, and its bridge. Repeat: no-op. */
export async function removeNodes(layout: Layout): Promise<void> {
  const network = networkOf(layout);
  if (network === undefined) return;
  for (let index = 1; index <= nodesMax; index += 1) await removeNode(layout, nodePlace(network, index));
  spawnSync("ip", ["link", "del", network.bridge]);
  rmSync(join(layout.folder, "network.json"));
}

/** Its components, containers, mounts, namespaces, interfaces, control groups and files. Repeat: no-op. */
export async function removeNode(layout: Layout, node: NodePlace): Promise<void> {
  const { folder } = nodeFiles(layout, node);
  // The kubelet first: it would start again what is ended here.
  const mine = startedOf(layout).filter(({ component }) => component.startsWith(`${node.name}.`));
  await end(
    layout,
    mine.filter(({ component }) => !component.endsWith(".containerd")),
  );
  await killContainers(node, folder);
  await end(layout, mine);
  if (existsSync(folder)) removeMounts(folder);
  removePodNetworks(node);
  spawnSync("ip", ["link", "del", node.id]);
  spawnSync("ip", ["netns", "del", node.id]);
  for (const group of cgroupFolders(node.id)) removeCgroup(group);
  rmSync(folder, { recursive: true, force: true });
  removeLinksInto(folder);
}

/** The power cut: SIGKILL to everything the node runs, kubelet first. Its files and its Node object stay. */
export async function killNode(layout: Layout, node: NodePlace): Promise<void> {
  for (const { component, pid } of startedOf(layout))
    if (component.startsWith(`${node.name}.`)) process.kill(pid, "SIGKILL");
  await killContainers(node, nodeFiles(layout, node).folder);
}

/** Shims are outside the node's control group; what they run is in it. */
async function killContainers(node: NodePlace, folder: string): Promise<void> {
  const left = () => [...shimsOf(folder), ...cgroupFolders(node.id).flatMap(processesOf)];
  for (let found = left(); found.length > 0; found = left()) {
    for (const pid of new Set(found)) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // ended by itself
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Each shim names its containerd's socket. */
function shimsOf(folder: string): number[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.map(Number).filter((pid) => {
    try {
      const [program = "", ...args] = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      return program.includes("containerd-shim") && args.some((arg) => arg.startsWith(`${folder}/`));
    } catch {
      return false; // ended meanwhile
    }
  });
}

/** Last mounted first. */
function removeMounts(folder: string): void {
  const lines = readFileSync("/proc/self/mountinfo", "utf8").split("\n").toReversed();
  for (const line of lines) {
    const at = line
      .split(" ")[4]
      ?.replaceAll(/\\(\d{3})/g, (_, code: string) => String.fromCharCode(parseInt(code, 8)));
    if (at?.startsWith(`${folder}/`) === true) spawnSync("umount", ["-l", at]);
  }
}

/** Of what libcni remembers per pod and network. */
interface CniResult {
  readonly containerId: string;
  readonly result: { readonly interfaces?: readonly { readonly sandbox?: string }[] };
}

function removePodNetworks({ id }: NodePlace): void {
  if (!existsSync(cniResults)) return;
  for (const file of readdirSync(cniResults).filter((name) => name.startsWith(`${id}-`))) {
    const { containerId, result } = JSON.parse(readFileSync(join(cniResults, file), "utf8")) as CniResult;
    for (const { sandbox = "" } of result.interfaces ?? []) {
      const name = basename(sandbox);
      if (name.startsWith("cni-")) spawnSync("ip", ["netns", "del", name]);
    }
    for (const each of [file, `cni-loopback-${containerId}-lo`]) rmSync(join(cniResults, each), { force: true });
  }
}

function removeLinksInto(folder: string): void {
  if (!existsSync(logLinks)) return;
  for (const name of readdirSync(logLinks)) {
    const link = join(logLinks, name);
    if (lstatSync(link).isSymbolicLink() && readlinkSync(link).startsWith(`${folder}/`)) rmSync(link);
  }
}
