/** What operator benchmarks stand on: a control plane of their own, Redis as the chart runs it, the built operator with the chart's rights. */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "yaml";
import { down, up } from "../../../hack/cluster/control-plane.ts";
import { isAlive, layoutOf, startedOf } from "../../../hack/cluster/layout.ts";
import { systemClock } from "../../../src/adapters/clock/system-clock.ts";
import { KubeClient } from "../../../src/adapters/kube/client.ts";
import { loadKubeConfig } from "../../../src/adapters/kube/connection.ts";
import { type KubeObject, type Resource, resourcePath, resources } from "../../../src/adapters/kube/resources.ts";
import { root, type Started, watchChild } from "../../cli/harness.ts";
import { operatorAccess, operatorStoreUrl, operatorUser } from "../../support/operator-access.ts";
import { durable, RedisProcess } from "../../support/redis-process.ts";

const customResources: Resource = { group: "apiextensions.k8s.io", version: "v1", plural: "customresourcedefinitions" };
const serviceAccounts: Resource = { group: "", version: "v1", plural: "serviceaccounts" };
const namespaces: Resource = { group: "", version: "v1", plural: "namespaces" };

export interface Ground {
  readonly admin: KubeClient;
  readonly kubeconfig: string;
  readonly redis: RedisProcess;
  /** Removed with the ground. */
  readonly folder: string;
  /** `home` is the operator's own namespace. */
  readonly home: string;
  makeNamespace(name: string): Promise<void>;
  /** Resolves when it leads. `watched` empty = all namespaces. */
  startOperator(options?: OperatorOptions): Promise<Started>;
  end(): Promise<void>;
}

export interface OperatorOptions {
  readonly watched?: readonly string[];
  readonly identity?: string;
  readonly nodeOptions?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Of a cgroup that it joins before it starts. */
  readonly cgroup?: string;
}

/** `withScheduler` false: nothing binds pods, so nothing but the benchmark and its operator writes to them. */
export async function openGround(name: string, withScheduler = false): Promise<Ground> {
  const layout = layoutOf(`bench-${name}-${process.pid}`);
  const operators: Started[] = [];
  let redis: RedisProcess | undefined;
  // Whatever ends the benchmark, nothing that it started stays.
  process.once("exit", () => {
    for (const { pid } of startedOf(layout).filter(isAlive)) process.kill(pid, "SIGTERM");
    for (const { child } of operators) child.kill("SIGKILL");
    if (redis !== undefined) void redis.remove();
    rmSync(layout.folder, { recursive: true, force: true });
  });
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => process.exit(1));
  await up(layout, undefined, withScheduler ? [] : ["kube-scheduler"]);
  const admin = new KubeClient(loadKubeConfig(layout.kubeconfig), { clock: systemClock });
  await installKinds(admin);
  const folder = mkdtempSync(join(tmpdir(), "oao-bench-"));
  redis = await RedisProcess.start({ ...durable, user: operatorUser() }, true);
  const makeNamespace = async (namespace: string) => {
    const labels = { "pod-security.kubernetes.io/enforce": "restricted" };
    const body = { metadata: { name: namespace, labels } };
    await admin.request({ method: "POST", path: resourcePath(namespaces), body });
    // No pod is taken before its service account is there.
    await answers(admin, resourcePath(serviceAccounts, { namespace, name: "default" }));
  };
  const home = "oao-system";
  await makeNamespace(home);
  const access = { admin, kubeconfig: layout.kubeconfig, namespace: home, folder };
  const kubeconfig = await operatorAccess(access, "Cluster");
  const server = redis;
  return {
    admin,
    kubeconfig: layout.kubeconfig,
    redis: server,
    folder,
    home,
    makeNamespace,
    async startOperator({ watched = [], identity = "operator-0", nodeOptions = [], env = {}, cgroup } = {}) {
      const command = [process.execPath, ...nodeOptions, join(root, "dist/operator.js")];
      const join_ = 'echo $$ > "$0/cgroup.procs" && exec "$@"';
      const [program = "", ...args] = cgroup === undefined ? command : ["sh", "-c", join_, cgroup, ...command];
      const child = spawn(program, args, {
        env: {
          PATH: process.env["PATH"] ?? "",
          KUBECONFIG: kubeconfig,
          OAO_STORE: operatorStoreUrl(server.port),
          OAO_STORE_USER_KEY: "a key for benchmarks, and for nothing else",
          OAO_NAMESPACES: watched.join(","),
          OAO_POD_NAMESPACE: home,
          OAO_IDENTITY: identity,
          OAO_WORKER_IMAGE: "oao-worker:bench",
          OAO_METRICS_PORT: "0",
          OAO_LOG_LEVEL: "info",
          ...env,
        },
        stdio: ["ignore", "pipe", "pipe"],
      });
      const started = watchChild(child);
      operators.push(started);
      if (env["OAO_LEADER_ELECTION"] === "false") await started.said('"operator starts"');
      else await leads(admin, home, identity, started);
      return started;
    },
    async end() {
      for (const { child } of operators) child.kill("SIGKILL");
      await Promise.all(operators.map(({ ended }) => ended));
      await server.remove();
      admin.close();
      await down(layout);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function leads(admin: KubeClient, namespace: string, identity: string, started: Started): Promise<void> {
  const path = resourcePath(resources.leases, { namespace, name: "oao" });
  for (let tries = 0; started.child.exitCode === null && tries < 600; tries += 1) {
    const lease = await admin.request<{ spec: { holderIdentity?: string } }>({ path }).catch(() => undefined);
    if (lease?.spec.holderIdentity === identity) return;
    await systemClock.sleep(100);
  }
  throw new Error(`the operator does not lead:\n${started.text()}`);
}

async function installKinds(admin: KubeClient): Promise<void> {
  for (const resource of [resources.executions, resources.policies]) {
    const body = parse(
      readFileSync(join(root, "crds", `${resource.group}_${resource.plural}.yaml`), "utf8"),
    ) as KubeObject;
    await admin.request({ method: "POST", path: resourcePath(customResources), body });
    await answers(admin, resourcePath(resource));
  }
}

/** Resolves once a GET of it is answered. */
async function answers(admin: KubeClient, path: string): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    const answer = await admin.request({ path }).catch((error: unknown) => error);
    if (!(answer instanceof Error)) return;
    if (tries === 200) throw answer;
    await systemClock.sleep(100);
  }
}

