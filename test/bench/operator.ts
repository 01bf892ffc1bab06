/**
 * Bars b and h: executions to completion and API writes for each, on a real API server with a node that finishes pods at once, next to
 * an operator that only makes the least writes; the size of an Execution as its steps grow.
 * Run: npm run bench -- operator
 */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { systemClock } from "../../src/adapters/clock/system-clock.ts";
import { resourcePath, resources } from "../../src/adapters/kube/resources.ts";
import type { KubeExecution } from "../../src/adapters/kube/stored.ts";
import { RedisStore } from "../../src/adapters/store/redis/redis-store.ts";
import { watchChild } from "../cli/harness.ts";
import { modelStep } from "../support/steps.ts";
import { create, Finish, toolRun } from "./ground/executions.ts";
import { cpuMsOf, difference, inParallel, keepRaw, load, openGround, writesSoFar } from "./ground/ground.ts";
import { SimulatedKubelet } from "./ground/kubelet.ts";
import { printTable, summary } from "./table.ts";

const rounds = Number(process.env["OAO_BENCH_ROUNDS"] ?? 9);
const runs = Number(process.env["OAO_BENCH_RUNS"] ?? 100);
const stepCounts = (process.env["OAO_BENCH_STEPS"] ?? "1,10,100,1000,10000").split(",").map(Number);
const submittedAtOnce = 16;
/** Events are told after what they are about. */
const settleMs = 1_500;

