/**
 * Ends a worker whose parent was killed while a module holds its only thread: then no event of the process is handled any more, the
 * parent's death included. A second thread looks who the parent is; it costs some milliseconds, so only workers that run modules
 * have one.
 */
import { Worker } from "node:worker_threads";

const lookMs = 250;

/** Runs as text, in a bundle too. The orphan's new parent is whoever takes such processes in. */
const watch = `
const { workerData: { parent, lookMs } } = require("node:worker_threads");
setInterval(() => { if (process.ppid !== parent) process.kill(process.pid, "SIGKILL"); }, lookMs);
`;

/** Keeps nothing alive. Where nobody waits for this process, as in a pod, there is nothing to watch. */
export function watchParent(): void {
  if (!process.connected) return;
  const thread = new Worker(watch, { eval: true, workerData: { parent: process.ppid, lookMs } });
  thread.on("error", () => undefined);
  thread.unref();
}
