/** What people and GitOps tools do to runs on a real API server: answer, suspend, cancel, queue, expire. */
import { spawnSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { systemClock } from "../../../src/adapters/clock/system-clock.ts";
import { KubeClient } from "../../../src/adapters/kube/client.ts";
import { loadKubeConfig } from "../../../src/adapters/kube/connection.ts";
import { resourcePath, resources } from "../../../src/adapters/kube/resources.ts";
import type { KubeExecution } from "../../../src/adapters/kube/stored.ts";
import type { Execution, PolicySpec } from "../../../src/api/types.ts";
import { root } from "../../cli/harness.ts";
import { configMaps } from "../adapter/api-server.ts";
import { eventually } from "../../support/patience.ts";
import { accessOf, ended, type Field, openField, type Operator } from "./harness.ts";

let field: Field;
let operator: Operator;
let quick: string;
let endless: string;
beforeAll(async () => {
  field = await openField();
  operator = await field.startOperator();
  quick = await field.script("quick.yaml", "rules: [{ reply: { text: fine } }]");
  endless = await field.script("endless.yaml", "rules: [{ reply: { tokens: 100000, tokensPerSecond: 20 } }]");
});
afterAll(() => field.end());

const phaseIs = (phase: string) => (run: KubeExecution) => run.status?.phase === phase;
const told = (run: KubeExecution, type: string) => run.status?.conditions.find((each) => each.type === type);
const pathOf = (name: string) => resourcePath(resources.executions, { namespace: field.namespace, name });

function kubectl(args: readonly string[], input?: string) {
  const flags = ["kubectl", "--kubeconfig", inject("kubeconfig"), "-n", field.namespace, ...args];
  return spawnSync(inject("kube"), flags, { cwd: root, encoding: "utf8", input });
}

/** One node after the other, each an agent that asks `model`. */
function runOf(name: string, model: string, more: Partial<Execution["spec"]> = {}, metadata: object = {}) {
  return {
    apiVersion: "oao.dev/v1alpha1",
    kind: "Execution",
    metadata: { name, ...metadata },
    spec: {
      task: "t",
      models: [{ name: "main", provider: "openai", model: "gpt-5-mini", baseURL: model }],
      agents: [{ name: "a", model: "main" }],
      nodes: [{ name: "ask", agent: { ref: "a", prompt: "p" } }],
      ...more,
    },
  };
}
const create = (body: object) =>
  field.admin.request<KubeExecution>({
    method: "POST",
    path: resourcePath(resources.executions, { namespace: field.namespace }),
    body,
  });
const applyAs = (fieldManager: string, body: { metadata: { name: string } }) =>
  field.admin.request({
    method: "PATCH",
    patch: "Apply",
    path: pathOf(body.metadata.name),
    query: { fieldManager, force: true },
    body,
  });
const govern = (name: string, spec: PolicySpec) =>
  field.admin.request({
    method: "PATCH",
    patch: "Apply",
    path: resourcePath(resources.policies, { namespace: field.namespace, name }),
    query: { fieldManager: "tests", force: true },
    body: { apiVersion: "oao.dev/v1alpha1", kind: "GovernancePolicy", metadata: { name }, spec },
  });

describe("an approval node", () => {
  const signed = (name: string) =>
    runOf(name, quick, {
      nodes: [
        { name: "sign-off", approval: { message: "Publish $(input.title)?" } },
        { name: "publish", dependsOn: ["sign-off"], agent: { ref: "a", prompt: "by $(nodes['sign-off'].output.by)" } },
      ],
      input: { title: "Heat pumps" },
    });
  const asked = async (name: string) => {
    await create(signed(name));
    const run = await field.until(name, phaseIs("AwaitingApproval"));
    return run.status?.approvals?.[0]?.request ?? "";
  };
  const answer = (client: KubeClient, name: string, request: string, value: string, isDry = false) =>
    client.request({
      ...(isDry ? { query: { dryRun: "All" } } : {}),
      method: "PATCH",
      patch: "Merge",
      path: pathOf(name),
      body: { metadata: { annotations: { [`approval.oao.dev/${request}`]: value } } },
    });
  const userName = (name: string) => `system:serviceaccount:${field.namespace}:${name}`;

  test("waits, says what and whom it asks, and is recorded as unproven where the admission policy is absent", async () => {
    const request = await asked("unproven");
    expect(kubectl(["describe", "oaox", "unproven"]).stdout).toContain(
      `sign-off asks: Publish Heat pumps?; answer: oao approve unproven ${request} [--reject]`,
    );
    expect(await field.pods()).toEqual([]);
    expect(kubectl(["annotate", "oaox", "unproven", `approval.oao.dev/${request}=Approve:whoever`]).status).toBe(0);
    const run = await field.until("unproven", ended);
    expect(run.status).toMatchObject({
      phase: "Succeeded",
      approvals: [{ decision: "Approved", by: "whoever", proven: false }],
    });
    await eventually(() => expect(kubectl(["describe", "oaox", "unproven"]).stdout).toContain("ApprovalUnproven"));
  });

  test("takes an answer from whoever may give one, under their own name and no other; proven, with who and when", async () => {
    expect(kubectl(["apply", "-f", "config/rbac/users.yaml", "-f", "config/admission/approvals.yaml"])).toMatchObject({
      status: 0,
    });
    const client = async (name: string, roles: string[]) =>
      new KubeClient(loadKubeConfig(await accessOf(field.admin, field.namespace, field.folder, name, roles)), {
        clock: systemClock,
      });
    const [alice, editor] = [await client("alice", ["oao-approver"]), await client("editor", ["oao-view", "oao-edit"])];
    const request = await asked("proven");
    // A new admission policy takes a moment to be in force.
    await eventually(() =>
      expect(answer(field.admin, "proven", "x", "Approve:nobody", true)).rejects.toThrow(/must read Approve:/),
    );
    await expect(answer(alice, "proven", request, "Approve:bob")).rejects.toThrow(
      `an approval must read Approve:${userName("alice")} or Reject:${userName("alice")}`,
    );
    await expect(answer(editor, "proven", request, `Approve:${userName("editor")}`)).rejects.toThrow(
      "it needs the right to update executions/approval",
    );
    const early = runOf("early", quick, {}, { annotations: { "approval.oao.dev/x": `Approve:${userName("editor")}` } });
    const path = resourcePath(resources.executions, { namespace: field.namespace });
    await expect(editor.request({ method: "POST", path, body: early })).rejects.toThrow(
      "an approval can only be given once it is asked for",
    );
    expect((await field.get("proven")).status?.phase).toBe("AwaitingApproval");
    await answer(alice, "proven", request, `Approve:${userName("alice")}`);
    const run = await field.until("proven", ended);
    expect(run.status).toMatchObject({
      phase: "Succeeded",
      approvals: [{ request, node: "sign-off", decision: "Approved", by: userName("alice"), proven: true }],
    });
    expect(Date.parse(run.status?.approvals?.[0]?.decidedAt ?? "")).toBeGreaterThan(0);
    alice.close();
    editor.close();
  });
});

describe("an Audit policy", () => {
  test("stops nothing, and each rule that a run breaks stands in its condition and in an Event", async () => {
    const budgets = [{ name: "tiny", scope: "Call", unit: "InputTokens", limit: 1 }] as const;
    await govern("audit", { enforcement: "Audit", maxTokens: 1, budgets: [...budgets], models: { deny: ["*"] } });
    await create(runOf("audited", quick, { policyRef: { name: "audit" } }));
    const run = await field.until("audited", ended);
    expect(run.status?.phase).toBe("Succeeded");
    const compliant = told(run, "PolicyCompliant");
    expect(compliant).toMatchObject({ status: "False", reason: "AuditViolation" });
    for (const rule of [
      "TotalTokens",
      "Model Denied: openai/gpt-5-mini (policy audit, spec.models.deny)",
      "audit/tiny",
    ])
      expect(compliant?.message).toContain(rule);
    await eventually(() =>
      expect(kubectl(["describe", "oaox", "audited"]).stdout).toMatch(
        /AuditViolation .*PolicyViolation: Model Denied: openai\/gpt-5-mini/,
      ),
    );
  });
});

describe("suspend and resume", () => {
  test("stand still without a pod and go on in the next attempt; self-heal of a GitOps tool does not undo them", async () => {
    const manifest = runOf("paused", endless);
    await applyAs("argocd-controller", manifest);
    await field.untilAtWork("paused", "ask");
    await field.patch("paused", { spec: { desiredState: "Suspended" } });
    const paused = await field.until("paused", phaseIs("Suspended"));
    expect(field.pidOf(paused, { node: "ask" })).toBeUndefined();
    expect(told(paused, "Suspended")?.status).toBe("True");
    // Git has no desiredState, so applying it again leaves the field to whoever set it.
    await applyAs("argocd-controller", manifest);
    expect((await field.get("paused")).spec.desiredState).toBe("Suspended");
    await field.patch("paused", { spec: { desiredState: null } });
    const again = await field.untilAtWork("paused", "ask", 2);
    expect(again.status?.nodes[0]).toMatchObject({ attempt: 2 });
    expect(again.status?.nodes[0]?.restarts).toBeUndefined();
    await field.patch("paused", { spec: { desiredState: "Cancelled" } });
    await field.until("paused", ended);
  });
});

describe("Cancelled", () => {
  test("reaches running pods by push within a second, makes no call after it, and no apply undoes it", async () => {
    const manifest = runOf("stopped", endless);
    await applyAs("argocd-controller", manifest);
    const running = await field.untilAtWork("stopped", "ask");
    const pid = field.pidOf(running, { node: "ask" }) ?? 0;
    await field.patch("stopped", { spec: { desiredState: "Cancelled" } });
    const run = await field.until("stopped", ended);
    expect(run.status?.phase).toBe("Cancelled");
    expect(() => process.kill(pid, 0)).toThrow("ESRCH");
    const calls = run.status?.usage?.modelCalls;
    await applyAs("argocd-controller", manifest);
    await expect(applyAs("argocd-controller", runOf("stopped", endless, { desiredState: "Running" }))).rejects.toThrow(
      "desiredState Cancelled is final",
    );
    expect((await field.get("stopped")).status).toMatchObject({ phase: "Cancelled", usage: { modelCalls: calls } });
    const metrics = await (await fetch(`${operator.url}/metrics`)).text();
    // Of this operator's runs so far; what is measured is the product's own figure, not a time of this test.
    expect(metrics).toMatch(/oao_stop_duration_seconds_bucket\{le="\+Inf",reason="Cancelled"\} [1-9]/);
  });
});

describe("maxConcurrentExecutions", () => {
  test("queues later runs with their place, first in, first out", async () => {
    await govern("few", { limits: { maxConcurrentExecutions: 1 } });
    const policyRef = { name: "few" };
    await create(runOf("first", endless, { policyRef }));
    await field.until("first", phaseIs("Running"));
    for (const name of ["second", "third"]) {
      await create(runOf(name, quick, { policyRef }));
      await field.until(name, phaseIs("Queued"));
      await systemClock.sleep(1_100); // creation times are whole seconds
    }
    await eventually(async () =>
      expect(told(await field.get("third"), "Succeeded")?.message).toMatch(/^place 2 of 2; 1 of 1 are at work/),
    );
    expect(told(await field.get("third"), "Stalled")?.status).toBe("False");
    await field.patch("first", { spec: { desiredState: "Cancelled" } });
    const [second, third] = [await field.until("second", ended), await field.until("third", ended)];
    expect([second.status?.phase, third.status?.phase]).toEqual(["Succeeded", "Succeeded"]);
    expect(Date.parse(third.status?.startedAt ?? "")).toBeGreaterThanOrEqual(
      Date.parse(second.status?.completedAt ?? ""),
    );
  });
});

describe("ttlSecondsAfterFinished", () => {
  test("deletes a run that has ended, but not one that Argo CD would create and pay for again", async () => {
    const tracked = {
      annotations: { "argocd.argoproj.io/tracking-id": `app:oao.dev/Execution:${field.namespace}/kept` },
    };
    await create(runOf("short-lived", quick, { ttlSecondsAfterFinished: 1 }));
    await create(runOf("kept", quick, { ttlSecondsAfterFinished: 1 }, tracked));
    const kept = await field.until("kept", ended);
    expect(told(kept, "Expiring")).toMatchObject({ status: "False", reason: "OwnedByGitOps" });
    await eventually(() => expect(field.get("short-lived")).rejects.toThrow("not found"));
    expect((await field.get("kept")).metadata.deletionTimestamp).toBeUndefined();
  });
});

describe("an upgrade of the operator", () => {
  test("with a run in flight repeats nothing: the new one goes on where the old one was", async () => {
    await create(runOf("in-flight", endless));
    const before = await field.untilAtWork("in-flight", "ask");
    const next = await field.startOperator("operator-new");
    operator.child.kill("SIGTERM");
    expect(await operator.ended).toMatchObject({ code: 0 });
    await next.said('"leading"');
    operator = next;
    await create(runOf("after", quick));
    expect((await field.until("after", ended)).status?.phase).toBe("Succeeded");
    const after = await field.get("in-flight");
    expect(field.pidOf(after, { node: "ask" })).toBe(field.pidOf(before, { node: "ask" }));
    expect(after.status?.nodes[0]?.attempt).toBe(before.status?.nodes[0]?.attempt);
    await field.patch("in-flight", { spec: { desiredState: "Cancelled" } });
    expect((await field.until("in-flight", ended)).status?.phase).toBe("Cancelled");
  });
});

describe("a module tool from a ConfigMap", () => {
  test("runs where a policy lists it, and what it was is in the record", async () => {
    const code = "export const greet = ({ who }) => `Hello ${who}`;";
    await field.admin.request({
      method: "POST",
      path: resourcePath(configMaps, { namespace: field.namespace }),
      body: { metadata: { name: "tools" }, data: { "greet.mjs": code, "other.mjs": "nobody mounts me" } },
    });
    await govern("modules", { tools: { modules: ["configmap:tools/*.mjs"] } });
    const tools = [{ name: "greet", module: { configMapRef: { name: "tools", key: "greet.mjs" } } }];
    const nodes = [{ name: "hello", tool: { ref: "greet", arguments: { who: "Ada" } } }];
    await create(runOf("from-map", quick, { tools, nodes, policyRef: { name: "modules" } }));
    const run = await field.until("from-map", ended);
    expect(run.status).toMatchObject({ phase: "Succeeded", result: { preview: '"Hello Ada"' } });
    await govern("no-modules", { tools: { modules: ["tools/*"] } });
    await create(runOf("not-listed", quick, { tools, nodes, policyRef: { name: "no-modules" } }));
    // Which generation of which policy governed, and by what hash, is in the status.
    expect(run.status?.policies).toContainEqual({ namespace: field.namespace, name: "modules", generation: 1 });
    const refused = await field.until("not-listed", ended);
    expect(told(refused, "Succeeded")?.message).toBe(
      "PolicyViolation: Module Not Allowed: tool greet is configmap:tools/greet.mjs (policy no-modules, spec.tools.modules)",
    );
  });
});

/** As Flux, kustomize and `kubectl wait`-like tools read any object (kstatus). */
function kstatusOf({ metadata, status }: KubeExecution): string {
  if (metadata.deletionTimestamp !== undefined) return "Terminating";
  const is = (type: string) => status?.conditions.find((each) => each.type === type)?.status === "True";
  if (status === undefined || status.observedGeneration < (metadata.generation ?? 0)) return "InProgress";
  if (is("Reconciling")) return "InProgress";
  if (is("Stalled")) return "Failed";
  return is("Ready") ? "Current" : "InProgress";
}

describe("kstatus, on real objects of each phase", () => {
  test("reads a run that is at work as InProgress, one that succeeded as Current, any other end as Failed", async () => {
    await create(runOf("at-work", endless));
    expect(kstatusOf(await field.untilAtWork("at-work", "ask"))).toBe("InProgress");
    await field.patch("at-work", { spec: { desiredState: "Suspended" } });
    expect(kstatusOf(await field.until("at-work", phaseIs("Suspended")))).toBe("InProgress");
    await field.patch("at-work", { spec: { desiredState: "Cancelled" } });
    expect(kstatusOf(await field.until("at-work", ended))).toBe("Failed");
    await create(runOf("asks", quick, { nodes: [{ name: "sign-off", approval: { message: "m" } }] }));
    expect(kstatusOf(await field.until("asks", phaseIs("AwaitingApproval")))).toBe("InProgress");
    await field.patch("asks", { spec: { desiredState: "Cancelled" } });
    await field.until("asks", ended);
    await create(runOf("ungoverned", quick, { policyRef: { name: "nobody" } }));
    expect(kstatusOf(await field.until("ungoverned", (run) => told(run, "Stalled")?.status === "True"))).toBe("Failed");
    expect(kstatusOf(await field.get("proven"))).toBe("Current");
    expect(kstatusOf(await create(runOf("fresh", quick)))).toBe("InProgress");
    await field.until("fresh", ended);
  });
});

test("kubectl alone shows every state: columns, wide columns, a wait for a condition", () => {
  const table = kubectl(["get", "oaox"]).stdout;
  expect(table.split("\n")[0]).toMatch(/^NAME +PHASE +NODES +STEPS +TOKENS +AGE/);
  expect(table).toMatch(/proven +Succeeded +2\/2/);
  const wide = kubectl(["get", "oaox", "stopped", "-o", "wide"]).stdout;
  expect(wide.split("\n")[0]).toMatch(/AGE +POLICY +HASH +OPERATOR +REASON$/);
  expect(wide).toMatch(/ sha256:[0-9a-f]{64} +\S+\/oao +Cancelled\s*$/m);
  expect(kubectl(["wait", "--for=condition=Succeeded", "oaox/proven", "--timeout=5s"]).status).toBe(0);
});
