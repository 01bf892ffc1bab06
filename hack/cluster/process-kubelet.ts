// A node of a test cluster whose pods are local processes: each bound worker pod's container runs as a child process with its own
// environment and log. It reports phases, exit codes and signals as a kubelet does, and honours deletion and grace.
//
// What it is not: no image, no namespace, no cgroup, no probes. Pods of anything but workers are left alone.
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../src/adapters/clock/system-clock.ts";
import type { KubeClient } from "../../src/adapters/kube/client.ts";
import { Informer } from "../../src/adapters/kube/informer.ts";
import { isKubeError, KubeError, unless } from "../../src/adapters/kube/kube-error.ts";
import { workerSelector } from "../../src/adapters/kube/names.ts";
import { type KubeObject, type Resource, resourcePath, resources } from "../../src/adapters/kube/resources.ts";

interface EnvVar {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: { readonly secretKeyRef?: { readonly name: string; readonly key: string } };
}

interface Pod extends KubeObject {
  readonly spec: {
    readonly nodeName?: string;
    readonly terminationGracePeriodSeconds?: number;
    readonly volumes?: readonly {
      readonly name: string;
      readonly configMap?: { readonly name: string };
      readonly secret?: { readonly secretName: string };
    }[];
    readonly containers: readonly {
      readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
      readonly name: string;
      readonly image: string;
      readonly command: readonly string[];
      readonly env?: readonly EnvVar[];
    }[];
  };
  readonly status?: { readonly phase?: string };
}

export interface ProcessKubeletOptions {
  readonly client: KubeClient;
  readonly name: string;
  /** What the image's /app is here. */
  readonly program: string;
  /** What OAO_BASE_DIR becomes: where module tools lie. */
  readonly baseDir: string;
  /** One file per pod. */
  readonly logs: string;
  /** Added to every process, such as a shorter grace in tests. */
  readonly env?: Readonly<Record<string, string>>;
}

interface Run {
  readonly pod: Pod;
  readonly child: ChildProcess;
  readonly ended: Promise<void>;
}

const nodes: Resource = { group: "", version: "v1", plural: "nodes" };
const configMaps: Resource = { group: "", version: "v1", plural: "configmaps" };
/** The node controller gives a node up after 40 s without one. */
const heartbeatMs = 10_000;
const retryMs = 1_000;

export class ProcessKubelet {
  readonly #options: ProcessKubeletOptions;
  readonly #runs = new Map<string, Run>();
  readonly #taken = new Set<string>();
  readonly #work = new Set<Promise<void>>();
  readonly #retries = new Set<NodeJS.Timeout>();
  #informer: Informer<Pod> | undefined;
  #heartbeat: NodeJS.Timeout | undefined;
  #isCutOff = false;

  constructor(options: ProcessKubeletOptions) {
    this.#options = options;
  }

