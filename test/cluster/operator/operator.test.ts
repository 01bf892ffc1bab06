/** Executions applied to a real API server, run by the built operator in real worker processes, with a real Redis. */
import { readFileSync } from "node:fs";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { finalizer, secretName } from "../../../src/adapters/kube/names.ts";
import { type KubeObject, resourcePath, resources } from "../../../src/adapters/kube/resources.ts";
import type { KubeExecution } from "../../../src/adapters/kube/stored.ts";
import { digestJson } from "../../../src/core/digest/digest.ts";
import { runKeys } from "../../../src/adapters/store/redis/keys.ts";
import { sample, serveModel } from "../../cli/harness.ts";
import { countCalls } from "../../support/counting-proxy.ts";
import { eventually } from "../../support/patience.ts";
import { ended, type Field, openField, type Operator } from "./harness.ts";

let field: Field;
let operator: Operator;
let model: string;
/** Of the sample's answers, so slowly that a test can step in. */
let slow: string;
let runaway: string;
/** Goes on and on, whatever it is asked. */
let endless: string;
beforeAll(async () => {
  field = await openField();
  operator = await field.startOperator();
  model = await serveModel(field.place, sample("market-brief.model.yaml"));
  const answers = readFileSync(sample("market-brief.model.yaml"), "utf8");
  slow = await field.script("slow.yaml", answers.replace("tokensPerSecond: 150", "tokensPerSecond: 15"));
  endless = await field.script("endless.yaml", "rules: [{ reply: { tokens: 100000, tokensPerSecond: 20 } }]");
  runaway = await serveModel(field.place, sample("runaway.model.yaml"));
});
afterAll(() => field.end());

const condition = (run: KubeExecution, type: string) => run.status?.conditions.find((each) => each.type === type);
const nodeOf = (run: KubeExecution, name: string) => run.status?.nodes.find((each) => each.name === name);
const gone = (name: string) => eventually(() => expect(field.get(name)).rejects.toThrow("not found"));

describe("an applied Execution", () => {
  test("runs as a pod per node to Succeeded, is let go of, and says so in status and Events", async () => {
    await field.apply("market-brief.yaml", "brief", model);
    const run = await field.until("brief", ended);
    expect(condition(run, "Succeeded")).toMatchObject({ status: "True" });
    expect(condition(run, "CheckpointsDurable")).toMatchObject({ status: "True" });
    expect(run.status).toMatchObject({ phase: "Succeeded", progress: "5/5", usage: { lostTokens: 0 } });
    await eventually(async () => expect((await field.get("brief")).metadata.finalizers ?? []).not.toContain(finalizer));
    await eventually(async () =>
      expect(await field.reasons("brief")).toEqual(expect.arrayContaining(["Running", "Succeeded"])),
    );
    // Two researchers, the merged facts, four ratings, the brief.
    const pods = (await field.pods()).filter(({ metadata }) => metadata.ownerReferences?.[0]?.uid === run.metadata.uid);
    expect(pods).toHaveLength(8);
  });

  test("is stopped by its policy with the exact reason", async () => {
    await field.apply("runaway.yaml", "runaway", runaway);
    const run = await field.until("runaway", ended);
    const succeeded = condition(run, "Succeeded");
    expect(succeeded).toMatchObject({ status: "False", reason: "PolicyViolation" });
    expect(succeeded?.message).toMatch(/^PolicyViolation: Max Token Limit Exceeded/);
    expect(run.status?.usage?.totalTokens).toBeLessThanOrEqual(2_000);
    await eventually(async () => expect(await field.reasons("runaway")).toContain("PolicyViolation"));
  });

  test("that is Cancelled ends with its pods", async () => {
    await field.apply("market-brief.yaml", "cancelled", endless);
    await field.untilAtWork("cancelled", "research-demand");
    await field.patch("cancelled", { spec: { desiredState: "Cancelled" } });
    const run = await field.until("cancelled", ended);
    expect(run.status?.phase).toBe("Cancelled");
    expect(field.pidOf(run, { node: "research-demand" })).toBeUndefined();
  });

  test("that is deleted goes once its processes are gone, and no call is admitted any more", async () => {
    await field.apply("market-brief.yaml", "deleted", endless);
    const run = await field.untilAtWork("deleted", "research-demand");
    await field.admin.request({
      method: "DELETE",
      path: resourcePath(resources.executions, { namespace: field.namespace, name: "deleted" }),
    });
    await gone("deleted");
    expect(field.pidOf(run, { node: "research-demand" })).toBeUndefined();
    expect(await field.redis.command("HGET", runKeys(run.metadata.uid).execution, "state")).toContain("Cancelled");
    expect(await field.redis.command("TTL", runKeys(run.metadata.uid).execution)).toMatch(/^:[1-9]/);
    // Its user goes too.
    await eventually(async () =>
      expect(await field.redis.command("ACL", "GETUSER", `oao-${run.metadata.uid}`)).toMatch(/^[*$]-1/),
    );
  });

  test("with a missing policy waits, says so, and starts when it appears", async () => {
    const policy = resourcePath(resources.policies, { namespace: field.namespace, name: "market-brief" });
    await field.admin.request({ method: "DELETE", path: policy });
    // The policy of the sample is applied first, so the run alone is made from what it was.
    const { spec } = await field.get("brief");
    const path = resourcePath(resources.executions, { namespace: field.namespace });
    const body = { apiVersion: "oao.dev/v1alpha1", kind: "Execution", metadata: { name: "waiting" }, spec };
    await field.admin.request({ method: "POST", path, body });
    await field.until("waiting", (run) => condition(run, "Stalled")?.reason === "PolicyNotFound");
    await field.apply("market-brief.yaml", "later", model);
    expect((await field.until("waiting", ended)).status?.phase).toBe("Succeeded");
    await field.until("later", ended);
  });
});

