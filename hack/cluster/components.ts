// Processes of a test cluster: started apart from this one, remembered by pid and start time, ended by exactly those.
import { spawn, spawnSync } from "node:child_process";
import { openSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { identityOf, isAlive, type Layout, type Started, startedOf } from "./layout.ts";

const endMs = 5_000;

/** Its output goes to the cluster's logs; a component of a node is named NODE.COMPONENT. */
export function start(layout: Layout, component: string, [program, ...args]: readonly [string, ...string[]]): Started {
  const log = openSync(join(layout.logs, `${component}.log`), "a");
  const child = spawn(program, args, { stdio: ["ignore", log, log], detached: true });
  child.unref();
  if (child.pid === undefined) throw new Error(`${component} could not be started`);
  const started: Started = { component, pid: child.pid, identity: identityOf(child.pid) };
  writeFileSync(join(layout.pids, component), JSON.stringify(started));
  return started;
}

/** Resolves when every one of them is gone. Repeat: no-op. */
export async function end(layout: Layout, all: readonly Started[]): Promise<void> {
  for (const started of all.filter(isAlive)) process.kill(started.pid, "SIGTERM");
  const deadline = Date.now() + endMs;
  while (all.some(isAlive)) {
    if (Date.now() > deadline) for (const started of all.filter(isAlive)) process.kill(started.pid, "SIGKILL");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  for (const { component } of all) rmSync(join(layout.pids, component), { force: true });
}

/** Resolves when `is` answers true; throws, with the log to read, when a component ends or the time is over. */
export async function until(
  layout: Layout,
  component: string,
  timeoutMs: number,
  is: () => boolean | Promise<boolean>,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await is())) {
    const ended = startedOf(layout).find((started) => !isAlive(started));
    if (ended !== undefined || Date.now() > deadline) {
      const name = ended?.component ?? component;
      throw new Error(`${name} is not ready; its log says why: ${join(layout.logs, `${name}.log`)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** What it printed. Throws what it said unless it ended well. */
export function run(program: string, args: readonly string[], input?: string): string {
  const options = { encoding: "utf8", timeout: 120_000, maxBuffer: 2 ** 26 } as const;
  const result = spawnSync(program, args, input === undefined ? options : { ...options, input });
  if (result.status === 0) return result.stdout;
  const said = result.error?.message ?? (result.stderr || result.stdout);
  throw new Error(`${[program, ...args].slice(0, 7).join(" ")} failed: ${said.trim()}`);
}
