/** The built operator under its chart's own Role, a node of local processes, a real Redis, a scripted model and a catalogue. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { spawn } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inject } from "vitest";
import { parseAllDocuments } from "yaml";
import { ProcessKubelet } from "../../../hack/cluster/process-kubelet.ts";
import type { KubeClient } from "../../../src/adapters/kube/client.ts";
import { podName } from "../../../src/adapters/kube/names.ts";
import { type KubeObject, resourcePath, resources } from "../../../src/adapters/kube/resources.ts";
import type { KubeExecution } from "../../../src/adapters/kube/stored.ts";
import type { NodeKey } from "../../../src/core/protocol/types.ts";
import { root, sample, serveModel, type Started, watchChild, type Workplace, workplace } from "../../cli/harness.ts";
import { accountAccess, operatorAccess, operatorStoreUrl, operatorUser } from "../../support/operator-access.ts";
import { durable, freePort, RedisProcess } from "../../support/redis-process.ts";
import { adminClient, installKinds, makeNamespace, removeNamespace, withoutAdmission } from "../adapter/api-server.ts";
import { eventually } from "../../support/patience.ts";

export interface Field {
  readonly admin: KubeClient;
  readonly namespace: string;
  /** Where the operator's account lives. */
  readonly home: string;
  readonly redis: RedisProcess;
  readonly kubelet: ProcessKubelet;
  readonly place: Workplace;
  readonly folder: string;
  /** Of the operator's own account. */
  readonly kubeconfig: string;
  /** A further machine of local processes, ended with the field. */
  addNode(): Promise<ProcessKubelet>;
  startOperator(identity?: string, env?: Readonly<Record<string, string>>): Promise<Operator>;
  /** URL of a model that answers as `text` says, which is kept in a file of this name. */
  script(name: string, text: string): Promise<string>;
  /** The sample, with the field's model and catalogue, under another name. */
  apply(file: string, name: string, model: string): Promise<KubeExecution>;
  get(name: string): Promise<KubeExecution>;
  /** Resolves when the status says so; rejects with what it says instead once that takes longer than any machine needs. */
  until(name: string, is: (run: KubeExecution) => boolean): Promise<KubeExecution>;
  patch(name: string, body: object): Promise<void>;
  pods(): Promise<readonly KubeObject[]>;
  /** Reasons of the run's Events. */
  reasons(name: string): Promise<string[]>;
  pidOf(run: KubeExecution, key: NodeKey, attempt?: number): number | undefined;
  /** Resolves once the node's process is there. */
  untilAtWork(name: string, node: string, attempt?: number): Promise<KubeExecution>;
  end(): Promise<void>;
}

/** Whether nothing more is written of the run, and nothing of it can change. */
export const ended = ({ status }: KubeExecution) => status?.completedAt !== undefined && status.sealed === true;

export interface Operator extends Started {
  readonly url: string;
  /** Port of the HTTP API on this machine; 0 = there is none. */
  readonly apiPort: number;
}

export interface FieldOptions {
  /** Redis is reached over TLS alone, with a certificate of an authority that nobody knows. */
  readonly tls?: boolean;
  /** Operators serve the HTTP API, with the rights that the chart gives for it. */
  readonly api?: boolean;
}