describe("nothing is lost", () => {
  test("when a worker is killed: its node goes on in a second attempt, and no recorded step is made again", async () => {
    await field.apply("market-brief.yaml", "killed", slow);
    const running = await field.untilAtWork("killed", "research-demand");
    const pid = field.pidOf(running, { node: "research-demand" });
    expect(pid).toBeGreaterThan(0);
    process.kill(pid as number, "SIGKILL");
    const run = await field.until("killed", ended);
    expect(run.status?.phase).toBe("Succeeded");
    expect(nodeOf(run, "research-demand")).toMatchObject({ state: "Succeeded", attempt: 2, restarts: 1 });
    expect(run.status?.steps).toBe((await field.get("brief")).status?.steps);
    await eventually(async () => expect(await field.reasons("killed")).toContain("Crashed"));
  });

  test("when the operator is killed: the next one takes over what runs, and starts nothing twice", async () => {
    await field.apply("market-brief.yaml", "orphaned", slow);
    await field.untilAtWork("orphaned", "research-demand");
    operator.child.kill("SIGKILL");
    await operator.ended;
    operator = await field.startOperator("operator-1");
    const run = await field.until("orphaned", ended);
    expect(run.status?.phase).toBe("Succeeded");
    expect(run.status?.nodes.map(({ attempt }) => attempt ?? 1)).toEqual([1, 1, 1, 1, 1]);
  });

  test("when Redis restarts: users and scripts of running workers come back, and the run ends as if nothing had been", async () => {
    await field.apply("market-brief.yaml", "restarted", slow);
    await field.untilAtWork("restarted", "research-demand");
    await field.redis.stop("SIGKILL");
    await field.redis.start();
    expect((await field.until("restarted", ended)).status).toMatchObject({ phase: "Succeeded", progress: "5/5" });
  });
});

describe("a policy", () => {
  const path = (subresource?: string) =>
    resourcePath(resources.policies, {
      namespace: field.namespace,
      name: "checked",
      ...(subresource === undefined ? {} : { subresource }),
    });
  const until = (wanted: object) =>
    eventually(async () => expect(await field.admin.request({ path: path() })).toMatchObject(wanted));

  test("is Ready with the hash of its spec, says so of each generation, and is written no more than that", async () => {
    const apply = (maxTokens: number) =>
      field.admin.request({
        method: "PATCH",
        patch: "Apply",
        path: path(),
        query: { fieldManager: "tests", force: true },
        body: {
          apiVersion: "oao.dev/v1alpha1",
          kind: "GovernancePolicy",
          metadata: { name: "checked" },
          spec: { maxTokens },
        },
      });
    await apply(10);
    const hash = (maxTokens: number) => digestJson({ maxTokens });
    const ready = [{ type: "Ready", status: "True", reason: "Valid" }];
    await until({ status: { observedGeneration: 1, hash: hash(10), conditions: ready } });
    await apply(20);
    await until({ status: { observedGeneration: 2, hash: hash(20), conditions: ready } });
    const { metadata } = await field.admin.request<KubeObject>({ path: path() });
    await field.apply("runaway.yaml", "meanwhile", runaway);
    await field.until("meanwhile", ended);
    expect((await field.admin.request<KubeObject>({ path: path() })).metadata.resourceVersion).toBe(
      metadata.resourceVersion,
    );
  });
});

describe("two operators that both lead by mistake", () => {
  test("are harmless: each node has one attempt, each question is asked once, and one end is written", async () => {
    const counted = await countCalls(model);
    const second = await field.startOperator("operator-x", { OAO_LEADER_ELECTION: "false" });
    await second.said('"leading"');
    await field.apply("market-brief.yaml", "doubled", counted.url);
    const run = await field.until("doubled", ended);
    second.child.kill("SIGTERM");
    await second.ended;
    await counted.close();
    expect(run.status).toMatchObject({ phase: "Succeeded", progress: "5/5", usage: { lostTokens: 0 } });
    expect(run.status?.nodes.map(({ attempt, restarts }) => [attempt ?? 1, restarts ?? 0])).toEqual(
      run.status?.nodes.map(() => [1, 0]),
    );
    // Each researcher searches and answers; the writer writes.
    expect(counted.calls.length).toBe(run.status?.usage?.modelCalls);
    expect(counted.calls.length).toBe(5);
  });
});

