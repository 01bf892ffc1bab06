/**
 * Bar e: what the operator holds for live executions of three pods each, next to the client library's own informers on the same objects
 * and to the bytes of what it keeps of them; and what is left when they are gone. After full collections, by the inspector.
 * Run: npm run bench -- operator-memory
 */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { systemClock } from "../../src/adapters/clock/system-clock.ts";
import { type KubeObject, resourcePath, resources } from "../../src/adapters/kube/resources.ts";
import { type KubeExecution, trimExecution } from "../../src/adapters/kube/stored.ts";
import { trimPod, type WorkerPod } from "../../src/adapters/kube/worker-view.ts";
import { RedisStore } from "../../src/adapters/store/redis/redis-store.ts";
import { watchChild } from "../cli/harness.ts";
import { create, Finish, toolRun } from "./ground/executions.ts";
import { inParallel, keepRaw, load, openGround } from "./ground/ground.ts";
import { collectedMemory } from "./ground/inspector.ts";
import { SimulatedKubelet } from "./ground/kubelet.ts";
import { printTable } from "./table.ts";

const runs = Number(process.env["OAO_BENCH_RUNS"] ?? 1_000);
const nodes = 3;
const inspected = ["--inspect=127.0.0.1:0"];
const namespace = "live";

const loadBefore = load();
const ground = await openGround("memory");
const { admin } = ground;
await ground.makeNamespace(namespace);
const store = await RedisStore.connect(ground.redis.url);
const kubelet = new SimulatedKubelet({ client: admin, store: () => store, work: async () => "Stays" });
const finish = new Finish(admin);
await Promise.all([kubelet.start(), finish.start()]);
const operator = await ground.startOperator({ nodeOptions: inspected });
const stockProgram = fileURLToPath(new URL("ground/stock-informers.ts", import.meta.url));
const stock = watchChild(
  spawn(process.execPath, [...inspected, stockProgram, ground.kubeconfig], { stdio: ["ignore", "pipe", "pipe"] }),
);
process.once("exit", () => stock.child.kill("SIGKILL"));
await stock.said("ready");
const look = async () => {
  await systemClock.sleep(3_000); // what is on its way arrives
  return { oao: await collectedMemory(operator), stock: await collectedMemory(stock) };
};

const idle = await look();
const spec = toolRun(nodes, false);
const names = Array.from({ length: runs }, (_, n) => `live-${n}`);
await inParallel(names, 16, (name) => create(admin, namespace, name, spec));
for (let tries = 0; kubelet.staying < runs * nodes; tries += 1) {
  if (tries === 3_000) throw new Error(`${kubelet.staying} of ${runs * nodes} pods are at work`);
  await systemClock.sleep(100);
}
const live = await look();
const trimmed = await trimmedBytes();
await kubelet.finishAll();
await finish.until(runs);
const over = await look();
for (const resource of [resources.pods, resources.executions]) {
  const body = { gracePeriodSeconds: 0 };
  await admin.request({ method: "DELETE", path: resourcePath(resource, { namespace }), body, timeoutMs: 120_000 });
}
for (let tries = 0; tries < 600 && (await count()) > 0; tries += 1) await systemClock.sleep(500);
const after = await look();

async function all<T extends KubeObject>(resource: "executions" | "pods"): Promise<readonly T[]> {
  return (await admin.request<{ items: T[] }>({ path: resourcePath(resources[resource], { namespace }) })).items;
}
async function trimmedBytes(): Promise<number> {
  const without = <T extends KubeObject>(object: T): T => {
    const { managedFields: _, ...metadata } = object.metadata;
    return { ...object, metadata };
  };
  const kept = [
    ...(await all<KubeExecution>("executions")).map((each) => trimExecution(without(each))),
    ...(await all<WorkerPod>("pods")).map((each) => trimPod(without(each))),
  ];
  return kept.reduce((sum, each) => sum + Buffer.byteLength(JSON.stringify(each)), 0);
}
async function count(): Promise<number> {
  return (await all("executions")).length + (await all("pods")).length;
}

const mib = (bytes: number) => (bytes / 1_024 / 1_024).toFixed(1);
const grown = { oao: live.oao.heapUsed - idle.oao.heapUsed, stock: live.stock.heapUsed - idle.stock.heapUsed };
const rowOf = (label: string, who: "oao" | "stock") => [
  label,
  ...[idle, live, over, after].map((at) => `${mib(at[who].heapUsed)} (${mib(at[who].rss)})`),
  mib((grown[who] * 1_000) / runs),
  (grown[who] / grown.stock).toFixed(2),
  (grown[who] / trimmed).toFixed(2),
  (after[who].heapUsed / idle[who].heapUsed).toFixed(2),
];
printTable(
  `e. ${runs} executions of ${nodes} pods, MiB of heap (resident); what is kept is ${mib(trimmed)} MiB of JSON; load ${loadBefore} before, ${load()} after`,
  [
    "who",
    "idle",
    "live",
    "over",
    "deleted",
    "grown per 1,000",
    "x stock (aim 0.5)",
    "x kept (aim 2)",
    "deleted / idle (aim 1.2)",
  ],
  [rowOf("client library's informers", "stock"), rowOf("OAO operator", "oao")],
);
if (kubelet.errors.length > 0) console.log(kubelet.errors.length, "errors of the node, such as", kubelet.errors[0]);
keepRaw("operator-memory", { runs, trimmed, idle, live, over, after });
stock.child.kill("SIGKILL");
operator.child.kill("SIGTERM");
await operator.ended;
await Promise.all([kubelet.stop(), finish.stop()]);
await store.close();
await ground.end();
