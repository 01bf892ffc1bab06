/**
 * Bar s2: thousands of short executions over many namespaces, all there before the first has ended, with an operator that may have
 * 256 MiB: a memory cgroup kills it beyond. Pods are finished at once.
 * Run: npm run bench -- operator-scale
 */
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { RedisStore } from "../../src/adapters/store/redis/redis-store.ts";
import { create, Finish, toolRun } from "./ground/executions.ts";
import { cpuMsOf, inParallel, keepRaw, load, openGround } from "./ground/ground.ts";
import { memoryOf } from "./memory.ts";
import { SimulatedKubelet } from "./ground/kubelet.ts";
import { printTable } from "./table.ts";

const runs = Number(process.env["OAO_BENCH_RUNS"] ?? 5_100);
const namespaceCount = Number(process.env["OAO_BENCH_NAMESPACES"] ?? 51);
const limitMiB = Number(process.env["OAO_BENCH_LIMIT_MIB"] ?? 256);
const submittedAtOnce = 16;
const mib = 1_024 * 1_024;

/** Undefined = this machine allows none (cgroup v2 without delegation, or no root). */
function memoryCgroup(): string | undefined {
  const folder = `/sys/fs/cgroup/memory/oao-bench-${process.pid}`;
  try {
    mkdirSync(folder);
    writeFileSync(join(folder, "memory.limit_in_bytes"), String(limitMiB * mib));
    return folder;
  } catch {
    return undefined;
  }
}

const loadBefore = load();
const ground = await openGround("scale");
const { admin } = ground;
const namespaces = Array.from({ length: namespaceCount }, (_, n) => `team-${n}`);
await inParallel(namespaces, 8, (each) => ground.makeNamespace(each));
const store = await RedisStore.connect(ground.redis.url);
const kubelet = new SimulatedKubelet({ client: admin, store: () => store });
const finish = new Finish(admin);
await Promise.all([kubelet.start(), finish.start()]);
const cgroup = memoryCgroup();
const profile = process.env["OAO_BENCH_PROFILE"];
const operator = await ground.startOperator({
  ...(cgroup === undefined ? {} : { cgroup }),
  nodeOptions: [
    ...(cgroup === undefined ? [`--max-old-space-size=${Math.floor(limitMiB * 0.7)}`] : []),
    ...(profile === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${profile}`]),
  ],
});
const pid = operator.child.pid ?? 0;
const idle = memoryOf(pid).own;

const spec = toolRun(1);
const samples: { seconds: number; over: number; ownMiB: number; cpuMs: number }[] = [];
const startedMs = performance.now();
const cpuBeforeMs = cpuMsOf(pid);
let sampledMs = 0;
const look = () => {
  const seconds = (performance.now() - startedMs) / 1_000;
  if (operator.child.exitCode !== null || operator.child.signalCode !== null)
    throw new Error(
      `the operator ended after ${seconds.toFixed(0)} s: ${operator.child.signalCode}\n${operator.text()}`,
    );
  if (performance.now() - sampledMs < 500) return;
  sampledMs = performance.now();
  const own = memoryOf(pid).own / mib;
  samples.push({ seconds, over: finish.count, ownMiB: own, cpuMs: cpuMsOf(pid) - cpuBeforeMs });
};
const all = Array.from({ length: runs }, (_, n) => n);
const submitted = inParallel(all, submittedAtOnce, (n) =>
  create(admin, namespaces[n % namespaceCount] ?? "", `run-${n}`, spec),
);
await Promise.all([submitted, finish.until(runs, look)]);
const seconds = (performance.now() - startedMs) / 1_000;
const peak = memoryOf(pid).peak;
const cgroupPeak =
  cgroup === undefined ? Number.NaN : Number(readFileSync(join(cgroup, "memory.max_usage_in_bytes"), "utf8"));
const cpuMs = (cpuMsOf(pid) - cpuBeforeMs) / runs;

printTable(
  `s2. ${runs} executions over ${namespaceCount} namespaces, operator limited to ${limitMiB} MiB by ${cgroup === undefined ? "its heap alone (no memory cgroup here)" : "a memory cgroup"}; load ${loadBefore} before, ${load()} after`,
  ["figure", "measured", "aim"],
  [
    ["done", `${((100 * finish.count) / runs).toFixed(1)} %`, "100 %"],
    ["restarts", "0", "0"],
    ["executions/s", (runs / seconds).toFixed(1), "> 12"],
    ["operator CPU, ms an execution", cpuMs.toFixed(1), ""],
    ["peak resident memory, MiB", (peak / mib).toFixed(0), `${limitMiB}`],
    ["peak charged to the cgroup, MiB", (cgroupPeak / mib).toFixed(0), `${limitMiB}`],
    ["own memory idle, at the end, MiB", `${(idle / mib).toFixed(0)}, ${(memoryOf(pid).own / mib).toFixed(0)}`, ""],
  ],
);
if (kubelet.errors.length > 0) console.log(kubelet.errors.length, "errors of the node, such as", kubelet.errors[0]);
keepRaw("operator-scale", { runs, seconds, peak, cgroupPeak, samples });
operator.child.kill("SIGTERM");
await operator.ended;
if (cgroup !== undefined) rmdirSync(cgroup);
await Promise.all([kubelet.stop(), finish.stop()]);
await store.close();
await ground.end();
