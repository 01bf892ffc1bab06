// Addresses of a cluster with container nodes. Each cluster has a slot of its own, so that several run side by side:
//
//   bridge oaoS on this machine, 10.250.S.1/24   node I in namespace oaoS-I, 10.250.S.(10+I)   its pods 10.244.(4S+I).0/24
//
// Nodes have routes to their cluster and nowhere else: nothing that runs in a pod reaches another machine.
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "./components.ts";
import type { Layout } from "./layout.ts";

/** 10.244.0.0/16 in parts of four node subnets; the first of a part stays free. */
const slots = 63;
export const nodesMax = 3;

export interface Network {
  readonly slot: number;
  readonly bridge: string;
  /** This machine, as nodes and pods see it. */
  readonly gateway: string;
  readonly podCidr: string;
}

export interface NodePlace {
  readonly index: number;
  readonly name: string;
  /** Of the namespace, the interface on the bridge, the CNI network and the cgroup. */
  readonly id: string;
  readonly address: string;
  readonly podSubnet: string;
}

function networkAt(slot: number): Network {
  return { slot, bridge: `oao${slot}`, gateway: `10.250.${slot}.1`, podCidr: `10.244.${4 * slot}.0/22` };
}

export function nodePlace({ slot }: Network, index: number): NodePlace {
  return {
    index,
    name: `node-${index}`,
    id: `oao${slot}-${index}`,
    address: `10.250.${slot}.${10 + index}`,
    podSubnet: `10.244.${4 * slot + index}.0/24`,
  };
}

/** The first slot whose bridge nobody has: making the bridge takes it. */
export function claimNetwork(layout: Layout): Network {
  for (let slot = 1; slot <= slots; slot += 1) {
    const network = networkAt(slot);
    const made = spawnSync("ip", ["link", "add", network.bridge, "type", "bridge"], { encoding: "utf8" });
    if (made.status !== 0 && made.stderr.includes("File exists")) continue;
    if (made.status !== 0) throw new Error(`this machine makes no bridge for container nodes: ${made.stderr.trim()}`);
    writeFileSync(join(layout.folder, "network.json"), JSON.stringify({ slot }));
    run("ip", ["addr", "add", `${network.gateway}/24`, "dev", network.bridge]);
    run("ip", ["link", "set", network.bridge, "up"]);
    return network;
  }
  throw new Error(`${slots} clusters with container nodes are up already: take one down, or remove their bridges oao*`);
}

/** Undefined when the cluster has no container nodes. */
export function networkOf(layout: Layout): Network | undefined {
  try {
    const { slot } = JSON.parse(readFileSync(join(layout.folder, "network.json"), "utf8")) as { slot: number };
    return networkAt(slot);
  } catch {
    return undefined;
  }
}

/** Command prefix that runs a program in the node's network. Not `ip netns exec`: that remounts /sys, without cgroups. */
export function inNetwork({ id }: NodePlace): readonly [string, string] {
  return ["nsenter", `--net=/run/netns/${id}`];
}

/** The node's network namespace with its end of a cable to the bridge. */
export function connectNode(network: Network, node: NodePlace, others: readonly NodePlace[]): void {
  const [nsenter, net] = inNetwork(node);
  const inside = (...args: string[]) => run(nsenter, [net, ...args]);
  run("ip", ["netns", "add", node.id]);
  run("ip", ["link", "add", node.id, "type", "veth", "peer", "name", "eth0", "netns", node.id]);
  run("ip", ["link", "set", node.id, "master", network.bridge, "up"]);
  inside("ip", "link", "set", "lo", "up");
  inside("ip", "addr", "add", `${node.address}/24`, "dev", "eth0");
  inside("ip", "link", "set", "eth0", "up");
  inside("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward");
  run("ip", ["route", "replace", node.podSubnet, "via", node.address]);
  // kube-proxy turns them into pods' addresses, but only after the kernel has found a route.
  inside("ip", "route", "add", "10.96.0.0/16", "via", network.gateway);
  for (const other of others) {
    inside("ip", "route", "replace", other.podSubnet, "via", other.address);
    const [enter, otherNet] = inNetwork(other);
    run(enter, [otherNet, "ip", "route", "replace", node.podSubnet, "via", node.address]);
  }
}
