import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { parse as parseYaml } from "yaml";
import { governancePolicy } from "../../src/api/policy.ts";
import { workerLabels } from "../../src/adapters/kube/names.ts";
import { chart, external, helm, type Manifest, parse, render, renderText, root, settings, shapes } from "./chart.ts";

const find = (manifests: readonly Manifest[], kind: string, name: string): Manifest =>
  manifests.find((manifest) => manifest.kind === kind && manifest.metadata.name === name);
const podsOf = (manifests: readonly Manifest[]): Manifest[] =>
  manifests.flatMap(({ kind, spec }) => (kind === "Pod" ? [spec] : (spec?.template?.spec ?? [])));
const rulesOf = (manifests: readonly Manifest[]): Manifest[] => manifests.flatMap(({ rules }) => rules ?? []);

const operatorRules = [
  { apiGroups: ["oao.dev"], resources: ["executions"], verbs: ["get", "list", "watch", "patch", "update", "delete"] },
  {
    apiGroups: ["oao.dev"],
    resources: ["executions/status", "governancepolicies/status"],
    verbs: ["patch", "update"],
  },
  { apiGroups: ["oao.dev"], resources: ["executions/finalizers"], verbs: ["update"] },
  { apiGroups: ["oao.dev"], resources: ["governancepolicies"], verbs: ["get", "list", "watch"] },
  { apiGroups: [""], resources: ["pods"], verbs: ["create", "get", "list", "watch", "delete"] },
  { apiGroups: [""], resources: ["secrets"], verbs: ["create"] },
  { apiGroups: ["events.k8s.io"], resources: ["events"], verbs: ["create", "patch"] },
];

describe.each(Object.entries(shapes))("the chart, %s", (_, values) => {
  test("passes helm lint --strict", () => {
    expect(helm("lint", "--strict", chart, ...settings(values))).toMatchObject({ code: 0 });
  });

  test("renders the same bytes each time, and no Secret: a GitOps tool sees no drift and Git no password", () => {
    const text = renderText(values);
    expect(renderText(values)).toBe(text);
    expect(text).not.toMatch(/^kind: Secret$/m);
  });

  test("gives no right by a wildcard, none to read Secrets, and none to be somebody else", () => {
    const rules = rulesOf(render(values));
    expect(rules.length).toBeGreaterThan(0);
    for (const rule of rules) {
      const said = [...rule.apiGroups, ...rule.resources, ...rule.verbs];
      for (const word of ["*", "pods/exec", "escalate", "bind", "impersonate"]) expect(said).not.toContain(word);
    }
    const ofSecrets = rules.filter(({ resources }) => resources.includes("secrets"));
    expect(ofSecrets.flatMap(({ verbs }) => verbs)).toEqual(ofSecrets.map(() => "create"));
  });

  test("has only pods without privileges, with resources, and with a token only where it is used", () => {
    const pods = podsOf(render(values));
    expect(pods.length).toBeGreaterThan(0);
    for (const pod of pods) {
      expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } });
      expect(pod.automountServiceAccountToken).toBe(pod.serviceAccountName === "oao");
      for (const container of [...(pod.initContainers ?? []), ...pod.containers]) {
        expect(container.securityContext).toEqual({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ["ALL"] },
        });
        expect(container.imagePullPolicy).toBe("IfNotPresent");
        expect(container.resources).toMatchObject({ requests: { memory: /Mi$/ }, limits: { memory: /Mi$/ } });
      }
    }
  });
});

describe("the operator's rights", () => {
  test("are these in its own namespace, and no others", () => {
    const manifests = render(["shared.install=false"]);
    expect(find(manifests, "Role", "oao-system-oao")).toMatchObject({
      metadata: { namespace: "oao-system" },
      rules: operatorRules,
    });
    expect(find(manifests, "Role", "oao-leader").rules).toEqual([
      { apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["create"] },
      { apiGroups: ["coordination.k8s.io"], resources: ["leases"], resourceNames: ["oao"], verbs: ["get", "update"] },
      { apiGroups: [""], resources: ["secrets"], verbs: ["create"] },
    ]);
    expect(manifests.filter(({ kind }) => kind.startsWith("Cluster"))).toEqual([]);
    expect(rulesOf(manifests)).toHaveLength(operatorRules.length + 3);
  });

  test("are the same in each namespace it watches, or in all by a ClusterRole", () => {
    const two = render(["watch.namespaces={team-b,team-a}", "shared.install=false"]);
    const roles = two.filter(({ kind, metadata }) => kind === "Role" && metadata.name === "oao-system-oao");
    expect(roles.map(({ metadata, rules }) => [metadata.namespace, rules])).toEqual([
      ["team-a", operatorRules],
      ["team-b", operatorRules],
    ]);
    const all = render(["watch.allNamespaces=true", "shared.install=false"]);
    expect(find(all, "ClusterRole", "oao-system-oao").rules).toEqual(operatorRules);
  });

  test("no longer hold the creation of Secrets in its namespace once both Secrets are given", () => {
    const manifests = render([...external, "storeKey.existingSecret=key", "watch.namespaces={team-a}"]);
    expect(find(manifests, "Role", "oao-leader").rules).toHaveLength(2);
    expect(find(manifests, "Deployment", "oao").spec.template.spec.initContainers).toBeUndefined();
  });
});

