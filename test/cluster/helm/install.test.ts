/** The chart on a real API server of its own: what it installs is cluster-wide, and it is uninstalled as well. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse as parseYaml } from "yaml";
import { down, up } from "../../../hack/cluster/control-plane.ts";
import { kubeBinary } from "../../../hack/cluster/kube-binary.ts";
import { layoutOf } from "../../../hack/cluster/layout.ts";
import { chart, type Ended, helm, type Manifest, render, renderText, run, settings, shapes } from "../../helm/chart.ts";
import { patienceMs } from "../../support/patience.ts";

const layout = layoutOf(`helm-${process.pid}`);
const executions = "executions.oao.dev";
const folder = mkdtempSync(join(tmpdir(), "oao-helm-"));

function kubectl(args: readonly string[], input?: string): Ended {
  return run(kubeBinary(), ["kubectl", "--kubeconfig", layout.kubeconfig, ...args], input);
}

/** Throws unless it went well without a warning. */
function done({ code, stdout, stderr }: Ended): string {
  if (code !== 0 || stderr !== "") throw new Error(`exit ${code}: ${stderr}${stdout}`);
  return stdout;
}

const release = (verb: string, name: string, namespace: string, values: readonly string[] = []): Ended =>
  helm(verb, name, chart, "--namespace", namespace, "--kubeconfig", layout.kubeconfig, ...settings(values));
const uninstall = (name: string, namespace: string): Ended =>
  helm("uninstall", name, "--namespace", namespace, "--kubeconfig", layout.kubeconfig);
const field = (kind: string, name: string, path: string, namespace = "oao-system"): string =>
  done(kubectl(["get", kind, name, "-n", namespace, "-o", `jsonpath={${path}}`]));

const execution = (name: string, annotations: object = {}): string =>
  JSON.stringify({
    apiVersion: "oao.dev/v1alpha1",
    kind: "Execution",
    metadata: { name, namespace: "oao-system", annotations },
    spec: {
      task: "t",
      tools: [{ name: "hello", http: { method: "GET", url: "https://example.test/" } }],
      nodes: [{ name: "a", tool: { ref: "hello" } }],
    },
  });

beforeAll(async () => {
  await up(layout);
  for (const name of ["oao-system", "team-a", "team-b"]) {
    const labels = Object.fromEntries(
      ["enforce", "warn"].map((at) => [`pod-security.kubernetes.io/${at}`, "restricted"]),
    );
    done(
      kubectl(
        ["create", "-f", "-"],
        JSON.stringify({ apiVersion: "v1", kind: "Namespace", metadata: { name, labels } }),
      ),
    );
  }
  // Pods of a namespace are refused until it has its default account.
  for (const namespace of ["oao-system", "team-a", "team-b"]) {
    done(kubectl(["wait", "--for=create", "serviceaccount/default", "-n", namespace, "--timeout=60s"]));
  }
  done(kubectl(["apply", "--server-side", "-f", "crds/"]));
  done(kubectl(["wait", "--for=condition=Established", "--timeout=60s", "-f", "crds/"]));
});

afterAll(async () => {
  rmSync(folder, { recursive: true });
  await down(layout);
});

describe("the chart on a real API server", () => {
  test.each(Object.entries(shapes))("is taken without a warning in restricted namespaces: %s", (_, values) => {
    const dryRun = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-"];
    expect(kubectl(dryRun, renderText(values))).toMatchObject({ code: 0, stderr: "" });
  });

  test.each(["default", "cluster-wide", "dev"])("is taken as the kustomize base config/%s too", (base) => {
    const dryRun = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-k", `config/${base}`];
    expect(kubectl(dryRun)).toMatchObject({ code: 0, stderr: "" });
  });

  test("is joined by an example namespace for a team that the API server takes as it is", () => {
    const dryRun = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f"];
    expect(kubectl([...dryRun, "config/policies/tenant.yaml"])).toMatchObject({ code: 0, stderr: "" });
  });

  test("installs over CRDs that somebody applied, and its pods pass Pod Security restricted", () => {
    expect(release("install", "oao", "oao-system", ["shared.crds=false"])).toMatchObject({ code: 0 });
    const counts = { deployment: ["oao", 2], statefulset: ["oao-redis", 1] } as const;
    for (const [kind, [name, replicas]] of Object.entries(counts)) {
      const until = `--for=jsonpath={.status.replicas}=${replicas}`;
      done(kubectl(["wait", `${kind}/${name}`, "-n", "oao-system", until, "--timeout=60s"]));
    }
  });

  test("takes over the CRDs in an upgrade when told to, and a second upgrade changes nothing", () => {
    const upgrade = (...flags: string[]): Ended =>
      helm("upgrade", "oao", chart, "-n", "oao-system", "--kubeconfig", layout.kubeconfig, "--reset-values", ...flags);
    expect(upgrade()).toMatchObject({ code: 1, stderr: expect.stringContaining("invalid ownership metadata") });
    expect(upgrade("--take-ownership", "--force-conflicts")).toMatchObject({ code: 0 });
    const generation = field("deployment", "oao", ".metadata.generation");
    expect(upgrade()).toMatchObject({ code: 0 });
    expect(field("deployment", "oao", ".metadata.generation")).toBe(generation);
  });
});