/** Requests that changed something, by `verb resource[/subresource]`, since the API server started. */
export async function writesSoFar(admin: KubeClient): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  const lines: string[] = [];
  await admin.lines(
    { path: "/metrics" },
    (line) => void (line.startsWith("apiserver_request_total{") && lines.push(line)),
  );
  for (const line of lines) {
    const label = (name: string) => new RegExp(`[{,]${name}="([^"]*)"`).exec(line)?.[1] ?? "";
    if (!["POST", "PUT", "PATCH", "APPLY", "DELETE"].includes(label("verb"))) continue;
    const subresource = label("subresource");
    const name = `${label("verb")} ${label("resource")}${subresource === "" ? "" : `/${subresource}`}`;
    counts.set(name, (counts.get(name) ?? 0) + Number(line.slice(line.lastIndexOf(" ") + 1)));
  }
  return counts;
}

export function difference(
  after: ReadonlyMap<string, number>,
  before: ReadonlyMap<string, number>,
): Map<string, number> {
  const changes = [...after].map(([name, count]) => [name, count - (before.get(name) ?? 0)] as const);
  return new Map(changes.filter(([, count]) => count > 0));
}

/** Milliseconds of processor time that a process has had; Linux counts it in hundredths of a second. */
export function cpuMsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

export function keepRaw(name: string, raw: object): void {
  const folder = process.env["OAO_BENCH_JSON"];
  if (folder === undefined) return;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${name}.json`), JSON.stringify({ load: loadavg(), ...raw }));
}

export function load(): string {
  return loadavg()
    .map((each) => each.toFixed(1))
    .join(" ");
}

/** Work for every element, so many at once. */
export async function inParallel<T>(
  elements: Iterable<T>,
  atOnce: number,
  work: (element: T) => Promise<unknown>,
): Promise<void> {
  const iterator = elements[Symbol.iterator]();
  const lane = async () => {
    for (let next = iterator.next(); next.done !== true; next = iterator.next()) await work(next.value);
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
}