describe("values", () => {
  test.each([
    ["an unknown value", ["replica=3"], "additional properties 'replica' not allowed"],
    ["a wrong type", ["replicas=many"], "'/replicas': got string, want integer"],
    ["a password in the workers' URL", ["redis.external.workerURL=redis://u:p@h:1"], "/redis/external/workerURL"],
    ["no Redis", ["redis.embedded.enabled=false"], "redis.external.secret.name: name the Secret that holds the URL"],
    ["two Redis", ["redis.external.secret.name=x"], "both an embedded and an external Redis are set"],
    ["two scopes", ["watch.allNamespaces=true", "watch.namespaces={a}"], "set either allNamespaces or namespaces"],
    ["a namespace that cannot be", ["watch.namespaces={Team_A}"], "/watch/namespaces/0"],
  ])("with %s are refused with its name", (_, values, message) => {
    expect(() => renderText(values)).toThrow(message);
  });

  test("are all in the schema, and the schema knows no others", () => {
    const leaves = (schema: Manifest, value: Manifest): string[] =>
      schema.additionalProperties === false
        ? Object.keys(schema.properties).flatMap((key) =>
            (key in (value ?? {}) ? leaves(schema.properties[key], value[key]) : ["missing"]).map(
              (at) => `${key}.${at}`,
            ),
          )
        : [""];
    const schema = JSON.parse(readFileSync(`${chart}/values.schema.json`, "utf8"));
    const values = parseYaml(readFileSync(`${chart}/values.yaml`, "utf8"));
    // Helm itself adds `global`.
    expect(leaves(schema, values).filter((path) => path.endsWith("missing"))).toEqual(["global.missing"]);
  });
});

describe("what the chart renders", () => {
  test("holds a floor policy with finite limits that the product itself accepts, also with large numbers", () => {
    const manifests = render(["floorPolicy.maxTokens=500000000"]);
    const policy = parseYaml(find(manifests, "ConfigMap", "oao").data["floor-policy.yaml"]);
    const { spec } = governancePolicy.parse(policy);
    expect(spec).toMatchObject({ maxTokens: 500_000_000, limits: { maxSteps: 1000, maxDurationSeconds: 86_400 } });
  });

  test("keeps the CRDs when it is uninstalled, and changes nothing else in them", () => {
    const manifests = render();
    for (const plural of ["executions", "governancepolicies"]) {
      const { metadata, ...rest } = find(manifests, "CustomResourceDefinition", `${plural}.oao.dev`);
      const source = parseYaml(readFileSync(`${root}crds/oao.dev_${plural}.yaml`, "utf8"));
      expect({ ...rest, metadata: { ...metadata, annotations: undefined } }).toEqual(source);
      expect(metadata.annotations).toEqual({ "helm.sh/resource-policy": "keep" });
    }
  });

  test("keeps what other releases need too when it is uninstalled: roles of people and the proof of approvals", () => {
    const shared = ["users", "approvals"].flatMap((name) =>
      parse(readFileSync(`${chart}/files/shared/${name}.yaml`, "utf8")),
    );
    for (const { kind, metadata } of shared)
      expect(find(render(), kind, metadata.name).metadata.annotations, `${kind} ${metadata.name}`).toEqual({
        "helm.sh/resource-policy": "keep",
      });
    expect(shared.length).toBeGreaterThan(5);
  });

  test("gives worker pods a limit of memory, so that a quota of memory takes them", () => {
    const [operator] = find(render(["worker.resources.limits.memory=3Gi"]), "Deployment", "oao").spec.template.spec
      .containers;
    const { value } = operator.env.find(({ name }: Manifest) => name === "OAO_WORKER_RESOURCES");
    expect(JSON.parse(value)).toEqual({ requests: { cpu: "100m", memory: "256Mi" }, limits: { memory: "3Gi" } });
  });

  test("has disruption budgets and spread where there are replicas, and a rollout without a gap", () => {
    const deployment = find(render(), "Deployment", "oao").spec;
    expect(deployment).toMatchObject({ replicas: 2, strategy: { rollingUpdate: { maxUnavailable: 0 } } });
    const spread = deployment.template.spec.topologySpreadConstraints;
    expect(spread).toHaveLength(2);
    // Else the pods that an upgrade replaces count, and both new ones may land beside each other.
    for (const each of spread) expect(each.matchLabelKeys).toEqual(["pod-template-hash"]);
    expect(find(render(), "PodDisruptionBudget", "oao").spec.maxUnavailable).toBe(1);
    expect(find(render(["replicas=1"]), "PodDisruptionBudget", "oao")).toBeUndefined();
  });

  test("restarts the operator when the floor policy changes, and leaves Redis alone in an upgrade", () => {
    const template = (values: string[], kind: string, name: string) =>
      find(render(values), kind, name).spec.template.metadata;
    expect(template(["floorPolicy.maxTokens=5"], "Deployment", "oao")).not.toEqual(template([], "Deployment", "oao"));
    expect(JSON.stringify(template([], "StatefulSet", "oao-redis"))).not.toContain("0.1.0");
  });

  test("lets workers of the watched namespaces reach Redis, and the operator reach nothing but what it needs", () => {
    const manifests = render(["watch.namespaces={team-a}"]);
    const [rule] = find(manifests, "NetworkPolicy", "oao-redis").spec.ingress;
    expect(rule.from[1]).toEqual({
      namespaceSelector: {
        matchExpressions: [{ key: "kubernetes.io/metadata.name", operator: "In", values: ["team-a"] }],
      },
      podSelector: { matchLabels: workerLabels },
    });
    const egress = find(manifests, "NetworkPolicy", "oao").spec.egress;
    expect(egress.flatMap(({ ports }: Manifest) => ports.map(({ port }: Manifest) => port))).toEqual([
      53, 53, 443, 6443, 6379,
    ]);
  });

  test("has a ServiceMonitor only when it is asked for", () => {
    expect(find(render(), "ServiceMonitor", "oao")).toBeUndefined();
    expect(find(render(["metrics.serviceMonitor.enabled=true"]), "ServiceMonitor", "oao")).toBeDefined();
  });
});
