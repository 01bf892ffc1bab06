/** The built CLI with kubeconfigs of people, on a real API server whose operator is the built one. */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inject } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import type { KubeClient } from "../../../src/adapters/kube/client.ts";
import { resourcePath, resources } from "../../../src/adapters/kube/resources.ts";
import { modelAt, root, sample, serveModel, type Started, type Ended } from "../../cli/harness.ts";
import { serveKubeletLogs } from "../../support/kubelet-logs.ts";
import { accessOf, type Field, openField } from "../operator/harness.ts";
import { eventually } from "../../support/patience.ts";

export interface CliField {
  readonly field: Field;
  /** Of the market brief. */
  readonly model: string;
  /** Kubeconfig of a person with ClusterRole edit in the namespace, which is its context's. */
  readonly tenant: string;
  /** As the tenant, on the cluster unless the arguments say otherwise. */
  oao(...args: readonly string[]): Promise<Ended>;
  start(...args: readonly string[]): Started;
  /** Arguments that submit the market brief under a name. */
  brief(name: string, model?: string): string[];
  end(): Promise<void>;
}

export async function openCliField(): Promise<CliField> {
  const field = await openField();
  const { admin, namespace, folder, place } = field;
  applyFile("config/rbac/users.yaml");
  applyFile("config/admission/approvals.yaml");
  const logs = await serveKubeletLogs({
    client: admin,
    node: `node-${namespace}-0`,
    logs: join(folder, "pods"),
    folder,
    kube: inject("kube"),
  });
  await field.startOperator();
  await putPolicies(admin, namespace, "market-brief.yaml");
  const catalogue = await place.serve([sample("catalog.mjs"), "0"]);
  const model = await serveModel(place, sample("market-brief.model.yaml"));
  const tenant = await person(admin, namespace, folder, "tenant", ["edit"]);
  // The cluster's own role has our rules once its controller has joined them.
  await until(() => canI(tenant, "create", "executions.oao.dev"));
  const start = (...args: readonly string[]) => place.start(args, { KUBECONFIG: tenant });
  return {
    field,
    model,
    tenant,
    start,
    oao: (...args) => start(...args).ended,
    brief: (name, baseURL = model) =>
      ["submit", sample("market-brief.yaml"), "--name", name].concat(
        modelAt(baseURL),
        "--set",
        `tools.search.http.url=${catalogue}`,
      ),
    end: async () => {
      await field.end();
      await logs.close();
    },
  };
}

/** Roles and admission policies hold a moment after they were made. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const look = async () => {
    if (!(await holds())) throw new Error("it does not hold yet");
  };
  await eventually(look, 100);
}

/** As whoever administers the cluster. */
export function kubectl(...args: readonly string[]): string {
  const { status, stdout, stderr } = runKubectl(inject("kubeconfig"), args);
  if (status !== 0) throw new Error(`kubectl ${args.join(" ")}: ${stderr}`);
  return stdout;
}

function runKubectl(kubeconfig: string, args: readonly string[]) {
  return spawnSync(inject("kube"), ["kubectl", ...args], {
    // Where it keeps its cache.
    env: { PATH: process.env["PATH"] ?? "", HOME: tmpdir(), KUBECONFIG: kubeconfig },
    encoding: "utf8",
  });
}

export function applyFile(file: string): void {
  kubectl("apply", "--server-side", "--force-conflicts", "-f", join(root, file));
}

/** `resource` as kubectl takes it, with `--subresource=…` where it is about one. */
export function canI(kubeconfig: string, verb: string, ...resource: readonly string[]): boolean {
  const asked = runKubectl(kubeconfig, ["auth", "can-i", verb, ...resource]);
  return asked.stdout.trim() === "yes";
}

/** The policies of a sample, as the platform's owner puts them there. */
export async function putPolicies(admin: KubeClient, namespace: string, file: string): Promise<void> {
  const documents = parseAllDocuments(readFileSync(sample(file), "utf8")).map((each) => each.toJS() as Document);
  for (const { kind, apiVersion, metadata, spec } of documents) {
    if (kind !== "GovernancePolicy") continue;
    const path = resourcePath(resources.policies, { namespace, name: metadata.name });
    const body = { apiVersion, kind, metadata: { name: metadata.name }, spec };
    const query = { fieldManager: "tests", force: true };
    await admin.request({ method: "PATCH", patch: "Apply", path, query, body });
  }
}

interface Document {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: object;
}

/** A kubeconfig of somebody with these ClusterRoles in the namespace, which is its context's. */
export async function person(
  admin: KubeClient,
  namespace: string,
  folder: string,
  name: string,
  clusterRoles: readonly string[],
): Promise<string> {
  const file = await accessOf(admin, namespace, folder, name, clusterRoles);
  const [access] = (parse(readFileSync(file, "utf8")) as Kubeconfig).users;
  return writeKubeconfig(file, namespace, access?.user ?? {});
}

/** The cluster's, with another user and a namespace. */
export function writeKubeconfig(
  file: string,
  namespace: string,
  user: object,
  change: (config: Kubeconfig) => void = () => undefined,
): string {
  const config = parse(readFileSync(inject("kubeconfig"), "utf8")) as Kubeconfig;
  config.users = [{ name: "somebody", user }];
  config.contexts = [
    { name: "here", context: { cluster: config.clusters[0]?.name ?? "", user: "somebody", namespace } },
  ];
  config["current-context"] = "here";
  change(config);
  writeFileSync(file, JSON.stringify(config), { mode: 0o600 });
  return file;
}

export interface Kubeconfig {
  clusters: { name: string; cluster: { server: string } }[];
  users: { name: string; user: object }[];
  contexts: { name: string; context: { cluster: string; user: string; namespace?: string } }[];
  "current-context": string;
}
