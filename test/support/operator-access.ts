/** What the chart lets the operator do, at the journal store and at the API server, for operators that tests and benchmarks start. */
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse, parseAllDocuments } from "yaml";
import type { KubeClient } from "../../src/adapters/kube/client.ts";
import { type Resource, resourcePath } from "../../src/adapters/kube/resources.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const core = (plural: string): Resource => ({ group: "", version: "v1", plural });
const rbac = (plural: string): Resource => ({ group: "rbac.authorization.k8s.io", version: "v1", plural });

const operatorPassword = "the operator's, for tests only";

/** With the rights that the chart's Redis gives the operator. */
export function operatorUser(): string {
  const script = readFileSync(join(root, "charts/oao/files/redis-start.sh"), "utf8");
  const [, own = ""] = script.split("--user operator");
  const rules = [...own.matchAll(/'([~&+-][^']*)'/g)].map(([, rule]) => rule);
  if (!rules.includes("~oao:*")) throw new Error("the chart's script does not say what the operator may do");
  const hash = createHash("sha256").update(operatorPassword).digest("hex");
  return `operator on #${hash} ${rules.join(" ")}`;
}

/** Of that user; `tls` where the port is a TLS one. */
export function operatorStoreUrl(port: number, tls = false): string {
  return `${tls ? "rediss" : "redis"}://operator:${encodeURIComponent(operatorPassword)}@127.0.0.1:${port}/0`;
}

export interface AccessOptions {
  readonly admin: KubeClient;
  /** The admin's; its server is the account's too. */
  readonly kubeconfig: string;
  /** Of the account. */
  readonly namespace: string;
  /** Where its kubeconfig is written. */
  readonly folder: string;
}

/**
 * A kubeconfig with the rights that the chart gives the operator, and no others: in its own namespace and the `watched` one, or in
 * all. Its account lives in its own, as a watched one may be deleted.
 */
export async function operatorAccess(
  options: AccessOptions & { readonly watched?: string; readonly api?: boolean },
  reach: "Namespace" | "Cluster",
): Promise<string> {
  const { admin, namespace, watched = namespace, api = false } = options;
  const base = api ? "api" : "default";
  const rendered = parseAllDocuments(readFileSync(join(root, `config/${base}/operator.yaml`), "utf8"));
  const roles = rendered
    .map((each) => each.toJS() as { kind: string; rules: object[] })
    .filter(({ kind }) => kind === "Role");
  const rules = roles.flatMap((role) => role.rules);
  const metadata = { name: "operator" };
  const subjects = [{ kind: "ServiceAccount", name: "operator", namespace }];
  const make = (path: string, body: object) => admin.request({ method: "POST", path, body });
  const refTo = (kind: string, name: string) => ({ apiGroup: "rbac.authorization.k8s.io", kind, name });
  if (api) await apiAccess(options);
  if (reach === "Namespace") {
    for (const place of new Set([namespace, watched])) {
      await make(resourcePath(rbac("roles"), { namespace: place }), { metadata, rules });
      const roleRef = refTo("Role", "operator");
      await make(resourcePath(rbac("rolebindings"), { namespace: place }), { metadata, roleRef, subjects });
    }
    // As the chart does where other namespaces are watched: theirs are the first roles to go with them.
    const name = `${namespace}-finalizers`;
    const patching = [{ apiGroups: ["oao.dev"], resources: ["executions"], verbs: ["patch"] }];
    await make(resourcePath(rbac("clusterroles")), { metadata: { name }, rules: patching });
    const roleRef = refTo("ClusterRole", name);
    await make(resourcePath(rbac("clusterrolebindings")), { metadata: { name }, roleRef, subjects });
    return accountAccess(options, "operator", []);
  }
  const body = { metadata, rules };
  await admin.request({ method: "POST", path: resourcePath(rbac("clusterroles")), body });
  const file = await accountAccess(options, "operator", []);
  await admin.request({
    method: "POST",
    path: resourcePath(rbac("clusterrolebindings")),
    body: {
      metadata: { name: "operator" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "operator" },
      subjects: [{ kind: "ServiceAccount", name: "operator", namespace }],
    },
  });
  return file;
}

/** What the chart adds for the HTTP API outside of roles of its own, and the right of everybody to read how it is reached. */
async function apiAccess({ admin, namespace }: AccessOptions): Promise<void> {
  const make = (path: string, body: object) => admin.request({ method: "POST", path, body });
  const subjects = [{ kind: "ServiceAccount", name: "operator", namespace }];
  const apiGroup = "rbac.authorization.k8s.io";
  await make(resourcePath(rbac("clusterrolebindings")), {
    metadata: { name: `${namespace}-auth-delegator` },
    roleRef: { apiGroup, kind: "ClusterRole", name: "system:auth-delegator" },
    subjects,
  });
  await make(resourcePath(rbac("rolebindings"), { namespace: "kube-system" }), {
    metadata: { name: `${namespace}-auth-reader` },
    roleRef: { apiGroup, kind: "Role", name: "extension-apiserver-authentication-reader" },
    subjects,
  });
  await make(resourcePath(rbac("roles"), { namespace }), {
    metadata: { name: "oao-api-clients" },
    rules: [{ apiGroups: [""], resources: ["configmaps"], resourceNames: ["oao-api"], verbs: ["get"] }],
  });
  await make(resourcePath(rbac("rolebindings"), { namespace }), {
    metadata: { name: "oao-api-clients" },
    roleRef: { apiGroup, kind: "Role", name: "oao-api-clients" },
    subjects: [{ apiGroup, kind: "Group", name: "system:authenticated" }],
  });
}

export async function accountAccess(
  { admin, kubeconfig, namespace, folder }: AccessOptions,
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
  const config = parse(readFileSync(kubeconfig, "utf8")) as { users: { user: object }[] };
  for (const each of config.users) each.user = { token: status.token };
  const file = join(folder, `${account}.kubeconfig`);
  writeFileSync(file, JSON.stringify(config), { mode: 0o600 });
  return file;
}