export async function openField({ tls = false, api = false }: FieldOptions = {}): Promise<Field> {
  const admin = adminClient();
  await installKinds(admin);
  await withoutAdmission(admin);
  const namespace = await makeNamespace(admin);
  const folder = mkdtempSync(join(tmpdir(), "oao-operator-"));
  const tlsPort = tls ? await freePort() : 0;
  const tlsSettings = {
    "tls-port": String(tlsPort),
    "tls-cert-file": join(tlsFolder, "server.crt"),
    "tls-key-file": join(tlsFolder, "server.key"),
    "tls-ca-cert-file": join(tlsFolder, "ca.crt"),
    "tls-auth-clients": "no",
  };
  const redis = await RedisProcess.start({ ...durable, user: operatorUser(), ...(tls ? tlsSettings : {}) }, true);
  const place = workplace();
  const catalogue = await place.serve([sample("catalog.mjs"), "0"]);
  const home = await makeNamespace(admin);
  const access = { admin, kubeconfig: inject("kubeconfig"), namespace: home, watched: namespace, folder, api };
  const kubeconfig = await operatorAccess(access, "Namespace");
  const kubelets: ProcessKubelet[] = [];
  const addNode = async () => {
    const made = new ProcessKubelet({
      client: admin,
      name: `node-${namespace}-${kubelets.length}`,
      program: root.replace(/\/$/, ""),
      baseDir: sample("."),
      logs: join(folder, "pods"),
      // Models and tools of these tests live on the loopback address of what stands for a machine.
      env: { OAO_SUSPEND_GRACE_MS: "100", OAO_ALLOW_LOOPBACK: "true" },
    });
    kubelets.push(made);
    await made.start();
    return made;
  };
  const kubelet = await addNode();
  const operators: Operator[] = [];
  const path = (name: string) => resourcePath(resources.executions, { namespace, name });
  const field: Field = {
    admin,
    namespace,
    home,
    redis,
    kubelet,
    place,
    folder,
    kubeconfig,
    addNode,
    async startOperator(identity = "operator-0", env = {}) {
      const child = spawn(process.execPath, [join(root, "dist/operator.js")], {
        env: {
          PATH: process.env["PATH"] ?? "",
          KUBECONFIG: kubeconfig,
          OAO_STORE: operatorStoreUrl(tls ? tlsPort : redis.port, tls),
          ...(tls ? { OAO_STORE_CA: join(tlsFolder, "ca.crt") } : {}),
          OAO_STORE_USER_KEY: "a key for tests, and for nothing else",
          OAO_NAMESPACES: namespace,
          OAO_POD_NAMESPACE: home,
          OAO_IDENTITY: identity,
          OAO_WORKER_IMAGE: "oao-worker:test",
          OAO_METRICS_PORT: "0",
          OAO_LEASE_NAME: "oao",
          OAO_LEASE_MS: "3000",
          OAO_STOP_GRACE_MS: "5000",
          ...(api ? apiSettings : {}),
          ...env,
        },
        stdio: ["ignore", "pipe", "pipe"],
      });
      const started = watchChild(child);
      await started.said('"operator starts"');
      const port = /"port":(\d+)/.exec(started.text())?.[1];
      if (api) await started.said('"api serves"');
      const apiPort = Number(/"apiPort":(\d+)/.exec(started.text())?.[1] ?? 0);
      const operator = { ...started, url: `http://127.0.0.1:${port}`, apiPort };
      operators.push(operator);
      return operator;
    },
    script(name, text) {
      const file = join(folder, name);
      writeFileSync(file, text);
      return serveModel(place, file);
    },
    async apply(file, name, model) {
      const documents = parseAllDocuments(readFileSync(sample(file), "utf8")).map((each) => each.toJS() as Manifest);
      const applied = { fieldManager: "tests", force: true };
      for (const document of documents.toReversed()) {
        const isRun = document.kind === "Execution";
        if (isRun) pointAt(document.spec, model, catalogue);
        const body = { ...document, metadata: { name: isRun ? name : document.metadata.name } };
        const resource = isRun ? resources.executions : resources.policies;
        const place = { namespace, name: body.metadata.name };
        await admin.request({
          method: "PATCH",
          patch: "Apply",
          path: resourcePath(resource, place),
          query: applied,
          body,
        });
      }
      return field.get(name);
    },
    get: (name) => admin.request({ path: path(name) }),
    async until(name, is) {
      return eventually(async () => {
        const run = await field.get(name);
        if (!is(run)) throw new Error(`${name}: ${JSON.stringify(run.status, undefined, 1)}`);
        return run;
      }, 100);
    },
    async patch(name, body) {
      await admin.request({ method: "PATCH", patch: "Merge", path: path(name), body });
    },
    async pods() {
      const list = { path: resourcePath(resources.pods, { namespace }) };
      return (await admin.request<{ items: KubeObject[] }>(list)).items;
    },
    async reasons(name) {
      const { items } = await admin.request<{
        items: (KubeObject & { reason: string; regarding: { name: string } })[];
      }>({ path: resourcePath(resources.events, { namespace }) });
      return items.filter(({ regarding }) => regarding.name === name).map(({ reason }) => reason);
    },
    pidOf({ metadata }, key, attempt = 1) {
      const name = podName(metadata.uid, key, attempt);
      return kubelets.map((each) => each.pidOf(name)).find((pid) => pid !== undefined);
    },
    untilAtWork: (name, node, attempt = 1) =>
      field.until(name, (run) => field.pidOf(run, { node }, attempt) !== undefined),
    async end() {
      for (const { child } of operators) child.kill("SIGKILL");
      await Promise.all(operators.map(({ ended }) => ended));
      await Promise.all(kubelets.map((each) => each.stop()));
      await place.end();
      await redis.remove();
      await removeNamespace(admin, namespace).catch(() => undefined); // a test may have done it
      await removeNamespace(admin, home);
      rmSync(folder, { recursive: true, force: true });
      admin.close();
    },
  };
  return field;
}

const apiSettings = { OAO_API_PORT: "0", OAO_API_SERVICE: "oao-api", OAO_API_TLS_SECRET: "oao-api-tls" };
const tlsFolder = join(root, "test/support/tls");

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: object;
}

interface RunSpec {
  readonly models?: { baseURL?: string }[];
  readonly tools?: { http?: { url: string } }[];
}

function pointAt({ models = [], tools = [] }: RunSpec, model: string, catalogue: string): void {
  for (const each of models) each.baseURL = model;
  for (const { http } of tools) if (http !== undefined) http.url = catalogue;
}

/** A kubeconfig of a person, here a service account, with these cluster roles in the namespace. */
export function accessOf(
  admin: KubeClient,
  namespace: string,
  folder: string,
  name: string,
  clusterRoles: readonly string[],
): Promise<string> {
  const roles = clusterRoles.map((role) => ({ kind: "ClusterRole", name: role }));
  return accountAccess({ admin, kubeconfig: inject("kubeconfig"), namespace, folder }, name, roles);
}
