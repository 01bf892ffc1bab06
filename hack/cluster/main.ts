// `npm run cluster -- up|down|status [--name N]`: a real Kubernetes control plane on this machine, several side by side.
import { existsSync } from "node:fs";
import { parseArgs } from "node:util";
import { down, up } from "./control-plane.ts";
import { isAlive, layoutOf, startedOf } from "./layout.ts";

const { values, positionals } = parseArgs({
  options: { name: { type: "string", default: "dev" } },
  allowPositionals: true,
});
const layout = layoutOf(values.name);

switch (positionals[0] ?? "") {
  case "up":
    await up(layout);
    console.log(`export KUBECONFIG=${layout.kubeconfig}`);
    break;
  case "down":
    await down(layout);
    break;
  case "status": {
    const started = startedOf(layout);
    for (const each of started)
      console.log(`${each.component}  pid ${each.pid}  ${isAlive(each) ? "running" : "ended"}`);
    if (existsSync(layout.kubeconfig)) console.log(`kubeconfig  ${layout.kubeconfig}`);
    process.exitCode = started.length > 0 && started.every(isAlive) ? 0 : 1;
    break;
  }
  default:
    console.error("usage: npm run cluster -- up|down|status [--name NAME]");
    process.exitCode = 2;
}
