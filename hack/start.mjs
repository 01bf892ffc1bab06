// `node hack/start.mjs <task> [arguments]`: runs a task of this repository from a bare checkout. Needs Node.js 20 and npm,
// nothing else: it installs the locked packages when they are missing or out of date, then runs the task under the
// Node.js that package.json pins, whatever the system has.
import { resolve } from "node:path";
import { relaunch } from "./relaunch.mjs";
import { ensureInstalled, nodeToUse, root } from "./setup.mjs";

const [task, ...args] = process.argv.slice(2);
if (task === undefined) {
  console.error("say which task to run, for example: node hack/start.mjs hack/check.ts");
  process.exit(2);
}
await ensureInstalled();
relaunch(nodeToUse(), [resolve(root, task), ...args]);