describe("a run that the API server takes and the planner does not", () => {
  test("is Failed with the reason, and the others go on", async () => {
    const path = resourcePath(resources.executions, { namespace: field.namespace });
    const node = (name: string, dependsOn: string[]) => ({ name, dependsOn, tool: { ref: "t" } });
    const spec = {
      task: "a circle",
      tools: [{ name: "t", module: { path: "tools/facts.mjs", export: "merge" } }],
      nodes: [node("a", ["b"]), node("b", ["a"])],
    };
    const body = { apiVersion: "oao.dev/v1alpha1", kind: "Execution", metadata: { name: "circle" }, spec };
    await field.admin.request({ method: "POST", path, body });
    await field.apply("market-brief.yaml", "beside", model);
    const run = await field.until("circle", (each) => each.status?.completedAt !== undefined);
    expect(condition(run, "Succeeded")).toMatchObject({ status: "False", reason: "InvalidSpec" });
    expect(condition(run, "Succeeded")?.message).toMatch(/a.*b.*a/);
    expect((await field.until("beside", ended)).status?.phase).toBe("Succeeded");
  });
});

describe("the journal store's user of a run", () => {
  test("is refused every key of another run and every command that is not the protocol's", async () => {
    const other = await field.get("brief");
    await field.apply("market-brief.yaml", "tenant", endless);
    const run = await field.untilAtWork("tenant", "research-demand");
    const { uid } = run.metadata;
    const path = resourcePath(resources.secrets, { namespace: field.namespace, name: secretName(uid) });
    const secret = await field.admin.request<{ data: { password: string } }>({ path });
    const password = Buffer.from(secret.data.password, "base64").toString();
    const redis = new Redis({
      host: "127.0.0.1",
      port: field.redis.port,
      username: `oao-${uid}`,
      password,
      enableReadyCheck: false,
    });
    const foreign = runKeys(other.metadata.uid);
    expect(await redis.hget(runKeys(uid).execution, "state")).not.toBeNull();
    const refused: [string, ...string[]][] = [
      ["HGETALL", foreign.execution],
      ["HSET", foreign.execution, "state", "Running"],
      ["LRANGE", foreign.entries({ node: "write" }), "0", "-1"],
      ["PUBLISH", foreign.channel, "control"],
      ["SUBSCRIBE", foreign.channel],
      ["EVAL", "return redis.call('GET', KEYS[1])", "1", foreign.execution],
      ["SCRIPT", "LOAD", "return 1"],
      ["KEYS", "*"],
      ["SCAN", "0"],
      ["CONFIG", "GET", "*"],
      ["ACL", "LIST"],
      ["INFO"],
      ["FLUSHALL"],
      ["UNLINK", runKeys(uid).execution],
    ];
    for (const [command, ...args] of refused) {
      await expect(redis.call(command, ...args), command).rejects.toThrow(/NOPERM/);
    }
    redis.disconnect();
    await field.patch("tenant", { spec: { desiredState: "Cancelled" } });
    await field.until("tenant", ended);
    // The user goes with the run.
    await eventually(async () => expect(await field.redis.command("ACL", "GETUSER", `oao-${uid}`)).toMatch(/^[*$]-1/));
  });
});

describe("the operator", () => {
  test("answers probes and counts what it did", async () => {
    expect((await fetch(`${operator.url}/healthz`)).status).toBe(200);
    expect((await fetch(`${operator.url}/readyz`)).status).toBe(200);
    const text = await (await fetch(`${operator.url}/metrics`)).text();
    expect(text).toMatch(/^oao_leader 1$/m);
    expect(text).toMatch(/^oao_executions\{phase="Succeeded"\} [1-9]/m);
    expect(text).toMatch(/^oao_reconcile_duration_seconds_count [1-9]/m);
    expect(text).toMatch(/^oao_policy_violations_total\{reason="Max Token Limit Exceeded"\} [1-9]/m);
    expect(text).toMatch(/^oao_tokens_total\{namespace="[^"]+",model="openai\/gpt-5-mini",kind="output"\} [1-9]/m);
    expect(text).toMatch(/^oao_stop_duration_seconds_count\{reason="Cancelled"\} [1-9]/m);
    expect((await fetch(`${operator.url}/secrets`)).status).toBe(404);
  });

  test("leaves the lease to a standby when it is asked to end", async () => {
    const standby = await field.startOperator("operator-2");
    operator.child.kill("SIGTERM");
    expect(await operator.ended).toMatchObject({ code: 0 });
    await standby.said('"leading"');
    operator = standby;
  });
});
