// The process kubelet as a component of its own: `up --nodes process`. Worker pods run as processes of this checkout's build.
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { systemClock } from "../../src/adapters/clock/system-clock.ts";
import { KubeClient } from "../../src/adapters/kube/client.ts";
import { loadKubeConfig } from "../../src/adapters/kube/connection.ts";
import { run, start, until } from "./components.ts";
import { kubeBinary } from "./kube-binary.ts";
import { isAlive, type Layout, layoutOf, startedOf } from "./layout.ts";
import { ProcessKubelet } from "./process-kubelet.ts";

const root = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");
const nodeName = "node-1";
const component = `${nodeName}.process-kubelet`;

/** Resolves when the node is Ready. Repeat: no-op while it lives. */
export async function startProcessNode(layout: Layout): Promise<void> {
  if (startedOf(layout).some((each) => each.component === component && isAlive(each))) return;
  start(layout, component, [process.execPath, fileURLToPath(import.meta.url), layout.name]);
  const ask = [
    "--kubeconfig",
    layout.kubeconfig,
    "get",
    "nodes",
    nodeName,
    "-o",
    "jsonpath={.status.conditions[*].type}",
  ];
  await until(layout, component, 30_000, () => {
    try {
      return run(kubeBinary(), ["kubectl", ...ask]).includes("Ready");
    } catch {
      return false; // not registered yet
    }
  });
}

if (import.meta.main) {
  const layout = layoutOf(process.argv[2] ?? "");
  const kubelet = new ProcessKubelet({
    client: new KubeClient(loadKubeConfig(layout.kubeconfig), { clock: systemClock }),
    name: nodeName,
    program: root,
    baseDir: join(root, "config/samples"),
    logs: join(layout.logs, "pods"),
    // A scripted model of the same machine is what one tries it with.
    env: { OAO_ALLOW_LOOPBACK: "true" },
  });
  await kubelet.start();
  process.once("SIGTERM", () => void kubelet.stop().finally(() => process.exit(0)));
}
