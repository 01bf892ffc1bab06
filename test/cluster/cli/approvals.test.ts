/** oao approve, and the admission policy that proves who answered. No operator: its part of the status is written by the tests. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../../src/adapters/clock/system-clock.ts";
import { KubeClient } from "../../../src/adapters/kube/client.ts";
import { loadKubeConfig } from "../../../src/adapters/kube/connection.ts";
import { resourcePath, resources } from "../../../src/adapters/kube/resources.ts";
import type { KubeExecution } from "../../../src/adapters/kube/stored.ts";
import { type Workplace, workplace } from "../../cli/harness.ts";
import { adminClient, installKinds, makeNamespace, removeNamespace } from "../adapter/api-server.ts";
import { applyFile, canI, kubectl, person, until } from "./harness.ts";

const manifest = (name: string, metadata = "") => `apiVersion: oao.dev/v1alpha1
kind: Execution
metadata: { name: ${name}${metadata} }
spec:
  task: t
  models: [{ name: main, provider: openai, model: gpt-5-mini }]
  agents: [{ name: greeter, model: main, systemPrompt: You greet }]
  nodes: [{ name: greet, agent: { ref: greeter, prompt: Hello } }]
`;

let admin: KubeClient;
let namespace: string;
let folder: string;
let place: Workplace;
/** May look and answer; may also steer runs; may do neither. */
let approver: string;
let tenant: string;
let viewer: string;
beforeAll(async () => {
  admin = adminClient();
  await installKinds(admin);
  applyFile("config/rbac/users.yaml");
  applyFile("config/admission/approvals.yaml");
  namespace = await makeNamespace(admin);
  folder = mkdtempSync(join(tmpdir(), "oao-approvals-"));
  place = workplace();
  approver = await person(admin, namespace, folder, "approver", ["oao-approver"]);
  tenant = await person(admin, namespace, folder, "tenant", ["edit"]);
  viewer = await person(admin, namespace, folder, "viewer", ["view"]);
  await until(() => canI(tenant, "patch", "executions.oao.dev"));
  await ask("probe", ["one"]);
  // An admission policy holds a moment after it was made; a repeat of what is there already changes nothing.
  let tries = 0;
  await until(() =>
    annotate(admin, "probe", "one", `Approve:nobody-${(tries += 1)}`).then(
      () => false,
      () => true,
    ),
  );
});
afterAll(async () => {
  await place.end();
  await removeNamespace(admin, namespace);
  rmSync(folder, { recursive: true, force: true });
  admin.close();
});

const path = (name: string, subresource?: string) =>
  resourcePath(resources.executions, { namespace, name, ...(subresource === undefined ? {} : { subresource }) });
const oao = (kubeconfig: string, ...args: readonly string[]) => place.oao(args, { KUBECONFIG: kubeconfig });
const annotationsOf = async (name: string) =>
  (await admin.request<KubeExecution>({ path: path(name) })).metadata.annotations ?? {};
const annotate = (client: KubeClient, name: string, request: string, value: string | null) =>
  client.request({
    method: "PATCH",
    patch: "Merge",
    path: path(name),
    body: { metadata: { annotations: { [`approval.oao.dev/${request}`]: value } } },
  });
const userOf = (name: string) => `system:serviceaccount:${namespace}:${name}`;

/** A run that waits for these answers. */
async function ask(name: string, requests: readonly string[]): Promise<void> {
  const file = join(folder, `${name}.yaml`);
  writeFileSync(file, manifest(name));
  kubectl("apply", "-n", namespace, "-f", file);
  const status = {
    phase: "AwaitingApproval",
    observedGeneration: 1,
    progress: "0/1",
    conditions: [],
    nodeCounts: {},
    nodes: [{ name: "greet", state: "Running" }],
    approvals: requests.map((request) => ({ request, node: "greet", message: `May ${request} happen?` })),
  };
  await admin.request({ method: "PATCH", patch: "Merge", path: path(name, "status"), body: { status } });
}

