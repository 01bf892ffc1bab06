/** What oao does with a run of a cluster through the operator's API, with nothing but the credentials of a kubeconfig. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { parse } from "yaml";
import { resourcePath, resources } from "../../../src/adapters/kube/resources.ts";
import { runKeys } from "../../../src/adapters/store/redis/keys.ts";
import type { DiffPage, RunKey, StepDetail, StepPage } from "../../../src/ui/wire.ts";
import type { Ended } from "../../cli/harness.ts";
import { configMaps, makeNamespace, removeNamespace } from "../adapter/api-server.ts";
import { type Api, ask, type Who } from "./api-client.ts";
import { type ApiField, openApiField, threeSteps } from "./api-field.ts";
import { ended } from "./harness.ts";

let field: ApiField;
let api: Api;
let alice: Who;
beforeAll(async () => {
  field = await openApiField({ OAO_API_RATE: "200", OAO_API_BURST: "400" });
  [api] = field.apis as [Api];
  alice = await field.person("alice", ["oao-view", "oao-edit", "oao-journal-reader"]);
  await field.person("editor", ["oao-view", "oao-edit"]);
  const body = threeSteps("short", await field.script("short.yaml", "rules: [{ reply: { tokens: 5 } }]"));
  await field.admin.request({ method: "POST", path: field.executions, body });
  await field.until("short", ({ status }) => status?.sealed === true);
});
afterAll(() => field.end());

const at = (name: string, what: string) => `/executions/${field.namespace}/${name}/${what}`;
const server = () => ["--server", `https://localhost:${api.port}`];

function oao(kubeconfig: string, command: string, ...args: string[]): Promise<Ended> {
  const place = ["-n", field.namespace, "--on", "cluster"];
  const KUBECONFIG = kubeconfig.includes("/") ? kubeconfig : join(field.folder, `${kubeconfig}.kubeconfig`);
  return field.place.oao([command, ...args, ...place], { KUBECONFIG, OAO_OPERATOR_NAMESPACE: field.home });
}

test("trace prints what the API says, to a token and to a client certificate alike", async () => {
  const rows = (await ask(api, at("brief", "trace"), alice)).json();
  const json = await oao("alice", "trace", "brief", ...server(), "-o", "json");
  expect(json).toMatchObject({ code: 0, stderr: "" });
  expect(JSON.parse(json.stdout)).toEqual(rows);
  expect((await oao("alice", "trace", "brief", ...server())).stdout).toMatch(/^STEP +NODE +KIND/);
  const canonical = await oao("alice", "trace", "brief", ...server(), "--canonical");
  expect(canonical.stderr).toBe(`traceHash ${field.run.status?.traceHash}\n`);
  expect(canonical.stdout.trimEnd().split("\n").length).toBe(field.run.status?.steps);
  const { stdout } = await oao(inject("kubeconfig"), "trace", "brief", ...server(), "-o", "jsonl");
  const lines = stdout.trimEnd().split("\n");
  expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual(rows);
});

test("export writes the bundle of the API, and verify checks and replays it, as a file and by name", async () => {
  const file = join(field.folder, "brief.jsonl");
  expect(await oao("alice", "export", "brief", "-O", file, ...server())).toMatchObject({ code: 0 });
  expect(readFileSync(file, "utf8")).toBe((await ask(api, at("brief", "export"), alice)).text);
  const ofFile = await field.place.oao(["verify", file]);
  expect(ofFile).toMatchObject({ code: 0, stdout: expect.stringContaining(field.run.status?.traceHash ?? "none") });
  const byName = await oao("alice", "verify", "brief", ...server());
  expect(byName.stderr).toBe("");
  expect(byName.code).toBe(0);
  expect(byName.stdout).toContain("brief is as it was recorded");
  expect(byName.stdout).toContain("replayed here without a call: 12 steps went as in brief");
});

test("hash, replay and diff: a strict replay, a fork, and a replay of one that inherits its spec", async () => {
  const { executionHash = "none", traceHash } = (await field.get("short")).status ?? {};
  expect(await oao("alice", "hash", "short")).toMatchObject({
    code: 0,
    stdout: expect.stringContaining(executionHash),
  });
  const strict = await oao("alice", "replay", "short", "--name", "strictly", "-o", "json");
  expect(JSON.parse(strict.stdout)).toMatchObject({ status: { traceHash } });
  const asked = { ...alice, method: "POST", body: '{"name":"inherits"}' };
  expect((await ask(api, `/replay/${field.namespace}/short?from_step=3`, asked)).status).toBe(201);
  await field.until("inherits", ({ status }) => status?.completedAt !== undefined);
  const again = await oao("alice", "replay", "inherits", "--name", "again", "--from-step", "3", "-o", "json");
  expect(JSON.parse(again.stdout)).toMatchObject({ status: { phase: "Succeeded", replay: { reusedSteps: 2 } } });
  const changed = await oao("alice", "replay", "inherits", "--from-step", "3", "--set", "task=other");
  expect(changed).toMatchObject({ code: 2, stderr: expect.stringContaining("what --set changes") });
  const same = await oao("alice", "diff", "short", "short", ...server());
  expect(same).toMatchObject({ code: 0, stdout: expect.stringContaining("the same steps with the same answers") });
  const live = await oao("alice", "diff", "short", "inherits", ...server());
  expect(live).toMatchObject({ code: 1, stdout: expect.stringContaining("1 changed, 2 the same") });
  const nothing = await oao("alice", "export", "strictly", ...server());
  expect(nothing).toMatchObject({ code: 2, stderr: expect.stringContaining("is a Strict replay") });
});

test("tells what another policy would have stopped of a run of the cluster", async () => {
  const file = join(field.folder, "stricter.yaml");
  const policy = { apiVersion: "oao.dev/v1alpha1", kind: "GovernancePolicy", metadata: { name: "stricter" } };
  writeFileSync(file, JSON.stringify({ ...policy, spec: { limits: { maxSteps: 1 } } }));
  const told = await oao("alice", "replay", "short", "--strict", "--policy", file, "-o", "json", ...server());
  expect(told).toMatchObject({ code: 3, stderr: "" });
  expect(JSON.parse(told.stdout)).toMatchObject({ runs: [{ name: "short", would_be_stopped: true }] });
});

test("names what was changed in a record, and hands out none of it as a trace or a bundle", async () => {
  const { uid } = (await field.get("short")).metadata;
  const redis = new Redis(join(field.redis.directory, "redis.sock"));
  const entries = runKeys(uid).entries({ node: "two" });
  const before = await redis.lindex(entries, 1);
  await redis.lset(entries, 1, (before ?? "").replace('"attempt":1', '"attempt":9'));
  expect(await redis.lindex(entries, 1)).not.toBe(before);
  redis.disconnect();
  for (const what of ["trace", "export"]) {
    const told = await ask(api, at("short", what), alice);
    expect(told).toMatchObject({ status: 500, headers: { "content-type": "application/problem+json" } });
    expect(told.json()).toMatchObject({
      type: "urn:oao:problem:tampered",
      detail: expect.stringContaining("node two"),
    });
  }
  for (const command of ["trace", "verify", "export"]) {
    const said = await oao("alice", command, "short", ...server());
    expect(said).toMatchObject({ code: 8, stdout: "", stderr: expect.stringContaining("entry 1") });
  }
});

test("tells a journal that is gone from one that was changed", async () => {
  const redis = new Redis(join(field.redis.directory, "redis.sock"));
  const { uid } = (await field.get("again")).metadata;
  await redis.del(await redis.keys(runKeys(uid).pattern));
  redis.disconnect();
  for (const what of ["trace", "export"]) {
    const told = await ask(api, at("again", what), alice);
    expect(told.status).toBe(409);
    expect(told.json()).toMatchObject({ detail: expect.stringContaining("its retention") });
  }
  const said = await oao("alice", "trace", "again", ...server());
  expect(said).toMatchObject({ code: 2, stdout: "", stderr: expect.stringContaining("its retention") });
});

test("says what is missing: the right, the API, the trust, the way there", async () => {
  const trace = (who: string, ...args: string[]) => oao(who, "trace", "brief", ...args);
  const denied = await trace("editor", ...server());
  expect(denied).toMatchObject({ code: 2, stdout: "" });
  expect(denied.stderr).toContain("ClusterRole oao-journal-reader");
  const absent = await trace("alice", "--operator-namespace", field.elsewhere);
  expect(absent.code).toBe(7);
  expect(absent.stderr).toContain("--set api.enabled=true");
  const untrusted = await trace("alice", ...server(), "--operator-namespace", field.elsewhere);
  expect(untrusted.code).toBe(7);
  expect(untrusted.stderr).toContain("is not to be trusted");
  const nowhere = await trace("alice", "--server", "https://127.0.0.1:1");
  expect(nowhere.stderr).toContain("cannot be reached");
  const forward = await trace("alice");
  expect(forward.code).toBe(7);
  expect(forward.stderr).toContain("kubectl auth can-i create pods --subresource=portforward");
  const config = parse(readFileSync(inject("kubeconfig"), "utf8")) as { users: { user: { as?: string } }[] };
  for (const { user } of config.users) user.as = `system:serviceaccount:${field.namespace}:alice`;
  writeFileSync(join(field.folder, "acting.kubeconfig"), JSON.stringify(config));
  expect((await trace("acting", ...server())).stderr).toContain("impersonation is not served here");
  expect((await trace("alice", "--server", "http://localhost")).stderr).toContain("is no https:// address");
});

test("finds the API of a release of any name, and asks which one is meant where there are two", async () => {
  const home = await makeNamespace(field.admin);
  const publish = (service: string) =>
    field.admin.request({
      method: "POST",
      path: resourcePath(configMaps, { namespace: home }),
      body: {
        metadata: {
          name: service,
          labels: { "app.kubernetes.io/part-of": "oao", "app.kubernetes.io/component": "api" },
        },
        data: { service, port: "443", targetPort: "8443" },
      },
    });
  const trace = (kubeconfig: string) => oao(kubeconfig, "trace", "brief", "--operator-namespace", home);
  try {
    await publish("ai-oao-api");
    const admin = await trace(inject("kubeconfig"));
    expect(admin).toMatchObject({ code: 7, stderr: expect.stringContaining(`no port of ${home}/ai-oao-api`) });
    // Somebody who may list pods there, as whoever forwards ports, and read that one ConfigMap.
    const grant = (resource: string, body: object) =>
      field.admin.request({
        method: "POST",
        path: `/apis/rbac.authorization.k8s.io/v1/namespaces/${home}/${resource}`,
        body,
      });
    await grant("roles", {
      metadata: { name: "forward" },
      rules: [
        { apiGroups: [""], resources: ["pods"], verbs: ["list"] },
        { apiGroups: [""], resources: ["configmaps"], resourceNames: ["ai-oao-api"], verbs: ["get"] },
      ],
    });
    await grant("rolebindings", {
      metadata: { name: "forward" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "forward" },
      subjects: [{ kind: "ServiceAccount", name: "alice", namespace: field.namespace }],
    });
    expect((await trace("alice")).stderr).toContain("there is no HTTP API of an operator");
    const securityContext = { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } };
    const env = [{ name: "OAO_API_SERVICE", value: "ai-oao-api" }];
    await field.admin.request({
      method: "POST",
      path: resourcePath(resources.pods, { namespace: home }),
      body: {
        metadata: { name: "operator", labels: { "app.kubernetes.io/component": "operator" } },
        spec: {
          securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
          containers: [{ name: "operator", image: "operator", env, securityContext }],
        },
      },
    });
    expect((await trace("alice")).stderr).toContain(`no port of ${home}/ai-oao-api`);
    await publish("oao-api");
    const two = await trace(inject("kubeconfig"));
    expect(two).toMatchObject({ code: 7, stdout: "" });
    expect(two.stderr).toMatch(
      /there are 2 operators with an HTTP API in namespace \S+: ai-oao-api, oao-api\n.*--server https:/,
    );
  } finally {
    await removeNamespace(field.admin, home);
  }
});

test("ui shows the steps of runs that have ended, also of a Strict replay, compares them, and replays one from a step", async () => {
  const page = await openPage("alice");
  const call = page.read;
  const runs = `runs/${field.namespace}`;
  const steps = await call<StepPage>(`${runs}/brief/steps`);
  expect([steps.total, steps.steps.at(-1)?.number]).toEqual([12, 12]);
  const { row } = await call<StepDetail>(`${runs}/brief/step?id=${encodeURIComponent(steps.steps[11]?.id ?? "")}`);
  const [last] = (await ask(api, `${at("brief", "trace")}?from_step=12`, alice)).json() as [{ output: unknown }];
  expect(row.output).toEqual(last.output);

  const replayed = await call<RunKey>(`${runs}/brief/replay`, { fromStep: 12 });
  expect(replayed).toEqual({ namespace: field.namespace, name: "brief-replay-1" });
  await field.until(replayed.name, ended);
  const fork = await call<StepPage>(`${runs}/${replayed.name}/steps`);
  expect(fork.steps.map(({ reused }) => reused)).toEqual([...Array<boolean>(11).fill(true), false]);
  const pair = (other: string) => `diff?left=${field.namespace}/brief&right=${field.namespace}/${other}`;
  expect((await call<DiffPage>(pair(replayed.name))).counts).toMatchObject({ Same: 11, Alike: 1 });
  expect(await oao("alice", "replay", "brief", "--name", "strict-too")).toMatchObject({ code: 0 });
  expect((await call<DiffPage>(pair("strict-too"))).counts).toMatchObject({ Same: 12, Changed: 0 });
  await page.end();
});

/** The page's API, as somebody whose kubeconfig is there. */
async function openPage(who: string) {
  const args = ["ui", "--no-open", "-n", field.namespace, "--on", "cluster", ...server()];
  const env = { KUBECONFIG: join(field.folder, `${who}.kubeconfig`), OAO_OPERATOR_NAMESPACE: field.home };
  const page = field.place.start(args, env);
  await page.said("Ctrl-C ends it");
  const [, origin = "", token = ""] = /(http:\S+\/)#(\S+)/.exec(page.text()) ?? [];
  const headers = { authorization: `Bearer ${token}` };
  const asked = (path: string, body?: object) =>
    fetch(
      `${origin}api/${path}`,
      body === undefined ? { headers } : { headers, method: "POST", body: JSON.stringify(body) },
    );
  /** With a body it is posted. */
  const read = async <T>(path: string, body?: object): Promise<T> => {
    const answer = await asked(path, body);
    expect(answer.status, path).toBe(200);
    return (await answer.json()) as T;
  };
  const end = async () => {
    page.child.kill("SIGINT");
    expect((await page.ended).code).toBe(0);
  };
  return { asked, read, end };
}

