// `--nodes containers`: a control plane, a name server and nodes that run real containers.
import { up } from "./control-plane.ts";
import type { Layout } from "./layout.ts";
import { claimNetwork, type Network, networkOf, nodesMax } from "./network.ts";
import { addNode, loadImage, needPrograms, nodesOf } from "./node.ts";
import { killNode } from "./node-removal.ts";
import { startNameServer } from "./name-server.ts";

/** Resolves when `count` nodes are Ready; nodes above `count` stay. Repeat: makes what is missing. */
export async function upWithContainers(layout: Layout, count = 1): Promise<void> {
  if (!Number.isInteger(count) || count < 1 || count > nodesMax)
    throw new Error(`--node-count must be a number from 1 to ${nodesMax}`);
  needPrograms();
  await up(layout, () => {
    const { gateway, podCidr } = claimNetwork(layout);
    return { address: gateway, podCidr, allocatePods: false };
  });
  const network = need(layout);
  startNameServer(layout, network);
  for (let index = 1; index <= count; index += 1) await addNode(layout, network, index);
}

/** One node more. Throws when there is no room for it. */
export async function addContainerNode(layout: Layout): Promise<void> {
  await upWithContainers(layout, nodesOf(layout, need(layout)).length + 1);
}

/** An archive as `docker save` writes them, into every node there is. */
export function loadImageFile(layout: Layout, archive: string): void {
  loadImage(layout, need(layout), archive);
}

/** SIGKILL to everything that the node of this name runs. `up` makes it anew. */
export async function killContainerNode(layout: Layout, name: string): Promise<void> {
  const node = nodesOf(layout, need(layout)).find((each) => each.name === name);
  if (node === undefined) throw new Error(`the cluster ${layout.name} has no container node ${name}`);
  await killNode(layout, node);
}

function need(layout: Layout): Network {
  const network = networkOf(layout);
  if (network !== undefined) return network;
  throw new Error(
    `the cluster ${layout.name} has no container nodes: take it down and bring it up with --nodes containers`,
  );
}