const loadBefore = load();
const ground = await openGround("operator");
const { admin } = ground;
for (const namespace of ["oao", "null"]) await ground.makeNamespace(namespace);
const store = await RedisStore.connect(ground.redis.url);
const stepsOf = new Map<string, number>();
const kubelet = new SimulatedKubelet({
  client: admin,
  store: ({ metadata }) => (metadata.namespace === "null" ? undefined : store),
  work: async ({ key }, session) => {
    for (let n = 0; n < (stepsOf.get(key.name) ?? 0); n += 1) await modelStep(session, n, `answer ${n}`);
  },
});
const finish = new Finish(admin);
await Promise.all([kubelet.start(), finish.start()]);
const profile = process.env["OAO_BENCH_PROFILE"];
const operator = await ground.startOperator({
  watched: ["oao"],
  nodeOptions: profile === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${profile}`],
});
const nullProgram = fileURLToPath(new URL("ground/null-operator.ts", import.meta.url));
const nullOperator = watchChild(
  spawn(process.execPath, [nullProgram, ground.kubeconfig, "null"], { stdio: ["ignore", "pipe", "pipe"] }),
);
process.once("exit", () => nullOperator.child.kill("SIGKILL"));
await nullOperator.said("ready");
for (const { child, ended } of [operator, nullOperator])
  void ended.then(({ code, signal, stderr }) => {
    if (!isOver) console.error(`${child.spawnargs.join(" ")} ended (${code ?? signal}):\n${stderr}`);
  });
let isOver = false;

interface Round {
  readonly perSecond: number;
  /** Of the operator's processor, for each execution. */
  readonly cpuMs: number;
  readonly writes: Readonly<Record<string, number>>;
}

let batch = 0;
async function round(namespace: string, nodes: number): Promise<Round> {
  batch += 1;
  const names = Array.from({ length: runs }, (_, n) => `b${batch}-${n}`);
  const spec = toolRun(nodes);
  const before = await writesSoFar(admin);
  const target = finish.count + runs;
  const pid = (namespace === "oao" ? operator : nullOperator).child.pid ?? 0;
  const cpuBeforeMs = cpuMsOf(pid);
  const startedMs = performance.now();
  await inParallel(names, submittedAtOnce, (name) => create(admin, namespace, name, spec));
  await finish.until(target);
  const seconds = (performance.now() - startedMs) / 1_000;
  await systemClock.sleep(settleMs);
  const writes = difference(await writesSoFar(admin), before);
  const cpuMs = (cpuMsOf(pid) - cpuBeforeMs) / runs;
  return {
    cpuMs,
    perSecond: runs / seconds,
    writes: Object.fromEntries([...writes].map(([name, n]) => [name, n / runs])),
  };
}

const raw: Record<string, Round[]> = { "oao 1": [], "null 1": [], "oao 3": [], "null 3": [] };
for (let n = -1; n < rounds; n += 1) {
  for (const nodes of [1, 3]) {
    for (const who of n % 2 === 0 ? ["oao", "null"] : ["null", "oao"]) {
      const measured = await round(who, nodes);
      if (n >= 0) raw[`${who} ${nodes}`]?.push(measured); // the first is a warm-up
    }
  }
}

const of = (name: string) => raw[name] ?? [];
const middle = (name: string, write: string) => summary(of(name).map(({ writes }) => writes[write] ?? 0)).median;
const onObject = ["PATCH executions", "PUT executions/status"];
const own = [...onObject, "POST pods"];
const rowOf = (name: string, label: string) => {
  const ratio = of(name).map(({ perSecond }, n) => perSecond / (of(name.replace("oao", "null"))[n]?.perSecond ?? 0));
  return [
    label,
    summary(of(name).map(({ perSecond }) => perSecond)).text,
    summary(ratio, 2).text,
    summary(of(name).map(({ cpuMs }) => cpuMs)).text,
    own.reduce((sum, write) => sum + middle(name, write), 0).toFixed(2),
    own.map((write) => middle(name, write).toFixed(2)).join(" + "),
    middle(name, "POST secrets").toFixed(2),
    (middle(name, "POST events") + middle(name, "PATCH events")).toFixed(2),
  ];
};
printTable(
  `b. ${runs} executions submitted at once, ${rounds} rounds, pods finished at once; load ${loadBefore} before, ${load()} after`,
  [
    "case",
    "executions/s",
    "x null operator (aim 0.7)",
    "operator CPU, ms",
    "writes (aim 4.5, 8)",
    "object + status + pods",
    "Secret",
    "Events",
  ],
  [
    rowOf("null 1", "null operator, one pod"),
    rowOf("oao 1", "OAO, one pod"),
    rowOf("null 3", "null operator, three in a row"),
    rowOf("oao 3", "OAO, three in a row"),
  ],
);

const sizes: { steps: number; bytes: number; writes: number; seconds: number }[] = [];
for (const steps of stepCounts) {
  const name = `steps-${steps}`;
  stepsOf.set(name, steps);
  const before = await writesSoFar(admin);
  const target = finish.count + 1;
  const startedMs = performance.now();
  await create(admin, "oao", name, toolRun(1));
  await finish.until(target);
  const seconds = (performance.now() - startedMs) / 1_000;
  const writes = difference(await writesSoFar(admin), before);
  const path = resourcePath(resources.executions, { namespace: "oao", name });
  const { metadata, spec, status } = await admin.request<KubeExecution>({ path });
  if (status?.steps !== steps) throw new Error(`${name} has ${status?.steps} steps`);
  const bytes = Buffer.byteLength(
    JSON.stringify({ metadata: { ...metadata, name: "", managedFields: [] }, spec, status }),
  );
  sizes.push({ steps, bytes, seconds, writes: onObject.reduce((sum, write) => sum + (writes.get(write) ?? 0), 0) });
}
printTable(
  "h. One Execution as its steps grow",
  ["steps", "bytes", "x first (aim 1.05)", "writes to it (aim 4)", "seconds"],
  sizes.map(({ steps, bytes, writes, seconds }) => [
    String(steps),
    String(bytes),
    (bytes / (sizes[0]?.bytes ?? 0)).toFixed(3),
    String(writes),
    seconds.toFixed(1),
  ]),
);
if (kubelet.errors.length > 0) console.log(kubelet.errors.length, "errors of the node, such as", kubelet.errors[0]);
keepRaw("operator", { rounds, runs, raw, sizes });
isOver = true;
nullOperator.child.kill("SIGKILL");
operator.child.kill("SIGTERM");
await operator.ended;
await Promise.all([kubelet.stop(), finish.stop()]);
await store.close();
await ground.end();
