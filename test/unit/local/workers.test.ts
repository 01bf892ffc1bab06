import { existsSync, readFileSync, rmSync, statSync, writeFileSync, writeSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { LocalCluster } from "../../../src/adapters/local/local-cluster.ts";
import { RunHeld } from "../../../src/adapters/local/local-cluster.ts";
import type { LocalIndex } from "../../../src/adapters/local/local-index.ts";
import type { LocalRun } from "../../../src/adapters/local/local-run.ts";
import { processIdentity } from "../../../src/adapters/local/process-identity.ts";
import { WorkerLog, workerLogBytesMax, workerLogPath } from "../../../src/adapters/local/worker-log.ts";
import { workerExitCodes } from "../../../src/api/exit-codes.ts";
import { createRun, exited, logged, openCluster, order, otherHost, temporaryHome } from "./harness.ts";

let home: string;
let remove: () => void;
let index: LocalIndex;
let cluster: LocalCluster;
let run: LocalRun;
beforeEach(async () => {
  ({ home, remove } = temporaryHome());
  ({ index, cluster } = openCluster(
    home,
    { OAO_SECRET_LLM_KEY: "s3cret" },
    { ...process.env, HTTPS_PROXY: "http://127.0.0.1:1", OPENAI_API_KEY: "other", MY_TOKEN: "x" },
  ));
  run = createRun(index, home);
});
afterEach(async () => {
  cluster.killAll();
  await cluster.stopAll(0);
  cluster.close();
  index.close();
  remove();
});

const log = (node: string) => workerLogPath(home, run.uid, { node, attempt: 1 });

describe("workers that are ordered together", () => {
  const places = 2 * availableParallelism();
  const nodes = Array.from({ length: places + 2 }, (_, n) => `load-${n}`);
  const states = async () => (await cluster.workers(run.uid)).map((view) => view.state);

  it("load a few at a time, and the next ones when those are at work", async () => {
    const hold = join(home, "hold");
    writeFileSync(hold, "");
    await cluster.take(run);
    for (const node of nodes) await cluster.startWorker(order(run, node));
    for (const node of nodes.slice(0, places)) await logged(log(node), "loading");
    expect(nodes.slice(places).map((node) => existsSync(log(node)))).toEqual([false, false]);
    expect((await states()).slice(places)).toEqual(["Starting", "Starting"]);
    rmSync(hold);
    for (const node of nodes) await logged(log(node), "ready");
    expect(await states()).toEqual(nodes.map(() => "Running"));
  });

  it("are stopped without having been started when they wait", async () => {
    writeFileSync(join(home, "hold"), "");
    await cluster.take(run);
    for (const node of nodes) await cluster.startWorker(order(run, node));
    const last = nodes.at(-1) ?? "";
    await cluster.stopWorker(run.uid, { node: last, attempt: 1, state: "Starting" }, 1_000);
    expect(await exited(cluster, run.uid, last)).toMatchObject({ exit: "stopped" });
    rmSync(join(home, "hold"));
    await logged(log(nodes.at(-2) ?? ""), "ready");
    expect(existsSync(log(last))).toBe(false);
  });
});

describe("a worker process", () => {
  it.each(Object.entries(workerExitCodes))("that exits as %s is listed so", async (exit, code) => {
    await cluster.take(run);
    await cluster.startWorker(order(run, `exit-${code}`));
    expect(await exited(cluster, run.uid, `exit-${code}`)).toMatchObject({
      state: "Exited",
      exit,
      detail: `exit code ${code}`,
    });
  });

  it("with an unknown exit code is a loss of infrastructure", async () => {
    await cluster.take(run);
    await cluster.startWorker(order(run, "exit-99"));
    expect(await exited(cluster, run.uid, "exit-99")).toMatchObject({ exit: "infrastructure", detail: "exit code 99" });
  });

  it("that is killed is a loss of infrastructure, and the signal is named", async () => {
    await cluster.take(run);
    await cluster.startWorker(order(run, "polite"));
    await logged(log("polite"), "ready");
    process.kill(index.hosts.workers(run.uid)[0]?.pid ?? 0, "SIGKILL");
    expect(await exited(cluster, run.uid, "polite")).toMatchObject({
      exit: "infrastructure",
      detail: "ended by SIGKILL",
    });
    expect(index.hosts.workers(run.uid)).toEqual([]);
  });

  it("that throws is told with its last words: no secret, no stack, and not endless", async () => {
    await cluster.take(run);
    await cluster.startWorker(order(run, "throw-boom"));
    const { failure, detail } = await exited(cluster, run.uid, "throw-boom");
    expect(failure).toBe("Crashed");
    expect(detail).toMatch(/^exit code 1: Error: boom \[secret\] y+…$/);
    expect(detail?.length).toBeLessThanOrEqual("exit code 1: ".length + 256);
  });

  it("is started once however often it is ordered", async () => {
    await cluster.take(run);
    await cluster.startWorker(order(run, "polite"));
    await cluster.startWorker(order(run, "polite"));
    await cluster.startWorker(order(run, "exit-0"));
    await exited(cluster, run.uid, "exit-0");
    await cluster.startWorker(order(run, "exit-0"));
    expect((await cluster.workers(run.uid)).map((view) => [view.node, view.state])).toEqual([
      ["polite", "Running"],
      ["exit-0", "Exited"],
    ]);
  });

  it("ends by SIGTERM when it listens", async () => {
    await cluster.take(run);
    await cluster.startWorker(order(run, "polite"));
    await logged(log("polite"), "ready");
    const [view] = await cluster.workers(run.uid);
    await cluster.stopWorker(run.uid, view!, 60_000);
    await cluster.stopWorker(run.uid, view!, 60_000);
    expect(await exited(cluster, run.uid, "polite")).toMatchObject({ exit: "stopped" });
  });

  it("ends by SIGKILL when it does not", async () => {
    await cluster.take(run);
    await cluster.startWorker(order(run, "deaf"));
    await logged(log("deaf"), "ready");
    const [view] = await cluster.workers(run.uid);
    await cluster.stopWorker(run.uid, view!, 30);
    expect(await exited(cluster, run.uid, "deaf")).toMatchObject({
      exit: "infrastructure",
      detail: "ended by SIGKILL",
    });
    expect(readFileSync(log("deaf"), "utf8")).toContain("no");
  });

  it("gets names, digests and its own secrets, nothing else of the host's environment", async () => {
    await cluster.take(run);
    await cluster.startWorker(order(run, "env"));
    await exited(cluster, run.uid, "env");
    await logged(log("env"), "\n");
    const { env, cwd, argv } = JSON.parse(readFileSync(log("env"), "utf8")) as {
      env: Record<string, string>;
      cwd: string;
      argv: string[];
    };
    expect(argv).toEqual([]);
    expect(cwd).toBe(home);
    expect(env).toMatchObject({
      OAO_HOME: home,
      OAO_BASE_DIR: home,
      OAO_STORE: run.place.store,
      OAO_SECRET_LLM_KEY: "s3cret",
    });
    expect(JSON.parse(env["OAO_ORDER"] ?? "")).toEqual(order(run, "env"));
    const names = Object.keys(env).filter(
      (name) => !name.startsWith("OAO_") && !["PATH", "HOME", "TZ", "LANG", "LC_ALL", "TMPDIR"].includes(name),
    );
    // NODE_CHANNEL_* are how Node names the IPC pipe.
    expect(names.filter((name) => !/^NODE_(CHANNEL_|COMPILE_CACHE|EXTRA_CA)|^SSL_CERT_/.test(name))).toEqual([]);
  });

  it("is refused for a run that another process holds", async () => {
    await expect(cluster.startWorker(order(run, "polite"))).rejects.toThrow("is not held by this process");
  });
});

describe("what a worker prints", () => {
  it("is in a file of its own, complete", async () => {
    await cluster.take(run);
    await cluster.startWorker(order(run, "print-1000"));
    await exited(cluster, run.uid, "print-1000");
    await logged(log("print-1000"), "000000999");
    expect(statSync(log("print-1000")).size).toBe(100_000);
  });

  it("is bounded: when a file is full its lines move aside, and the worker goes on in an empty one", () => {
    const path = log("chatty");
    const writer = new WorkerLog(path, 1_000);
    const write = (lines: number) => writeSync(writer.fd, `${"x".repeat(99)}\n`.repeat(lines));
    write(10);
    writer.bound();
    expect(statSync(path).size).toBe(1_000);
    write(1);
    writer.bound();
    expect([statSync(path).size, statSync(`${path}.1`).size]).toEqual([0, 1_100]);
    write(2);
    writer.bound();
    writer.close();
    writer.close();
    expect([statSync(path).size, statSync(`${path}.1`).size]).toEqual([200, 1_100]);
    const next = new WorkerLog(path, 1_000);
    writeSync(next.fd, "after a restart\n");
    next.close();
    expect(readFileSync(path, "utf8")).toMatch(/x\nafter a restart\n$/);
    expect(workerLogBytesMax).toBe(5 * 1024 * 1024);
  });

  it("is bounded while the worker writes", async () => {
    await cluster.take(run);
    await cluster.startWorker(order(run, "print-200000"));
    await exited(cluster, run.uid, "print-200000");
    expect(statSync(log("print-200000")).size).toBeLessThanOrEqual(workerLogBytesMax);
    expect(existsSync(`${log("print-200000")}.1`)).toBe(true);
  });
});

describe("the host of a run", () => {
  it("is one process: a second is refused and told which pid", async () => {
    const other = otherHost(home, "host", "brief");
    expect(await other.next()).toMatchObject({ held: true });
    await expect(cluster.take(run)).rejects.toThrow(new RunHeld(run.key, other.child.pid));
    await other.kill("SIGKILL");
    await cluster.take(run);
    expect(index.hosts.of(run.uid)?.pid).toBe(process.pid);
    const late = otherHost(home, "host", "brief");
    expect(await late.next()).toMatchObject({ held: false, pid: process.pid });
  });

  it("takes its workers with it when it is killed, and what they said last is kept", async () => {
    const other = otherHost(home, "host", "brief", "follow");
    const { workers } = (await other.next()) as { workers: [number] };
    const identity = processIdentity(workers[0]);
    expect(identity).toBeDefined();
    await other.kill("SIGKILL");
    while (processIdentity(workers[0]) === identity) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(readFileSync(log("follow"), "utf8")).toContain("alone");
    await cluster.take(run);
  });

  it("ends what a killed host left behind before it does anything, also a worker that hangs", async () => {
    const other = otherHost(home, "host", "brief", "loop");
    const { workers } = (await other.next()) as { workers: [number] };
    await other.kill("SIGKILL");
    expect(processIdentity(workers[0])).toBeDefined();
    await cluster.take(run);
    expect(processIdentity(workers[0])).toBeUndefined();
    expect(await cluster.workers(run.uid)).toMatchObject([
      { node: "loop", attempt: 1, state: "Exited", exit: "infrastructure" },
    ]);
  });

  it("never kills a process that merely has the pid of an old worker", async () => {
    index.hosts.addWorker(run.uid, {
      node: "a",
      item: undefined,
      attempt: 1,
      pid: process.pid,
      identity: "an older life",
    });
    await cluster.take(run);
    expect(processIdentity(process.pid)).toBeDefined();
    expect(index.hosts.workers(run.uid)).toEqual([]);
  });
});
