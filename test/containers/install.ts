/** What the suite needs in a cluster: restricted namespaces, the release, and model servers as pods. A repeat changes nothing. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { kubeBinary } from "../../hack/cluster/kube-binary.ts";
import { run as runProgram } from "../../hack/cluster/components.ts";
import { images } from "../../hack/image/build.ts";
import { chart, type Ended, helm, root, run, settings } from "../helm/chart.ts";

/** Of the runs; `tight` gives every container a memory limit of its own. */
export const namespaces = { operator: "oao-system", team: "team-a", tight: "team-tight", models: "models" } as const;

/** Served by one pod, each by a process of its own. */
export const ports = { catalogue: 8098, brief: 8099, slow: 8100, endless: 8101, runaway: 8102, small: 8103 } as const;

export const sample = (name: string): string => readFileSync(join(root, "config/samples", name), "utf8");

const [repository = "", tag = ""] = images.oao.split(":");
const [workers = "", workersTag = ""] = images.samples.split(":");
const [redis = "", redisTag = ""] = images.redis.split(":");
const values = [
  `image.repository=${repository}`,
  `image.tag=${tag}`,
  `worker.image.repository=${workers}`,
  `worker.image.tag=${workersTag}`,
  `redis.embedded.image.repository=${redis}`,
  `redis.embedded.image.tag=${redisTag}`,
  "redis.embedded.persistence.enabled=false",
  "api.enabled=true",
  `watch.namespaces={${namespaces.team},${namespaces.tight}}`,
];

/** Ends when the new pods of the operator are ready; `changed` are values that differ from those of the suite. */
export function release(kubeconfig: string, ...changed: readonly string[]): Ended {
  const flags = ["--install", "--wait", "--timeout=120s", "--kubeconfig", kubeconfig, "-n", namespaces.operator];
  return helm("upgrade", "oao", chart, ...flags, ...settings([...values, ...changed]));
}

export function install(kubeconfig: string): void {
  const apply = (...objects: object[]): void => {
    const list = JSON.stringify({ apiVersion: "v1", kind: "List", items: objects });
    runProgram(kubeBinary(), ["kubectl", "--kubeconfig", kubeconfig, "apply", "--server-side", "-f", "-"], list);
  };
  apply(
    ...Object.values(namespaces).map((name) => ({
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name, labels: { "pod-security.kubernetes.io/enforce": "restricted" } },
    })),
  );
  for (const name of Object.values(namespaces)) {
    const account = ["wait", "--for=create", "serviceaccount/default", "-n", name, "--timeout=60s"];
    runProgram(kubeBinary(), ["kubectl", "--kubeconfig", kubeconfig, ...account]);
  }
  apply(...models(), limitRange);
  const { code, stderr } = release(kubeconfig);
  if (code !== 0) throw new Error(`the chart was not installed: ${stderr}`);
  const rollout = ["rollout", "status", "deployment/models", "-n", namespaces.models, "--timeout=60s"];
  const { code: ready, stderr: why } = run(kubeBinary(), ["kubectl", "--kubeconfig", kubeconfig, ...rollout]);
  if (ready !== 0) throw new Error(`the model servers are not ready: ${why}`);
}

const limitRange = {
  apiVersion: "v1",
  kind: "LimitRange",
  metadata: { name: "memory", namespace: namespaces.tight },
  spec: { limits: [{ type: "Container", default: { memory: "256Mi" } }] },
};

function models(): object[] {
  const answers = sample("market-brief.model.yaml");
  const metadata = { name: "models", namespace: namespaces.models };
  const files: Record<keyof typeof ports, string> = {
    catalogue: sample("catalog.mjs").replace('"127.0.0.1"', '"0.0.0.0"'),
    brief: answers,
    slow: answers.replace("tokensPerSecond: 150", "tokensPerSecond: 6"),
    endless: "rules: [{ reply: { tokens: 100000, tokensPerSecond: 20 } }]",
    runaway: sample("runaway.model.yaml"),
    small: sample("small.model.yaml"),
  };
  const fileOf = (name: string) => `${name}.${name === "catalogue" ? "mjs" : "yaml"}`;
  const containers = Object.entries(ports).map(([name, port]) => ({
    name,
    image: images.oao,
    imagePullPolicy: "IfNotPresent",
    command:
      name === "catalogue"
        ? ["node", `/etc/models/${fileOf(name)}`, String(port)]
        : ["node", "/app/dist/cli.js", "mock-model", `/etc/models/${fileOf(name)}`, `--port=${port}`, "--host=0.0.0.0"],
    readinessProbe: { tcpSocket: { port }, periodSeconds: 1 },
    securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ["ALL"] } },
    volumeMounts: [{ name: "files", mountPath: "/etc/models" }],
  }));
  const labels = { app: "models" };
  const securityContext = { runAsNonRoot: true, runAsUser: 65_532, seccompProfile: { type: "RuntimeDefault" } };
  const spec = {
    automountServiceAccountToken: false,
    securityContext,
    containers,
    volumes: [{ name: "files", configMap: { name: "models" } }],
  };
  return [
    {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata,
      data: Object.fromEntries(Object.entries(files).map(([name, text]) => [fileOf(name), text])),
    },
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata,
      spec: { selector: { matchLabels: labels }, template: { metadata: { labels }, spec } },
    },
    {
      apiVersion: "v1",
      kind: "Service",
      metadata,
      spec: { selector: labels, ports: Object.entries(ports).map(([name, port]) => ({ name, port })) },
    },
  ];
}