describe("the Secret of a release", () => {
  test("is made once with the operator's own rights, and left alone ever after", () => {
    const config = parseYaml(done(kubectl(["config", "view", "--raw"])));
    const server = new URL(config.clusters[0].cluster.server);
    writeFileSync(
      join(folder, "ca.crt"),
      Buffer.from(config.clusters[0].cluster["certificate-authority-data"], "base64"),
    );
    writeFileSync(join(folder, "token"), done(kubectl(["create", "token", "oao", "-n", "oao-system"])));
    writeFileSync(join(folder, "create-keys.mjs"), field("configmap", "oao", ".data.create-keys\\.mjs"));
    const environment = {
      KUBERNETES_SERVICE_HOST: server.hostname,
      KUBERNETES_SERVICE_PORT: server.port,
      NODE_EXTRA_CA_CERTS: join(folder, "ca.crt"),
      TOKEN_FILE: join(folder, "token"),
      NAMESPACE: "oao-system",
      SECRET: "oao-keys",
    };
    const pairs = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
    const start = (...more: string[]): Ended =>
      run("env", [...pairs, ...more, "node", join(folder, "create-keys.mjs")]);
    expect(done(start())).toBe("Secret oao-system/oao-keys created\n");
    const data = field("secret", "oao-keys", ".data");
    const lengths = Object.entries(JSON.parse(data) as Record<string, string>).map(([key, value]) => [
      key,
      Buffer.from(value, "base64").length,
    ]);
    expect(Object.fromEntries(lengths)).toEqual({ "store-user-key": 64, "redis-password": 48 });
    expect(done(start())).toBe("Secret oao-system/oao-keys is there already\n");
    expect(field("secret", "oao-keys", ".data")).toBe(data);
    expect(start("NAMESPACE=team-a")).toMatchObject({ code: 1, stderr: expect.stringContaining("403") });
  });
});

