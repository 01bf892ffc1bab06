/** The built operator under its chart's own Role, a node of local processes, a real Redis, a scripted model and a catalogue. */
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { spawn } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inject, vi } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { ProcessKubelet } from "../../../hack/cluster/process-kubelet.ts";
import type { KubeClient } from "../../../src/adapters/kube/client.ts";
import { podName } from "../../../src/adapters/kube/names.ts";
import { type KubeObject, type Resource, resourcePath, resources } from "../../../src/adapters/kube/resources.ts";
import type { KubeExecution } from "../../../src/adapters/kube/stored.ts";
import type { NodeKey } from "../../../src/core/protocol/types.ts";
import { root, sample, type Started, watchChild, type Workplace, workplace } from "../../cli/harness.ts";
import { durable, freePort, RedisProcess } from "../../support/redis-process.ts";
import { adminClient, installKinds, makeNamespace, removeNamespace } from "../adapter/api-server.ts";

const core = (plural: string): Resource => ({ group: "", version: "v1", plural });
const rbac = (plural: string): Resource => ({ group: "rbac.authorization.k8s.io", version: "v1", plural });

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
  /** The sample, with the field's model and catalogue, under another name. */
  apply(file: string, name: string, model: string): Promise<KubeExecution>;
  get(name: string): Promise<KubeExecution>;
  /** Resolves when the status says so; rejects with what it says instead after a minute. */
  until(name: string, is: (run: KubeExecution) => boolean): Promise<KubeExecution>;
  patch(name: string, body: object): Promise<void>;
  pods(): Promise<readonly KubeObject[]>;
  pidOf(run: KubeExecution, key: NodeKey, attempt?: number): number | undefined;
  /** Resolves once the node's process is there. */
  untilAtWork(name: string, node: string, attempt?: number): Promise<KubeExecution>;
  end(): Promise<void>;
}

export interface Operator extends Started {
  readonly url: string;
}

/** `tls`: Redis is reached over TLS alone, with a certificate of an authority that nobody knows. */
export async function openField({ tls = false }: { readonly tls?: boolean } = {}): Promise<Field> {
  const admin = adminClient();
  await installKinds(admin);
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
  const storePlace = tls ? `127.0.0.1:${tlsPort}/0` : `127.0.0.1:${redis.port}/0`;
  const place = workplace();
  const catalogue = await place.serve([sample("catalog.mjs"), "0"]);
  const home = await makeNamespace(admin);
  const kubeconfig = await operatorAccess(admin, namespace, home, folder);
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
          OAO_STORE: `${tls ? "rediss" : "redis"}://operator:${encodeURIComponent(operatorPassword)}@${storePlace}`,
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
          ...env,
        },
        stdio: ["ignore", "pipe", "pipe"],
      });
      const started = watchChild(child);
      await started.said('"operator starts"');
      const port = /"port":(\d+)/.exec(started.text())?.[1];
      const operator = { ...started, url: `http://127.0.0.1:${port}` };
      operators.push(operator);
      return operator;
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
      return vi.waitFor(
        async () => {
          const run = await field.get(name);
          if (!is(run)) throw new Error(`${name}: ${JSON.stringify(run.status, undefined, 1)}`);
          return run;
        },
        { timeout: 45_000, interval: 100 },
      );
    },
    async patch(name, body) {
      await admin.request({ method: "PATCH", patch: "Merge", path: path(name), body });
    },
    async pods() {
      const list = { path: resourcePath(resources.pods, { namespace }) };
      return (await admin.request<{ items: KubeObject[] }>(list)).items;
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

const tlsFolder = join(root, "test/support/tls");

const operatorPassword = "the operator's, for tests only";

/** With the rights that the chart's Redis gives the operator. */
function operatorUser(): string {
  const script = readFileSync(join(root, "charts/oao/files/redis-start.sh"), "utf8");
  const [, own = ""] = script.split("--user operator");
  const rules = [...own.matchAll(/'([~&+-][^']*)'/g)].map(([, rule]) => rule);
  if (!rules.includes("~oao:*")) throw new Error("the chart's script does not say what the operator may do");
  const hash = createHash("sha256").update(operatorPassword).digest("hex");
  return `operator on #${hash} ${rules.join(" ")}`;
}

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

/** A kubeconfig with the rights that the chart gives the operator: its account lives elsewhere than what it watches. */
async function operatorAccess(admin: KubeClient, namespace: string, home: string, folder: string): Promise<string> {
  const rendered = parseAllDocuments(readFileSync(join(root, "config/default/operator.yaml"), "utf8"));
  const roles = rendered
    .map((each) => each.toJS() as { kind: string; rules: object[] })
    .filter(({ kind }) => kind === "Role");
  const metadata = { name: "operator" };
  const subjects = [{ kind: "ServiceAccount", name: "operator", namespace: home }];
  for (const place of [namespace, home]) {
    const rules = roles.flatMap((role) => role.rules);
    await admin.request({
      method: "POST",
      path: resourcePath(rbac("roles"), { namespace: place }),
      body: { metadata, rules },
    });
    const roleRef = { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "operator" };
    const path = resourcePath(rbac("rolebindings"), { namespace: place });
    await admin.request({ method: "POST", path, body: { metadata, roleRef, subjects } });
  }
  // As the chart does where other namespaces are watched: theirs is the first to go with them.
  const name = `${home}-finalizers`;
  const rules = [{ apiGroups: ["oao.dev"], resources: ["executions"], verbs: ["patch"] }];
  await admin.request({
    method: "POST",
    path: resourcePath(rbac("clusterroles")),
    body: { metadata: { name }, rules },
  });
  const roleRef = { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name };
  const path = resourcePath(rbac("clusterrolebindings"));
  await admin.request({ method: "POST", path, body: { metadata: { name }, roleRef, subjects } });
  return accountAccess(admin, home, folder, "operator", []);
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
  return accountAccess(admin, namespace, folder, name, roles);
}

async function accountAccess(
  admin: KubeClient,
  namespace: string,
  folder: string,
  account: string,
  roles: readonly { readonly kind: string; readonly name: string }[],
): Promise<string> {
  const make = (resource: Resource, body: object) =>
    admin.request({ method: "POST", path: resourcePath(resource, { namespace }), body });
  await make(core("serviceaccounts"), { metadata: { name: account } });
  for (const role of roles)
    await make(rbac("rolebindings"), {
      metadata: { name: `${account}-${role.name}` },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", ...role },
      subjects: [{ kind: "ServiceAccount", name: account, namespace }],
    });
  const { status } = await admin.request<{ status: { token: string } }>({
    method: "POST",
    path: resourcePath(core("serviceaccounts"), { namespace, name: account, subresource: "token" }),
    body: { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: { expirationSeconds: 3_600 } },
  });
  const config = parse(readFileSync(inject("kubeconfig"), "utf8")) as { users: { user: object }[] };
  for (const each of config.users) each.user = { token: status.token };
  const file = join(folder, `${account}.kubeconfig`);
  writeFileSync(file, JSON.stringify(config), { mode: 0o600 });
  return file;
}
