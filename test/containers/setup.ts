/**
 * A real cluster with the chart installed: that of KUBECONFIG, which has the images of hack/image/build.ts loaded, else one of
 * two container nodes of its own, ended afterwards.
 */
import { basename, dirname } from "node:path";
import type { TestProject } from "vitest/node";
import { loadImageFile, upWithContainers } from "../../hack/cluster/container-nodes.ts";
import { down } from "../../hack/cluster/control-plane.ts";
import { type Layout, layoutOf } from "../../hack/cluster/layout.ts";
import { networkOf } from "../../hack/cluster/network.ts";
import { buildImages } from "../../hack/image/build.ts";
import { install } from "./install.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** Of hack/cluster, with container nodes; "" = a cluster that is not ours to break. */
    clusterName: string;
  }
}

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const given = process.env["KUBECONFIG"] ?? "";
  const layout = given === "" ? layoutOf(`containers-${process.pid}`) : ours(given);
  const end = () => (given === "" && layout !== undefined ? down(layout) : Promise.resolve());
  try {
    const kubeconfig = layout?.kubeconfig ?? given;
    if (layout !== undefined) await nodes(layout, 1);
    install(kubeconfig);
    // After the release: the node that a test kills holds neither Redis nor the model servers.
    if (layout !== undefined) await nodes(layout, 2);
    project.provide("kubeconfig", kubeconfig);
    project.provide("clusterName", layout?.name ?? "");
  } catch (error) {
    await end();
    throw error;
  }
  return end;
}

/** With the images of the suite. Repeat: makes what is missing. */
export async function nodes(layout: Layout, count: number): Promise<void> {
  const archives = await buildImages();
  await upWithContainers(layout, count);
  for (const archive of archives) loadImageFile(layout, archive);
}

function ours(kubeconfig: string): Layout | undefined {
  const name = basename(dirname(kubeconfig));
  const layout = /^[a-z0-9-]{1,40}$/.test(name) ? layoutOf(name) : undefined;
  return layout?.kubeconfig === kubeconfig && networkOf(layout) !== undefined ? layout : undefined;
}
