// `host.ts HOME VERB NAME [NODE…]`: a second process on the same folder. Prints one line of JSON for each thing it has done.
import { logged, openCluster, order } from "./harness.ts";
import { RunHeld } from "../../../src/adapters/local/local-cluster.ts";
import { workerLogPath } from "../../../src/adapters/local/worker-log.ts";

const [home = "", verb, name = "", ...nodes] = process.argv.slice(2);
const { index, cluster } = openCluster(home);
const key = { namespace: "default", name };
const say = (value: unknown) => process.stdout.write(`${JSON.stringify(value)}\n`);

if (verb === "suspend") {
  say({ state: index.setDesiredState(key, "Suspended")?.object.spec.desiredState });
} else if (verb === "host") {
  const run = index.get(key);
  if (run === undefined) throw new Error("no such run");
  try {
    await cluster.take(run);
    for (const node of nodes) {
      await cluster.startWorker(order(run, node));
      await logged(workerLogPath(home, run.uid, { node, attempt: 1 }), "ready");
    }
    say({ held: true, workers: index.hosts.workers(run.uid).map((worker) => worker.pid) });
    setInterval(() => {}, 1_000_000);
  } catch (error) {
    if (!(error instanceof RunHeld)) throw error;
    say({ held: false, pid: error.pid, message: error.message });
  }
}