  /** Resolves when the node is Ready. */
  async start(): Promise<void> {
    mkdirSync(this.#options.logs, { recursive: true });
    const { client, name } = this.#options;
    const body = { apiVersion: "v1", kind: "Node", metadata: { name, labels: { "kubernetes.io/hostname": name } } };
    await client.request({ method: "POST", path: resourcePath(nodes), body }).catch(unless(409));
    await this.#sayReady();
    this.#heartbeat = setInterval(() => void this.#sayReady().catch(() => undefined), heartbeatMs);
    this.#informer = new Informer<Pod>({
      client,
      clock: systemClock,
      resource: resources.pods,
      labelSelector: workerSelector,
    });
    this.#informer.onChange(({ type, object }) => {
      if (object.spec.nodeName !== name) return;
      if (type === "Deleted") this.#runs.get(object.metadata.uid)?.child.kill("SIGKILL");
      else this.#track(this.#sync(object));
    });
    this.#informer.start();
    await this.#informer.synced;
  }

  /** As a machine that is cut off: from now on it hears and says nothing, and its processes go on. */
  async partition(): Promise<void> {
    this.#endTimers();
    await this.#informer?.stop();
    this.#isCutOff = true;
  }

  /** Ends every process that it started, and takes its node away: nothing may be bound to it any more. */
  async stop(): Promise<void> {
    this.#endTimers();
    await this.#informer?.stop();
    for (const { child } of this.#runs.values()) child.kill("SIGKILL");
    await Promise.all([...this.#runs.values()].map(({ ended }) => ended));
    await Promise.allSettled(this.#work);
    const { client, name } = this.#options;
    await client.request({ method: "DELETE", path: resourcePath(nodes, { name }) }).catch(unless(404));
  }

  /** Of a pod that runs now. */
  pidOf(podName: string): number | undefined {
    return [...this.#runs.values()].find(({ pod }) => pod.metadata.name === podName)?.child.pid;
  }

  #endTimers(): void {
    clearInterval(this.#heartbeat);
    for (const timer of this.#retries) clearTimeout(timer);
  }

  #track(work: Promise<void>): void {
    const tracked = work.catch((error: unknown) => {
      // The API server may be away or the pod gone: the next event of the pod tries again.
      if (!(error instanceof KubeError)) throw error;
    });
    this.#work.add(tracked);
    void tracked.finally(() => this.#work.delete(tracked));
  }

  async #sync(pod: Pod): Promise<void> {
    const { uid, deletionTimestamp } = pod.metadata;
    const run = this.#runs.get(uid);
    const isOver = pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";
    if (deletionTimestamp !== undefined) {
      if (run === undefined) return this.#forget(pod);
      run.child.kill("SIGTERM");
      const { deletionGracePeriodSeconds = 30 } = pod.metadata as { readonly deletionGracePeriodSeconds?: number };
      const force = setTimeout(() => run.child.kill("SIGKILL"), deletionGracePeriodSeconds * 1_000);
      await run.ended.finally(() => clearTimeout(force));
      return this.#forget(pod);
    }
    if (run !== undefined || isOver || this.#taken.has(uid)) return undefined;
    this.#taken.add(uid);
    const hasBegun = await this.#run(pod).catch((error: unknown) => {
      this.#taken.delete(uid);
      throw error;
    });
    if (hasBegun) return undefined;
    this.#taken.delete(uid);
    // As a kubelet does: what is missing may be there later, and the pod tells nothing of that.
    const timer = setTimeout(() => {
      this.#retries.delete(timer);
      const current = this.#informer?.get(pod.metadata.namespace ?? "", pod.metadata.name);
      if (current?.metadata.uid === uid) this.#track(this.#sync(current));
    }, retryMs);
    this.#retries.add(timer);
    return undefined;
  }

  /** Whether its process was started. */
  async #run(pod: Pod): Promise<boolean> {
    const { program, baseDir, logs, env: more } = this.#options;
    const [container] = pod.spec.containers;
    if (container === undefined) return true;
    const waiting = async (reason: string, message: string) => {
      await this.#report(pod, { phase: "Pending" }, { waiting: { reason, message } }, false);
      return false;
    };
    const env: Record<string, string> = { PATH: process.env["PATH"] ?? "" };
    for (const { name, value, valueFrom } of container.env ?? []) {
      const found = valueFrom === undefined ? (value ?? "") : await this.#secret(pod, valueFrom.secretKeyRef);
      if (found === undefined) return waiting("CreateContainerConfigError", `secret of ${name} or its key not found`);
      env[name] = found;
    }
    const top = await this.#mount(pod);
    if (top === undefined) return false; // a kubelet says so in an Event alone
    for (const [variable, value] of Object.entries(env))
      if (value.startsWith("/etc/oao/")) env[variable] = join(top, value);
    const log = openSync(join(logs, `${pod.metadata.namespace}_${pod.metadata.name}.log`), "a");
    const [command = "", ...args] = container.command.map((part) => part.replace(/^\/app\//, `${program}/`));
    const child = spawn(command === "node" ? process.execPath : command, args, {
      env: { ...env, OAO_BASE_DIR: baseDir, ...more },
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    const startedAt = new Date().toISOString();
    const exit = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
      child.once("error", () => resolve({ code: 128, signal: null }));
      child.once("exit", (code, signal) => resolve({ code, signal }));
    });
    const running = this.#report(pod, { phase: "Running" }, { running: { startedAt } }, true).catch(() => undefined);
    const ended = exit.then(async ({ code, signal }) => {
      await running;
      const exitCode = code ?? 128 + signalNumber(signal);
      const reason = exitCode === 0 ? "Completed" : "Error";
      const terminated = { exitCode, reason, startedAt, finishedAt: new Date().toISOString() };
      const phase = exitCode === 0 ? "Succeeded" : "Failed";
      await this.#reportUntilTold(pod, phase, terminated);
      this.#runs.delete(pod.metadata.uid);
    });
    this.#runs.set(pod.metadata.uid, { pod, child, ended });
    this.#track(ended);
    return true;
  }

  /** An exit code is told once the API server can be told. */
  async #reportUntilTold(pod: Pod, phase: string, terminated: object): Promise<void> {
    for (let tries = 0; tries < 600 && !this.#isCutOff; tries += 1) {
      try {
        return await this.#report(pod, { phase }, { terminated }, false);
      } catch (error) {
        if (isKubeError(error, 404)) return undefined;
        await systemClock.sleep(200);
      }
    }
    return undefined;
  }

  async #report(pod: Pod, status: object, state: object, ready: boolean): Promise<void> {
    const [container] = pod.spec.containers;
    const containerStatuses = [
      { name: container?.name, image: container?.image, imageID: "", ready, restartCount: 0, state },
    ];
    const path = resourcePath(resources.pods, { ...place(pod), subresource: "status" });
    const body = { metadata: { uid: pod.metadata.uid }, status: { ...status, containerStatuses } };
    await this.#options.client.request({ method: "PATCH", patch: "Merge", path, body });
  }

  async #secret(
    pod: Pod,
    ref: { readonly name: string; readonly key: string } | undefined,
  ): Promise<string | undefined> {
    if (ref === undefined) return undefined;
    const { namespace } = place(pod);
    const path = resourcePath(resources.secrets, { namespace, name: ref.name });
    const found = await this.#options.client
      .request<{ readonly data?: Readonly<Record<string, string>> }>({ path })
      .catch(unless(404));
    const value = found?.data?.[ref.key];
    return value === undefined ? undefined : Buffer.from(value, "base64").toString();
  }

  /** Files of Secrets and ConfigMaps below a folder that stands for the pod's root; undefined = one of them is missing. */
  async #mount(pod: Pod): Promise<string | undefined> {
    const { namespace, name } = place(pod);
    const top = join(this.#options.logs, `${namespace}_${name}.root`);
    for (const { name: volume, configMap, secret } of pod.spec.volumes ?? []) {
      const source = configMap?.name ?? secret?.secretName;
      const mount = pod.spec.containers[0]?.volumeMounts?.find((each) => each.name === volume);
      if (source === undefined || mount === undefined) continue;
      const path = resourcePath(secret === undefined ? configMaps : resources.secrets, { namespace, name: source });
      const found = await this.#options.client
        .request<{ readonly data?: Readonly<Record<string, string>> }>({ path })
        .catch(unless(404));
      if (found === undefined) return undefined;
      const { data = {} } = found;
      mkdirSync(join(top, mount.mountPath), { recursive: true });
      for (const [key, value] of Object.entries(data))
        writeFileSync(join(top, mount.mountPath, key), secret === undefined ? value : Buffer.from(value, "base64"));
    }
    return top;
  }

  async #forget(pod: Pod): Promise<void> {
    const path = resourcePath(resources.pods, place(pod));
    const body = { gracePeriodSeconds: 0, preconditions: { uid: pod.metadata.uid } };
    await this.#options.client.request({ method: "DELETE", path, body }).catch(unless(404, 409));
  }

  async #sayReady(): Promise<void> {
    const { client, name } = this.#options;
    const now = new Date().toISOString();
    const room = { cpu: "1000", memory: "1000Gi", pods: "1000" };
    const conditions = [
      { type: "Ready", status: "True", reason: "KubeletReady", lastHeartbeatTime: now, lastTransitionTime: now },
    ];
    const body = { status: { capacity: room, allocatable: room, conditions } };
    await client.request({
      method: "PATCH",
      patch: "Merge",
      path: resourcePath(nodes, { name, subresource: "status" }),
      body,
    });
  }
}

function place({ metadata: { name, namespace = "" } }: Pod): { name: string; namespace: string } {
  return { name, namespace };
}

function signalNumber(signal: NodeJS.Signals | null): number {
  return signal === "SIGKILL" ? 9 : signal === "SIGTERM" ? 15 : 1;
}
