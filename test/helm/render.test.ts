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
    // The API keeps one Secret of its own, by its name.
    const isOwn = ({ resourceNames }: Manifest) => resourceNames?.join() === "oao-api-tls";
    const ofSecrets = rules.filter((rule) => rule.resources.includes("secrets") && !isOwn(rule));
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

describe("the HTTP API", () => {
  const manifests = render(["api.enabled=true", "watch.namespaces={team-a}", "shared.install=false"]);
  const given = render(["api.enabled=true", "api.tls.secretName=given", "shared.install=false"]);
  const envOf = (all: readonly Manifest[]) =>
    Object.fromEntries(
      find(all, "Deployment", "oao").spec.template.spec.containers[0].env.map(({ name, value }: Manifest) => [
        name,
        value,
      ]),
    );

  test("is off unless it is asked for: nobody listens, and nobody may make Executions", () => {
    const text = renderText(["shared.install=false"]);
    for (const word of ["OAO_API", "8443", "auth-delegator", "kube-system-auth", "oao-api", "executions/author"])
      expect(text).not.toContain(word);
  });

  test("adds the right to make replays and to name who asked for them where Executions are run, and no other", () => {
    const more = [
      { apiGroups: ["oao.dev"], resources: ["executions"], verbs: ["create"] },
      { apiGroups: ["oao.dev"], resources: ["executions/author"], verbs: ["update"] },
    ];
    expect(find(manifests, "Role", "oao-system-oao")).toMatchObject({
      metadata: { namespace: "team-a" },
      rules: [operatorRules[0], ...more, ...operatorRules.slice(1)],
    });
  });

  test("asks the cluster who callers are, by the two bindings of it that only a cluster admin can make", () => {
    const subjects = [{ kind: "ServiceAccount", name: "oao", namespace: "oao-system" }];
    expect(find(manifests, "ClusterRoleBinding", "oao-system-oao-auth-delegator")).toMatchObject({
      roleRef: { kind: "ClusterRole", name: "system:auth-delegator" },
      subjects,
    });
    expect(find(manifests, "RoleBinding", "oao-system-oao-auth-reader")).toMatchObject({
      metadata: { namespace: "kube-system" },
      roleRef: { kind: "Role", name: "extension-apiserver-authentication-reader" },
      subjects,
    });
  });

  test("keeps one Secret and one ConfigMap of its own by name, of which callers may read the ConfigMap", () => {
    const configMap = { apiGroups: [""], resources: ["configmaps"], resourceNames: ["oao-api"] };
    const makes = { apiGroups: [""], resources: ["configmaps"], verbs: ["create"] };
    const keeps = { ...configMap, verbs: ["get", "update"] };
    expect(find(manifests, "Role", "oao-api").rules).toEqual([
      { apiGroups: [""], resources: ["secrets"], verbs: ["create"] },
      { apiGroups: [""], resources: ["secrets"], resourceNames: ["oao-api-tls"], verbs: ["get", "update"] },
      makes,
      keeps,
    ]);
    expect(find(given, "Role", "oao-api").rules).toEqual([makes, keeps]);
    expect(find(manifests, "Role", "oao-api-clients").rules).toEqual([{ ...configMap, verbs: ["get"] }]);
    expect(find(manifests, "RoleBinding", "oao-api-clients").subjects).toMatchObject([
      { kind: "Group", name: "system:authenticated" },
    ]);
  });

  test("is reached through a Service of its own, and serves with the certificate that is given", () => {
    expect(find(manifests, "Service", "oao-api").spec).toMatchObject({
      type: "ClusterIP",
      ports: [{ port: 443, targetPort: "api" }],
    });
    expect(envOf(manifests)).toMatchObject({
      OAO_API_PORT: "8443",
      OAO_API_SERVICE: "oao-api",
      OAO_API_TLS_SECRET: "oao-api-tls",
    });
    expect(envOf(given)).toMatchObject({ OAO_API_TLS_FOLDER: "/etc/oao-api-tls" });
    expect(find(given, "Deployment", "oao").spec.template.spec.volumes).toContainEqual(
      expect.objectContaining({ name: "api-tls", secret: expect.objectContaining({ secretName: "given" }) }),
    );
    expect(find(manifests, "NetworkPolicy", "oao").spec.ingress).toContainEqual({
      ports: [{ port: 8443, protocol: "TCP" }],
    });
  });
});

describe("an Ingress of the HTTP API", () => {
  const values = ["api.enabled=true", "api.ingress.host=oao.example.test", "api.ingress.className=nginx"];

  test("is there for a host alone, leads to the Service, is a name of the certificate, and may be all that reaches the port", () => {
    const manifests = render([...values, "api.names={192.0.2.7,oao.example.test}"]);
    const { spec } = find(manifests, "Ingress", "oao-api");
    const backend = { service: { name: "oao-api", port: { name: "https" } } };
    expect(spec).toEqual({
      ingressClassName: "nginx",
      rules: [{ host: "oao.example.test", http: { paths: [{ path: "/", pathType: "Prefix", backend }] } }],
      tls: [{ hosts: ["oao.example.test"] }],
    });
    expect(find(manifests, "Service", "oao-api").spec.ports[0].name).toBe("https");
    const { env } = find(manifests, "Deployment", "oao").spec.template.spec.containers[0];
    expect(env).toContainEqual({ name: "OAO_API_NAMES", value: "192.0.2.7,oao.example.test" });
    const from = ["networkPolicy.apiFrom[0].podSelector.matchLabels.app=gateway"];
    expect(find(render([...values, ...from]), "NetworkPolicy", "oao").spec.ingress).toContainEqual({
      ports: [{ port: 8443, protocol: "TCP" }],
      from: [{ podSelector: { matchLabels: { app: "gateway" } } }],
    });
    for (const without of [["api.enabled=true"], ["api.ingress.host=oao.example.test"]])
      expect(find(render(without), "Ingress", "oao-api")).toBeUndefined();
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
    ["a host that cannot be", ["api.ingress.host=https://x"], "/api/ingress/host"],
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
    const shared = ["users", "approvals", "requested-by"].flatMap((name) =>
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

  test("gives worker pods nothing where their resources are taken away", () => {
    const [operator] = find(render(["worker.resources=null"]), "Deployment", "oao").spec.template.spec.containers;
    expect(operator.env).toContainEqual({ name: "OAO_WORKER_RESOURCES", value: "{}" });
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
