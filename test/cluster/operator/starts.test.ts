/** Pods that cannot start, for real reasons: people see why, and the run goes on once it is mended. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { finalizer, secretName } from "../../../src/adapters/kube/names.ts";
import { type Resource, resourcePath, resources } from "../../../src/adapters/kube/resources.ts";
import type { KubeExecution } from "../../../src/adapters/kube/stored.ts";
import type { ExecutionSpec } from "../../../src/api/types.ts";
import { root } from "../../cli/harness.ts";
import { configMaps } from "../adapter/api-server.ts";
import { eventually } from "../../support/patience.ts";
import { ended, type Field, openField } from "./harness.ts";

const quotas: Resource = { group: "", version: "v1", plural: "resourcequotas" };
let field: Field;
let quick: string;
let endless: string;
beforeAll(async () => {
  field = await openField();
  await field.startOperator();
  quick = await field.script("quick.yaml", "rules: [{ reply: { text: fine } }]");
  endless = await field.script("endless.yaml", "rules: [{ reply: { tokens: 100000, tokensPerSecond: 20 } }]");
});
afterAll(() => field.end());

const rowOf = (run: KubeExecution) => run.status?.nodes[0];
const succeeded = (run: KubeExecution) => run.status?.conditions.find(({ type }) => type === "Succeeded");
const within = (resource: Resource, name?: string) =>
  resourcePath(resource, { namespace: field.namespace, ...(name === undefined ? {} : { name }) });

/** One agent that asks `model`. */
function create(name: string, model: string, more: Partial<ExecutionSpec> = {}) {
  const spec = {
    task: "t",
    models: [{ name: "main", provider: "openai", model: "gpt-5-mini", baseURL: model }],
    agents: [{ name: "a", model: "main" }],
    nodes: [{ name: "ask", agent: { ref: "a", prompt: "p" } }],
    ...more,
  };
  const body = { apiVersion: "oao.dev/v1alpha1", kind: "Execution", metadata: { name }, spec };
  return field.admin.request({ method: "POST", path: within(resources.executions), body });
}

/** Resolves once the quota has been counted: until then every pod is refused with another reason. */
async function setQuota(name: string, hard: Readonly<Record<string, string>>): Promise<void> {
  const path = within(quotas, name);
  const query = { fieldManager: "tests", force: true };
  const body = { apiVersion: "v1", kind: "ResourceQuota", metadata: { name }, spec: { hard } };
  await field.admin.request({ method: "PATCH", patch: "Apply", path, query, body });
  await eventually(async () => expect(await field.admin.request({ path })).toMatchObject({ status: { hard } }));
}
const dropQuota = (name: string) => field.admin.request({ method: "DELETE", path: within(quotas, name) });

test("the quota of the documented tenant namespace takes worker pods as they come", async () => {
  const documents = parseAllDocuments(readFileSync(join(root, "config/policies/tenant.yaml"), "utf8"));
  const quota = documents.map((each) => each.toJS() as { kind: string; spec: { hard: Record<string, string> } });
  const { hard } = quota.find(({ kind }) => kind === "ResourceQuota")?.spec ?? { hard: {} };
  expect(Object.keys(hard)).toContain("limits.memory");
  await setQuota("tenant", hard);
  await create("tenant", quick);
  expect((await field.until("tenant", ended)).status).toMatchObject({ phase: "Succeeded" });
  await dropQuota("tenant");
});

describe("a pod that cannot start", () => {
  const tools = [{ name: "greet", module: { configMapRef: { name: "greetings", key: "greet.mjs" } } }];
  const nodes = [{ name: "hello", tool: { ref: "greet", arguments: { who: "Ada" } } }];
  const makeModule = () =>
    field.admin.request({
      method: "POST",
      path: within(configMaps),
      body: {
        metadata: { name: "greetings" },
        data: { "greet.mjs": "export const greet = ({ who }) => `Hello ${who}`;" },
      },
    });

  test("for a reason that only its machine knows says after half a minute how to find it, and goes on once that is mended", async () => {
    const body = {
      apiVersion: "oao.dev/v1alpha1",
      kind: "GovernancePolicy",
      metadata: { name: "greetings" },
      spec: { tools: { modules: ["configmap:greetings/*"] } },
    };
    await field.admin.request({ method: "POST", path: within(resources.policies), body });
    await create("no-map", quick, { tools, nodes, policyRef: { name: "greetings" } });
    const waiting = await field.until("no-map", (run) => rowOf(run)?.reason === "StartDelayed");
    const [pod] = (await field.pods()).filter(({ metadata }) => metadata.ownerReferences?.[0]?.name === "no-map");
    const command = `kubectl describe pod -n ${field.namespace} ${pod?.metadata.name}`;
    expect(rowOf(waiting)).toMatchObject({ state: "Starting", message: expect.stringContaining(command) });
    expect(succeeded(waiting)).toMatchObject({ status: "Unknown", message: expect.stringContaining(command) });
    await makeModule();
    expect((await field.until("no-map", ended)).status).toMatchObject({ phase: "Succeeded" });
  });

  test("for want of its run's own Secret, which somebody has deleted, gets it again", async () => {
    await create("no-secret", endless);
    const { metadata } = await field.until("no-secret", (run) => rowOf(run)?.state === "Running");
    const path = within(resources.secrets, secretName(metadata.uid));
    await field.admin.request({ method: "DELETE", path });
    const pid = field.pidOf(await field.get("no-secret"), { node: "ask" });
    expect(pid).toBeGreaterThan(0);
    process.kill(pid as number, "SIGKILL");
    const again = await field.until("no-secret", (run) => rowOf(run)?.state === "Running" && rowOf(run)?.attempt === 2);
    expect(rowOf(again)?.restarts).toBe(1);
    await field.admin.request({ path });
    await field.patch("no-secret", { spec: { desiredState: "Cancelled" } });
    await field.until("no-secret", ended);
  });

  test("for want of room in the namespace's quota says so in its row, condition and one Event, and starts when there is room", async () => {
    await setQuota("workers", { "limits.memory": "512Mi" });
    await create("no-room", quick);
    const waiting = await field.until("no-room", (run) => rowOf(run)?.reason === "PodRefused");
    expect(rowOf(waiting)).toMatchObject({
      state: "Starting",
      message: expect.stringContaining("exceeded quota: workers"),
    });
    expect(succeeded(waiting)?.message).toMatch(/cannot start: PodRefused: .*exceeded quota: workers/);
    await eventually(async () => expect(await field.reasons("no-room")).toContain("PodRefused"));
    await setQuota("workers", { "limits.memory": "64Gi" });
    expect((await field.until("no-room", ended)).status).toMatchObject({ phase: "Succeeded" });
    expect(
      (await field.reasons("no-room")).filter((reason) => reason === "PodRefused" || reason === "ReconcileFailed"),
    ).toEqual(["PodRefused"]);
    await dropQuota("workers");
  });

  test("for want of room is not missed when its run is cancelled: it ends at once, and lets go", async () => {
    await setQuota("none", { pods: "0" });
    await create("no-pods", quick);
    await field.until("no-pods", (run) => rowOf(run)?.reason === "PodRefused");
    await field.patch("no-pods", { spec: { desiredState: "Cancelled" } });
    expect((await field.until("no-pods", ended)).status?.phase).toBe("Cancelled");
    await eventually(async () =>
      expect((await field.get("no-pods")).metadata.finalizers ?? []).not.toContain(finalizer),
    );
    await dropQuota("none");
  });
});