describe("rights", () => {
  const people = {
    vera: "view",
    ed: "edit",
    ada: "admin",
    joe: "oao-journal-reader",
    ann: "oao-approver",
    pia: "oao-policy-admin",
  };

  beforeAll(() => {
    for (const [user, role] of Object.entries(people)) {
      done(kubectl(["create", "rolebinding", user, `--clusterrole=${role}`, `--user=${user}`, "-n", "oao-system"]));
    }
  });

  const can = (user: string, verb: string, resource: string, namespace = "oao-system"): string => {
    const [name = "", subresource] = resource.split("/");
    const flags = subresource === undefined ? [] : [`--subresource=${subresource}`];
    return kubectl(["auth", "can-i", verb, name, "-n", namespace, `--as=${user}`, ...flags]).stdout.trim();
  };

  const policies = "governancepolicies.oao.dev";
  test("for Executions join the cluster's own view, edit and admin", async () => {
    // The controller manager fills the cluster's own roles in its own time.
    const firsts = [
      ["vera", "get", executions],
      ["ed", "create", executions],
      ["ada", "update", `${executions}/approval`],
    ] as const;
    for (const [user, verb, resource] of firsts) {
      await expect.poll(() => can(user, verb, resource), { timeout: patienceMs }).toBe("yes");
    }
  });

  test.each([
    ["get", executions, { vera: "yes", ed: "yes", ada: "yes", joe: "yes", ann: "yes", pia: "no" }],
    ["create", executions, { vera: "no", ed: "yes", ada: "yes", joe: "no", ann: "no", pia: "no" }],
    ["patch", executions, { vera: "no", ed: "yes", ada: "yes", joe: "no", ann: "yes", pia: "no" }],
    ["update", `${executions}/status`, { vera: "no", ed: "no", ada: "no", joe: "no", ann: "no", pia: "no" }],
    ["get", `${executions}/journal`, { vera: "no", ed: "no", ada: "yes", joe: "yes", ann: "no", pia: "no" }],
    ["update", `${executions}/approval`, { vera: "no", ed: "no", ada: "yes", joe: "no", ann: "yes", pia: "no" }],
    ["get", policies, { vera: "yes", ed: "yes", ada: "yes", joe: "no", ann: "no", pia: "yes" }],
    ["create", policies, { vera: "no", ed: "no", ada: "no", joe: "no", ann: "no", pia: "yes" }],
  ])("who may %s %s", (verb, resource, expected) => {
    const found = Object.keys(people).map((user) => [user, can(user, verb, resource)]);
    expect(Object.fromEntries(found)).toEqual(expected);
  });

  test("of the operator end at its namespace and at creating Secrets", () => {
    const operator = "system:serviceaccount:oao-system:oao";
    const asked = [
      ["create", "pods", "oao-system", "yes"],
      ["update", `${executions}/status`, "oao-system", "yes"],
      ["create", "secrets", "oao-system", "yes"],
      ["get", "secrets", "oao-system", "no"],
      ["list", "secrets", "oao-system", "no"],
      ["create", "pods/exec", "oao-system", "no"],
      ["create", policies, "oao-system", "no"],
      ["create", executions, "oao-system", "no"],
      ["create", "pods", "team-a", "no"],
      ["get", executions, "team-a", "no"],
    ] as const;
    const found = asked.map(([verb, resource, namespace]) => [
      verb,
      resource,
      namespace,
      can(operator, verb, resource, namespace),
    ]);
    expect(found).toEqual(asked.map((each) => [...each]));
  });

  test("to approve are proven by the API server: no forged name, no missing right, nothing before it is asked for", async () => {
    const approve = (as: string, said: string): Ended =>
      kubectl([
        "annotate",
        executions,
        "asks",
        "-n",
        "oao-system",
        "--overwrite",
        `--as=${as}`,
        `approval.oao.dev/r1=${said}`,
      ]);
    done(kubectl(["create", "-f", "-"], execution("asks")));
    // An admission policy takes effect a moment after it is made: the first forged approval that is refused says so.
    await expect
      .poll(() => approve("ann", "Approve:ada").stderr, { timeout: patienceMs })
      .toContain("must read Approve:ann");
    expect(approve("ed", "Approve:ed").stderr).toContain("it needs the right to update executions/approval");
    const early = kubectl(
      ["create", "-f", "-", "--as=ada"],
      execution("early", { "approval.oao.dev/r1": "Approve:ada" }),
    );
    expect(early.stderr).toContain("an approval can only be given once it is asked for");
    done(approve("ann", "Approve:ann"));
    expect(
      kubectl(["annotate", executions, "asks", "-n", "oao-system", "--as=ed", "approval.oao.dev/r1-"]).stderr,
    ).toContain("it needs the right to update executions/approval");
    done(kubectl(["annotate", executions, "asks", "-n", "oao-system", "--as=ed", "note=fine"]));
  });
});

describe("releases side by side", () => {
  test("a second one in another namespace leaves what the cluster has once to the first", () => {
    expect(release("install", "oao", "team-b")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("ownership"),
    });
    expect(release("install", "oao", "team-b", ["shared.install=false"])).toMatchObject({ code: 0 });
    expect(field("deployment", "oao", ".metadata.name", "team-b")).toBe("oao");
    expect(uninstall("oao", "team-b")).toMatchObject({ code: 0 });
    expect(kubectl(["get", "clusterrole", "oao-view"]).code).toBe(0);
  });

  test("uninstalling keeps CRDs, Executions, the Secret and what other releases need, and the next install takes them up again", () => {
    const secret = field("secret", "oao-keys", ".data");
    expect(uninstall("oao", "oao-system")).toMatchObject({ code: 0 });
    const release2 = render(["shared.crds=false"]);
    const left = release2.filter(
      ({ kind, metadata }: Manifest) => kubectl(["get", kind, metadata.name, "-n", "oao-system"]).code === 0,
    );
    expect(left.map(({ kind, metadata }: Manifest) => `${kind}/${metadata.name}`).sort()).toEqual([
      "ClusterRole/oao-admin",
      "ClusterRole/oao-approver",
      "ClusterRole/oao-edit",
      "ClusterRole/oao-journal-reader",
      "ClusterRole/oao-policy-admin",
      "ClusterRole/oao-view",
      "ValidatingAdmissionPolicy/approvals.oao.dev",
      "ValidatingAdmissionPolicyBinding/approvals.oao.dev",
    ]);
    expect(field(executions, "asks", ".metadata.name")).toBe("asks");
    expect(field("secret", "oao-keys", ".data")).toBe(secret);
    expect(release("install", "oao", "oao-system")).toMatchObject({ code: 0 });
    expect(field("secret", "oao-keys", ".data")).toBe(secret);
  });
});
