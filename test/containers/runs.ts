/** Executions of the samples in a cluster, applied and watched with kubectl as a person would. */
import { inject } from "vitest";
import { parseAllDocuments } from "yaml";
import { kubeBinary } from "../../hack/cluster/kube-binary.ts";
import type { KubeExecution } from "../../src/adapters/kube/stored.ts";
import { type Ended, run } from "../helm/chart.ts";
import { eventually } from "../support/patience.ts";
import { namespaces, ports, sample } from "./install.ts";

export interface Pod {
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> };
  readonly spec: {
    readonly nodeName?: string;
    readonly automountServiceAccountToken?: boolean;
    readonly volumes?: readonly { readonly name: string }[];
  };
  readonly status: {
    readonly phase: string;
    readonly containerStatuses?: readonly {
      readonly state: {
        readonly waiting?: { readonly reason: string };
        readonly terminated?: { readonly reason: string; readonly exitCode: number };
      };
    }[];
  };
}

interface Manifest {
  readonly kind: string;
  readonly metadata: { name: string };
  readonly spec: {
    policyRef?: { name: string };
    models?: { baseURL?: string }[];
    tools?: { http?: { url: string }; hosts?: object[] }[] & { hosts?: object[] };
  };
}

const host = `models.${namespaces.models}.svc`;
export const modelUrl = (model: keyof typeof ports): string => `http://${host}:${ports[model]}/v1`;

export function kubectl(args: readonly string[], input?: string): Ended {
  return run(kubeBinary(), ["kubectl", "--kubeconfig", inject("kubeconfig"), ...args], input);
}

/** What it printed; throws what it said unless it went well. */
export function done({ code, stdout, stderr }: Ended): string {
  if (code !== 0) throw new Error(`exit ${code}: ${stderr}${stdout}`);
  return stdout;
}

/** The sample under another name, with a policy of its own, asking a model server of the cluster. */
export function applySample(
  file: string,
  name: string,
  model: keyof typeof ports,
  namespace: string = namespaces.team,
): void {
  const documents = parseAllDocuments(sample(file)).map((each) => each.toJS() as Manifest);
  for (const { kind, metadata, spec } of documents) {
    metadata.name = name;
    if (kind === "Execution") {
      if (spec.policyRef !== undefined) spec.policyRef = { name };
      for (const each of spec.models ?? []) each.baseURL = modelUrl(model);
      for (const { http } of spec.tools ?? [])
        if (http !== undefined) http.url = `http://${host}:${ports.catalogue}/search`;
    } else if (spec.tools?.hosts !== undefined) spec.tools.hosts = [{ host: `${host}:${ports.catalogue}` }];
  }
  apply(namespace, ...documents.toReversed());
}

export function apply(namespace: string, ...objects: object[]): void {
  const list = JSON.stringify({ apiVersion: "v1", kind: "List", items: objects });
  done(kubectl(["apply", "--server-side", "-n", namespace, "-f", "-"], list));
}

export function get(name: string, namespace: string = namespaces.team): KubeExecution {
  return JSON.parse(done(kubectl(["get", "oaox", name, "-n", namespace, "-o", "json"]))) as KubeExecution;
}

/** Resolves when it is so; rejects with what the status says instead. */
export function until(
  name: string,
  is: (execution: KubeExecution) => boolean,
  { namespace = namespaces.team }: { namespace?: string } = {},
): Promise<KubeExecution> {
  return eventually(() => {
    const execution = get(name, namespace);
    if (!is(execution)) throw new Error(`${name}: ${JSON.stringify(execution.status, undefined, 1)}`);
    return execution;
  }, 500);
}

export const ended = (execution: KubeExecution): boolean => execution.status?.completedAt !== undefined;
export const nodeOf = (execution: KubeExecution, name: string) =>
  execution.status?.nodes.find((each) => each.name === name);
export const isAtWork = (name: string) => (execution: KubeExecution) => nodeOf(execution, name)?.state === "Running";

export function desire(name: string, desiredState: "Running" | "Suspended" | "Cancelled"): void {
  const patch = JSON.stringify({ spec: { desiredState } });
  done(kubectl(["patch", "oaox", name, "-n", namespaces.team, "--type=merge", "-p", patch]));
}

export function podsOf({ metadata: { uid, namespace = namespaces.team } }: KubeExecution): Pod[] {
  const selector = ["-l", `oao.dev/execution-uid=${uid}`];
  return (JSON.parse(done(kubectl(["get", "pods", "-n", namespace, ...selector, "-o", "json"]))) as { items: Pod[] })
    .items;
}

/** The pod of a node that is at work: its kubelet says so a moment after its worker has said so in the journal. */
export function podAtWork(execution: KubeExecution, node: string): Promise<Pod> {
  return eventually(() => {
    const found = podsOf(execution).find(
      ({ metadata, status }) => metadata.labels?.["oao.dev/node"] === node && status.phase === "Running",
    );
    if (found === undefined) throw new Error(`${node} has no pod that runs`);
    return found;
  }, 200);
}
