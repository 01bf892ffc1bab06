/** What cannot be done with a cluster, each said with its reason and the next command; and local verbs that none of it touches. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { down, up } from "../../../hack/cluster/control-plane.ts";
import { layoutOf } from "../../../hack/cluster/layout.ts";
import type { KubeClient } from "../../../src/adapters/kube/client.ts";
import { sample, serveModel, type Workplace, workplace } from "../../cli/harness.ts";
import { adminClient, installKinds, makeNamespace, removeNamespace } from "../adapter/api-server.ts";
import { applyFile, canI, kubectl, person, until, writeKubeconfig } from "./harness.ts";

let admin: KubeClient;
let namespace: string;
let folder: string;
let place: Workplace;
let viewer: string;
let manifest: string;
/** Accepts connections and never says anything. */
let silent: Server;
const sockets = new Set<Socket>();
let away: string;
beforeAll(async () => {
  admin = adminClient();
  await installKinds(admin);
  applyFile("config/rbac/users.yaml");
  namespace = await makeNamespace(admin);
  folder = mkdtempSync(join(tmpdir(), "oao-errors-"));
  place = workplace();
  viewer = await person(admin, namespace, folder, "viewer", ["view"]);
  await until(() => canI(viewer, "get", "executions.oao.dev"));
  const model = await serveModel(place, sample("small.model.yaml"));
  manifest = write("greeting.yaml", "");
  const { code, stderr } = await place.oao(["run", manifest, "--set", `models.main.baseURL=${model}`]);
  if (code !== 0) throw new Error(stderr);
  silent = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
  });
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  const { port } = silent.address() as { port: number };
  away = writeKubeconfig(join(folder, "away.kubeconfig"), namespace, { token: "t" }, (config) => {
    for (const { cluster } of config.clusters) cluster.server = `https://127.0.0.1:${port}`;
  });
});
afterAll(async () => {
  for (const socket of sockets) socket.destroy();
  silent.close();
  await place.end();
  await removeNamespace(admin, namespace);
  rmSync(folder, { recursive: true, force: true });
  admin.close();
});

function write(name: string, metadata: string): string {
  const file = join(folder, name);
  writeFileSync(
    file,
    `apiVersion: oao.dev/v1alpha1
kind: Execution
metadata: { name: ${name.replace(".yaml", "")}${metadata} }
spec:
  task: t
  models: [{ name: main, provider: openai, model: gpt-5-mini, baseURL: "http://127.0.0.1:1/v1" }]
  agents: [{ name: greeter, model: main, systemPrompt: You greet }]
  nodes: [{ name: greet, agent: { ref: greeter, prompt: Hello } }]
`,
  );
  return file;
}
const oao = (kubeconfig: string, ...args: readonly string[]) =>
  place.oao(args, kubeconfig === "" ? {} : { KUBECONFIG: kubeconfig });
const timed = async <T>(work: Promise<T>): Promise<{ result: T; ms: number }> => {
  const beganMs = performance.now();
  return { result: await work, ms: performance.now() - beganMs };
};

