/**
 * Bar g: kill -9 of a worker and of the operator, each in the middle of a run, until the next durable step, against the start of a pod
 * that nobody killed; and whether a recorded step is ever made again. Pods are processes of a node that reports as a kubelet does.
 * Run: npm run bench -- recovery
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { ProcessKubelet } from "../../hack/cluster/process-kubelet.ts";
import { systemClock } from "../../src/adapters/clock/system-clock.ts";
import { Informer } from "../../src/adapters/kube/informer.ts";
import { podName, workerSelector } from "../../src/adapters/kube/names.ts";
import { type KubeObject, resourcePath, resources } from "../../src/adapters/kube/resources.ts";
import type { KubeExecution } from "../../src/adapters/kube/stored.ts";
import { RedisStore } from "../../src/adapters/store/redis/redis-store.ts";
import { apiVersion } from "../../src/api/common.ts";
import type { ExecutionSpec } from "../../src/api/types.ts";
import { readEntry } from "../../src/core/steps/chain.ts";
import type { JournalEntry, StepEntry } from "../../src/core/steps/format.ts";
import { stepKey } from "../../src/core/steps/identity.ts";
import { root, sample, serveModel, workplace } from "../cli/harness.ts";
import { startToolServer } from "../support/tool-server.ts";
import { create } from "./ground/executions.ts";
import { keepRaw, load, openGround } from "./ground/ground.ts";
import { printTable, summary } from "./table.ts";

const rounds = Number(process.env["OAO_BENCH_ROUNDS"] ?? 9);
const namespace = "recovery";
/** Turns of each node: a model call and a tool call, one after the other. */
const turns = 12;
/** The worker is killed after so many steps. */
const killAfter = 6;

const loadBefore = load();
const ground = await openGround("recovery", true);
const { admin } = ground;
await ground.makeNamespace(namespace);
const store = await RedisStore.connect(ground.redis.url);
const place = workplace();
const tool = await startToolServer(() => ({ status: 200, body: { found: true } }));
const rules = Array.from(
  { length: turns },
  (_, turn) =>
    `  - { match: { turn: ${turn} }, reply: { toolCalls: [{ name: look, arguments: { q: "${turn}" } }], firstTokenDelayMs: 50 } }`,
);
const script = join(ground.folder, "model.yaml");
writeFileSync(script, `rules:\n${rules.join("\n")}\n  - { reply: { tokens: 5 } }\n`);
const baseURL = await serveModel(place, script);
const kubelet = new ProcessKubelet({
  client: admin,
  name: "node-0",
  program: root.replace(/\/$/, ""),
  baseDir: sample("."),
  logs: join(ground.folder, "pods"),
});
await kubelet.start();
await admin.request({
  method: "POST",
  path: resourcePath(resources.policies, { namespace }),
  body: {
    apiVersion,
    kind: "GovernancePolicy",
    metadata: { name: "tools", labels: { "oao.dev/default": "true" } },
    spec: { tools: { hosts: [{ host: new URL(tool.url).host }] } },
  },
});
/** When each pod was first seen. */
const seenMs = new Map<string, number>();
const pods = new Informer<KubeObject>({
  client: admin,
  clock: systemClock,
  resource: resources.pods,
  labelSelector: workerSelector,
});
pods.onChange(({ type, object }) => type === "Added" && seenMs.set(object.metadata.name, performance.now()));
pods.start();
await pods.synced;

const spec: ExecutionSpec = {
  task: "t",
  models: [{ name: "main", provider: "openai", model: "gpt-5-mini", baseURL }],
  tools: [
    {
      name: "look",
      description: "Looks",
      effect: "ReadOnly",
      http: { method: "POST", url: `${tool.url}/look`, inputSchema: { type: "object" } },
    },
  ],
  agents: [{ name: "a", model: "main", tools: ["look"] }],
  nodes: ["first", "second"].map((name, n) => ({
    name,
    agent: { ref: "a", prompt: name },
    ...(n === 0 ? {} : { dependsOn: ["first"] }),
  })),
};

const isStep = (entry: JournalEntry): entry is StepEntry => entry.type === "step";
async function stepsOf(run: KubeExecution, node: string): Promise<readonly StepEntry[]> {
  return (await store.entries(run.metadata.uid, { node }, 0, 1_000)).map(readEntry).filter(isStep);
}
/** When the steps of a node first are as wanted, by looking all the time. */
async function until<T>(look: () => Promise<T>, is: (found: T) => boolean): Promise<{ atMs: number; found: T }> {
  const lateMs = performance.now() + 60_000;
  for (;;) {
    const found = await look();
    if (is(found)) return { atMs: performance.now(), found };
    if (performance.now() > lateMs) throw new Error(`not seen in a minute: ${JSON.stringify(found).slice(0, 2_000)}`);
    await systemClock.sleep(1);
  }
}
const firstStep = (run: KubeExecution, node: string, attempt = 1) =>
  until(
    () => stepsOf(run, node),
    (steps) => steps.some((step) => step.attempt === attempt),
  );
