// `npm run cluster -- COMMAND [--name N]`: a real Kubernetes on this machine, several side by side.
import { existsSync } from "node:fs";
import { parseArgs } from "node:util";
import { addContainerNode, killContainerNode, loadImageFile, upWithContainers } from "./container-nodes.ts";
import { down, up } from "./control-plane.ts";
import { isAlive, layoutOf, startedOf } from "./layout.ts";
import { startProcessNode } from "./process-node.ts";

const usage = `usage: npm run cluster -- COMMAND [--name NAME]
  up [--nodes none|process|containers] [--node-count N]   no node is what you get when you ask for none
  add-node                one more container node
  kill-node NODE          as a power cut does; up makes it anew
  load-image FILE         what docker save or buildah push docker-archive: wrote, into every container node
  status | down`;

const { values, positionals } = parseArgs({
  options: {
    name: { type: "string", default: "dev" },
    nodes: { type: "string", default: "none" },
    "node-count": { type: "string", default: "1" },
  },
  allowPositionals: true,
});
const layout = layoutOf(values.name);

try {
  await obey(positionals[0] ?? "", positionals[1]);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}

async function obey(command: string, argument: string | undefined): Promise<void> {
  switch (command) {
    case "up":
      if (!["none", "process", "containers"].includes(values.nodes)) return misused();
      if (values.nodes === "containers") await upWithContainers(layout, Number(values["node-count"]));
      else await up(layout);
      if (values.nodes === "process") await startProcessNode(layout);
      console.log(`export KUBECONFIG=${layout.kubeconfig}`);
      return undefined;
    case "add-node":
      return addContainerNode(layout);
    case "kill-node":
      return argument === undefined ? misused() : killContainerNode(layout, argument);
    case "load-image":
      return argument === undefined ? misused() : loadImageFile(layout, argument);
    case "down":
      return down(layout);
    case "status": {
      const started = startedOf(layout);
      for (const each of started)
        console.log(`${each.component}  pid ${each.pid}  ${isAlive(each) ? "running" : "ended"}`);
      if (existsSync(layout.kubeconfig)) console.log(`kubeconfig  ${layout.kubeconfig}`);
      process.exitCode = started.length > 0 && started.every(isAlive) ? 0 : 1;
      return undefined;
    }
    default:
      return misused();
  }
}

function misused(): void {
  console.error(usage);
  process.exitCode = 2;
}