describe("a kubeconfig", () => {
  test("that is not there", async () => {
    const none = await oao("", "get", "--on", "cluster");
    expect(none.code).toBe(2);
    expect(none.stderr).toMatch(/^error: there is no kubeconfig at .*\.kube\/config, so no cluster to ask\n/);
    expect(none.stderr).toContain("--kubeconfig FILE");
    expect((await oao(join(folder, "nowhere"), "submit", manifest)).stderr).toContain("there is no kubeconfig at");
    const named = await oao("", "tree", "greeting", "--kubeconfig", join(folder, "nowhere"));
    expect(named).toMatchObject({ code: 2, stderr: expect.stringContaining("the kubeconfig cannot be read") });
    expect(await oao("", "get", "greeting", "--on", "local", "--context", "here")).toMatchObject({ code: 2 });
  });

  test("without the context", async () => {
    const { code, stderr } = await oao(viewer, "get", "greeting", "--context", "her");
    expect(code).toBe(2);
    expect(stderr).toContain("the kubeconfig has no context her with a cluster\n  did you mean here?");
  });

  test("with credentials that the server does not know, or that cannot be had", async () => {
    const unknown = writeKubeconfig(join(folder, "unknown.kubeconfig"), namespace, { token: "no such token" });
    const refused = await oao(unknown, "get", "--on", "cluster");
    expect(refused.code).toBe(7);
    expect(refused.stderr).toContain("does not accept the credentials of this context");
    expect(refused.stderr).toContain("kubectl --context here auth whoami");
    const exec = { apiVersion: "client.authentication.k8s.io/v1", interactiveMode: "Never" };
    const failing = writeKubeconfig(join(folder, "failing.kubeconfig"), namespace, {
      exec: { ...exec, command: "sh", args: ["-c", "echo please log in >&2; exit 1"] },
    });
    const failed = await oao(failing, "get", "--on", "cluster");
    expect(failed).toMatchObject({ code: 7, stderr: expect.stringContaining("please log in") });
    // It is not asked for the sake of a name that is here.
    expect(await oao(failing, "get", "greeting", "-n", "default")).toMatchObject({ code: 0, stderr: "" });
  });

  test("whose credentials come from a program", async () => {
    const token = kubectl("create", "token", "viewer", "-n", namespace).trim();
    const credential = JSON.stringify({
      apiVersion: "client.authentication.k8s.io/v1",
      kind: "ExecCredential",
      status: { token },
    });
    const file = join(folder, "credential.json");
    writeFileSync(file, credential);
    const exec = { apiVersion: "client.authentication.k8s.io/v1", interactiveMode: "Never", command: "cat" };
    const user = { exec: { ...exec, args: [file] } };
    const kubeconfig = writeKubeconfig(join(folder, "exec.kubeconfig"), namespace, user);
    expect(await oao(kubeconfig, "get", "--on", "cluster")).toMatchObject({
      code: 0,
      stderr: expect.stringContaining("no executions"),
    });
  });
});

describe("a server", () => {
  test("that refuses connections", async () => {
    const closed = writeKubeconfig(join(folder, "closed.kubeconfig"), namespace, { token: "t" }, (config) => {
      for (const { cluster } of config.clusters) cluster.server = "https://127.0.0.1:1";
    });
    const { code, stderr } = await oao(closed, "get", "--on", "cluster");
    expect(code).toBe(7);
    expect(stderr).toContain("the API server https://127.0.0.1:1 (context here) does not answer");
    expect(stderr).toContain("kubectl --context here get --raw /readyz");
    const { result, ms } = await timed(oao(closed, "get", "greeting", "-n", "default"));
    expect(result).toMatchObject({ code: 0, stderr: "" });
    expect(ms).toBeLessThan(3_000);
  });

  test("that says nothing costs a local name half a second once, and an unknown one five seconds", async () => {
    const first = await timed(oao(away, "get", "greeting", "-n", "default"));
    expect(first.result).toMatchObject({ code: 0, stderr: "" });
    expect(first.ms).toBeLessThan(3_000);
    const before = sockets.size;
    expect(before).toBeGreaterThan(0);
    expect((await oao(away, "tree", "greeting", "-n", "default")).code).toBe(0);
    expect(sockets.size).toBe(before); // not asked again
    expect(await oao(away, "get")).toMatchObject({ code: 0, stdout: expect.stringContaining("greeting") });
    expect(sockets.size).toBe(before);
    const unknown = await timed(oao(away, "cancel", "greting", "-n", "default"));
    expect(unknown.result.code).toBe(2);
    expect(unknown.result.stderr).toContain("did you mean greeting?");
    expect(unknown.result.stderr).toContain("did not answer in 5 s");
    expect(unknown.ms).toBeLessThan(8_000);
  });

  test("without OAO's kinds", async () => {
    const layout = layoutOf(`bare-${process.pid}`);
    try {
      await up(layout);
      const { code, stderr } = await oao(layout.kubeconfig, "submit", manifest);
      expect(code).toBe(7);
      expect(stderr).toContain("does not know executions.oao.dev: OAO is not installed there");
      expect(stderr).toContain("helm install oao");
      // A name that is here is not kept from its command.
      expect(await oao(layout.kubeconfig, "get", "greeting")).toMatchObject({ code: 0, stderr: "" });
    } finally {
      await down(layout);
      rmSync(layout.folder, { recursive: true, force: true });
    }
  });
});