const startOf = (run: KubeExecution, node: string, attempt = 1) =>
  until(
    async () => seenMs.get(podName(run.metadata.uid, { node }, attempt)),
    (ms) => ms !== undefined,
  ).then(({ found }) => found ?? Number.NaN);

async function ended(run: KubeExecution): Promise<number> {
  const path = resourcePath(resources.executions, { namespace, name: run.metadata.name });
  const { found } = await until(
    () => admin.request<KubeExecution>({ path }),
    ({ status }) => status?.completedAt !== undefined,
  );
  if (found.status?.phase !== "Succeeded") throw new Error(JSON.stringify(found.status));
  let repeated = 0;
  for (const node of ["first", "second"]) {
    const keys = (await stepsOf(run, node)).map((step) =>
      stepKey(step.path, step.kind, step.requestDigest, step.occurrence),
    );
    repeated += keys.length - new Set(keys).size;
    if (new Set(keys).size !== 2 * turns + 1) throw new Error(`${node} has ${new Set(keys).size} steps`);
  }
  return repeated;
}

const raw = {
  floor: [] as number[],
  worker: [] as number[],
  workerPod: [] as number[],
  operator: [] as number[],
  operatorFloor: [] as number[],
  repeated: 0,
};
// Alone, so that what is measured is its start and not how long a lease is.
const restart = () => ground.startOperator({ watched: [namespace], env: { OAO_LEADER_ELECTION: "false" } });
let operator = await restart();

for (let n = -1; n < rounds; n += 1) {
  // A worker dies.
  const struck = await create(admin, namespace, `worker-${n + 1}`, spec);
  const begun = await firstStep(struck, "first");
  const floor = begun.atMs - (await startOf(struck, "first"));
  await until(
    () => stepsOf(struck, "first"),
    (steps) => steps.length >= killAfter,
  );
  const pid = kubelet.pidOf(podName(struck.metadata.uid, { node: "first" }, 1));
  if (pid === undefined) throw new Error("the worker is not there");
  process.kill(pid, "SIGKILL");
  const killedMs = performance.now();
  const podMs = await startOf(struck, "first", 2);
  const next = await firstStep(struck, "first", 2);
  const repeated = await ended(struck);
  // The operator dies, while the first node is at work; another one is started at once.
  const orphan = await create(admin, namespace, `operator-${n + 1}`, spec);
  const started = await firstStep(orphan, "first");
  const orphanFloor = started.atMs - (await startOf(orphan, "first"));
  operator.child.kill("SIGKILL");
  const operatorKilledMs = performance.now();
  const restarted = restart();
  const last = await until(
    () => stepsOf(orphan, "first"),
    (steps) => steps.length === 2 * turns + 1,
  );
  operator = await restarted;
  const followed = await firstStep(orphan, "second");
  const calm = await ended(orphan);
  if (n < 0) continue; // warm-up
  raw.floor.push(floor);
  raw.worker.push(next.atMs - killedMs);
  raw.workerPod.push(podMs - killedMs);
  raw.operatorFloor.push(orphanFloor);
  raw.operator.push(followed.atMs - Math.max(last.atMs, operatorKilledMs));
  raw.repeated += repeated + calm;
}

const over = (list: readonly number[], floors: readonly number[]) => list.map((ms, n) => ms - (floors[n] ?? 0));
const times = (list: readonly number[], floors: readonly number[]) => list.map((ms, n) => ms / (floors[n] ?? 1));
const rowOf = (label: string, list: readonly number[], floors: readonly number[]) => [
  label,
  summary(list, 0).text,
  summary(over(list, floors), 0).text,
  summary(times(list, floors), 2).text,
];
printTable(
  `g. Milliseconds to the next durable step, ${rounds} rounds; load ${loadBefore} before, ${load()} after`,
  ["case", "median (min–max)", "over the floor (aim 250)", "x floor (aim 1.2)"],
  [
    ["floor: pod seen → first step", summary(raw.floor, 0).text, "0", "1"],
    ["worker killed → its next pod is seen", summary(raw.workerPod, 0).text, "", ""],
    rowOf("worker killed → next step", raw.worker, raw.floor),
    rowOf(
      "operator killed and started again: last step of a node → first of the next",
      raw.operator,
      raw.operatorFloor,
    ),
  ],
);
printTable("g. Recorded steps that were made again", ["figure", "all rounds"], [["repeated", String(raw.repeated)]]);
keepRaw("recovery", { rounds, ...raw });
operator.child.kill("SIGTERM");
await operator.ended;
await pods.stop();
await kubelet.stop();
await tool.close();
await place.end();
await store.close();
await ground.end();