test("ui shows the steps of a run at work as they are committed, with what went in and out, then the rest of them", async () => {
  const model = await field.script("held.yaml", "rules: [{ reply: { tokens: 5 } }]");
  const body = threeSteps("held", model);
  const [one, two, three] = body.spec.nodes;
  const gate = { name: "gate", dependsOn: ["two"], approval: { message: "On?" } };
  const nodes = [one, two, gate, { ...three, dependsOn: ["gate"] }];
  await field.admin.request({
    method: "POST",
    path: field.executions,
    body: { ...body, spec: { ...body.spec, nodes } },
  });
  const page = await openPage("alice");
  const run = `runs/${field.namespace}/held`;
  await field.until("held", ({ status }) => status?.phase === "AwaitingApproval");
  const first = await page.read<StepPage>(`${run}/steps`);
  expect(first.steps.map(({ node, number, state }) => [node, number, state])).toEqual([
    ["one", null, "Ok"],
    ["two", null, "Ok"],
  ]);
  const tokens = first.steps.map((step) => step.tokens ?? 0);
  expect(first.steps.map(({ tokensSoFar }) => tokensSoFar)).toEqual([tokens[0], (tokens[0] ?? 0) + (tokens[1] ?? 0)]);
  const { row } = await page.read<StepDetail>(`${run}/step?id=${encodeURIComponent(first.steps[1]?.id ?? "")}`);
  const traced = (await ask(api, at("held", "trace"), alice)).json() as { input: unknown; output: unknown }[];
  expect([row.input, row.output]).toEqual([traced[1]?.input, traced[1]?.output]);

  const denied = await openPage("editor");
  const refused = await denied.asked(`${run}/steps`);
  expect(await refused.json()).toMatchObject({ detail: expect.stringContaining("you may not read the journal") });
  await denied.end();

  const events = (await page.asked(`events?run=${field.namespace}/held`)).body?.values();
  let told = "";
  while (!told.includes("event: steps")) told += new TextDecoder().decode((await events?.next())?.value);
  await events?.return?.();
  expect(await oao(inject("kubeconfig"), "approve", "held")).toMatchObject({ code: 0 });
  await field.until("held", ended);
  const rest = await page.read<StepPage>(`${run}/steps`);
  expect(rest.steps.map(({ node, number, kind }) => [node, number, kind])).toEqual([
    ["one", 1, "model"],
    ["two", 2, "model"],
    ...rest.steps.slice(2, -1).map(({ node, number, kind }) => [node, number, kind]),
    ["three", rest.total, "model"],
  ]);
  await page.end();
});