describe("where no operator is at work", () => {
  const asAdmin = (...args: readonly string[]) => oao(inject("kubeconfig"), ...args, "-n", namespace);

  test("a run that is told to stop says so when its time is up", async () => {
    const followed = place.start(["submit", manifest, "--name", "idle", "-n", namespace], {
      KUBECONFIG: inject("kubeconfig"),
    });
    await followed.said("Pending");
    const { code, stderr } = await asAdmin("suspend", "idle", "--on", "cluster", "--timeout", "1");
    expect(code).toBe(6);
    expect(stderr).toContain("is told to be Suspended but the operator has not done so yet");
    expect(stderr).toContain(`kubectl describe execution -n ${namespace} idle`);
    expect((await asAdmin("get", "idel", "--on", "cluster")).stderr).toContain("did you mean idle?");
    expect((await asAdmin("get", "idel")).stderr).toContain("which has idle");
    kubectl("delete", "execution", "idle", "-n", namespace);
    expect(await followed.ended).toMatchObject({
      code: 4,
      stderr: expect.stringContaining("was deleted while it was followed"),
    });
  });

  test("whoever may create but not look is told so once it is created", async () => {
    kubectl("create", "role", "maker", "-n", namespace, "--verb=create", "--resource=executions.oao.dev");
    const maker = await person(admin, namespace, folder, "maker", []);
    const subject = `--serviceaccount=${namespace}:maker`;
    kubectl("create", "rolebinding", "maker", "-n", namespace, "--role=maker", subject);
    await until(() => canI(maker, "create", "executions.oao.dev"));
    const { code, stderr } = await oao(maker, "submit", manifest, "--name", "blind");
    expect(code).toBe(2);
    expect(stderr).toContain(`${namespace}/blind created in the cluster`);
    expect(stderr).toContain(`you may not list executions.oao.dev in namespace ${namespace}`);
    kubectl("delete", "execution", "blind", "-n", namespace);
  });
});

describe("a refusal", () => {
  test("names the missing right, the role that has it and the command that checks", async () => {
    const { code, stderr } = await oao(viewer, "submit", manifest);
    expect(code).toBe(2);
    expect(stderr).toBe(`error: you may not create executions.oao.dev in namespace ${namespace}
  whoever administers it can grant it: ClusterRole edit
  check: kubectl auth can-i create executions.oao.dev -n ${namespace}
`);
  });

  test("by admission names every field", async () => {
    const file = write("labels.yaml", ', labels: { team: "not a label!", "also not": x }');
    const { code, stderr } = await oao(inject("kubeconfig"), "submit", file, "-n", namespace);
    expect(code).toBe(2);
    expect(stderr).toContain("the cluster refused it, for 2 reasons");
    expect(stderr.match(/^ {2}metadata\.labels: Invalid value/gm)).toHaveLength(2);
  });

  test("of a namespace that is not there says how to make it", async () => {
    const { code, stderr } = await oao(inject("kubeconfig"), "submit", manifest, "-n", "no-such-namespace");
    expect(code).toBe(2);
    expect(stderr).toContain("the cluster has no namespace no-such-namespace\n  make it: kubectl create namespace");
  });

  test("by lint comes before any request, with every error", async () => {
    const file = join(folder, "wrong.yaml");
    writeFileSync(
      file,
      "apiVersion: oao.dev/v1alpha1\nkind: Execution\nmetadata: { name: wrong }\nspec: { tusk: t }\n",
    );
    const before = sockets.size;
    const { code, stderr } = await oao(away, "submit", file);
    expect(code).toBe(2);
    expect(stderr).toContain('did you mean "task"?');
    expect(stderr).toContain("nothing was started");
    expect(sockets.size).toBe(before);
  });

  test("of an unknown name says where it was looked for", async () => {
    const { code, stderr } = await oao(viewer, "get", "brif");
    expect(code).toBe(2);
    expect(stderr).toContain(`nor is it in the cluster of context here, namespace ${namespace}`);
    const there = await oao(viewer, "tree", "brif", "--on", "cluster");
    expect(there.stderr).toContain(`there is no Execution ${namespace}/brif in the cluster of context here`);
    expect(there.stderr).toContain("see all: oao get --on cluster");
  });
});