describe("oao approve", () => {
  test("answers the only request under the caller's own name; get and tree show what waits and the command", async () => {
    await ask("single", ["sign-off"]);
    const line = /greet asks: May sign-off happen\?\n +oao approve single --on cluster sign-off/;
    const followed = await oao(tenant, "resume", "single");
    expect(followed).toMatchObject({ code: 6, stderr: expect.stringMatching(line) });
    expect((await oao(approver, "get", "single")).stdout).toMatch(line);
    expect((await oao(approver, "tree", "single")).stdout).toMatch(line);
    const { code, stderr } = await oao(approver, "approve", "single");
    expect({ code, stderr }).toMatchObject({
      code: 0,
      stderr: expect.stringContaining(`approved as ${userOf("approver")}`),
    });
    expect(await annotationsOf("single")).toMatchObject({
      "approval.oao.dev/sign-off": `Approve:${userOf("approver")}`,
    });
  });

  test("wants the request named where several wait, and takes --reject", async () => {
    await ask("several", ["publish", "pay"]);
    const unnamed = await oao(approver, "approve", "several");
    expect(unnamed.code).toBe(2);
    expect(unnamed.stderr).toContain(
      "waits for 2 approvals: say which\n  greet asks: May publish happen?\n    oao approve several",
    );
    expect((await oao(approver, "approve", "several", "publsh")).stderr).toContain("did you mean publish?");
    expect(await oao(approver, "approve", "several", "pay", "--reject")).toMatchObject({ code: 0 });
    expect(await annotationsOf("several")).toEqual({
      "kubectl.kubernetes.io/last-applied-configuration": expect.anything(),
      "approval.oao.dev/pay": `Reject:${userOf("approver")}`,
    });
  });

  test("says that nothing is asked, also of what has been answered", async () => {
    await ask("answered", []);
    expect((await oao(approver, "approve", "answered")).stderr).toContain(
      "waits for no approval (it is AwaitingApproval)",
    );
    const approvals = [{ request: "done", node: "greet", decision: "Approved", by: "ada" }];
    const body = { status: { approvals } };
    await admin.request({ method: "PATCH", patch: "Merge", path: path("answered", "status"), body });
    const { code, stderr } = await oao(approver, "approve", "answered", "done");
    expect({ code, stderr }).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("done was approved by ada already"),
    });
  });

  test("names the right that is missing", async () => {
    await ask("guarded", ["sign-off"]);
    const edit = await oao(tenant, "approve", "guarded");
    expect(edit.code).toBe(2);
    expect(edit.stderr).toContain(`you may not update executions/approval.oao.dev in namespace ${namespace}`);
    expect(edit.stderr).toContain("ClusterRole oao-approver");
    expect(edit.stderr).toContain("--subresource=approval");
    const view = await oao(viewer, "approve", "guarded");
    expect(view.stderr).toContain(`you may not patch executions.oao.dev in namespace ${namespace}`);
    expect(Object.keys(await annotationsOf("guarded"))).not.toContain("approval.oao.dev/sign-off");
  });
});

describe("the admission policy", () => {
  const clientOf = (kubeconfig: string) => new KubeClient(loadKubeConfig(kubeconfig), { clock: systemClock });

  test("refuses another's name, whoever says it, and taking an answer back without the right", async () => {
    await ask("forged", ["sign-off"]);
    const [ofApprover, ofTenant] = [clientOf(approver), clientOf(tenant)];
    const forged = `Approve:${userOf("tenant")}`;
    await expect(annotate(ofApprover, "forged", "sign-off", forged)).rejects.toThrow(/must read Approve:/);
    await expect(annotate(admin, "forged", "sign-off", forged)).rejects.toThrow(/must read Approve:/);
    await expect(annotate(ofTenant, "forged", "sign-off", forged)).rejects.toThrow(/executions\/approval/);
    await annotate(ofApprover, "forged", "sign-off", `Approve:${userOf("approver")}`);
    await expect(annotate(ofTenant, "forged", "sign-off", null)).rejects.toThrow(/executions\/approval/);
    ofApprover.close();
    ofTenant.close();
  });

  test("refuses an answer in a manifest, which oao submit says in the policy's words", async () => {
    const file = join(folder, "early.yaml");
    const annotation = `, annotations: { approval.oao.dev/sign-off: "Approve:${userOf("tenant")}" }`;
    writeFileSync(file, manifest("early", annotation));
    const { code, stderr } = await oao(tenant, "submit", file);
    expect(code).toBe(2);
    expect(stderr).toContain("the cluster refused it");
    expect(stderr).toContain("an approval can only be given once it is asked for");
  });
});
