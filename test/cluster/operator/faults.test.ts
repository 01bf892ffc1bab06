/** Parts of a running cluster fail while a run is at work: what was recorded is neither asked nor charged again. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../../../src/adapters/clock/system-clock.ts";
import { podName } from "../../../src/adapters/kube/names.ts";
import { type KubeObject, resourcePath, resources } from "../../../src/adapters/kube/resources.ts";
import type { KubeExecution } from "../../../src/adapters/kube/stored.ts";
import { RedisStore } from "../../../src/adapters/store/redis/redis-store.ts";
import { workerExitCodes } from "../../../src/api/exit-codes.ts";
import { readEntry } from "../../../src/core/steps/chain.ts";
import { stepKey } from "../../../src/core/steps/identity.ts";
import { root } from "../../cli/harness.ts";
import { type CountingProxy, countCalls } from "../../support/counting-proxy.ts";
import { startToolServer } from "../../support/tool-server.ts";
import { FaultyProxy, statusBody } from "../adapter/faulty-proxy.ts";
import { eventually } from "../../support/patience.ts";
import { ended, type Field, openField, type Operator } from "./harness.ts";

let field: Field;
let operator: Operator;
let model: CountingProxy;
let tool: Awaited<ReturnType<typeof startToolServer>>;
let journal: RedisStore;
beforeAll(async () => {
  field = await openField();
  operator = await field.startOperator();
  // A quick question with a tool, then an answer that takes three seconds.
  const url = await field.script(
    "model.yaml",
    `rules:
  - { match: { turn: 0 }, reply: { toolCalls: [{ name: look, arguments: { q: x } }] } }
  - { reply: { tokens: 60, tokensPerSecond: 20 } }
`,
  );
  model = await countCalls(url);
  tool = await startToolServer(() => ({ status: 200, body: { found: true } }));
  // In a cluster tools reach loopback addresses only where a policy names them.
  const policy = {
    apiVersion: "oao.dev/v1alpha1",
    kind: "GovernancePolicy",
    metadata: { name: "tools", labels: { "oao.dev/default": "true" } },
    spec: { tools: { hosts: [{ host: new URL(tool.url).host }] } },
  };
  const policies = resourcePath(resources.policies, { namespace: field.namespace });
  await field.admin.request({ method: "POST", path: policies, body: policy });
  journal = await RedisStore.connect(`redis://127.0.0.1:${field.redis.port}/0`);
});
afterAll(async () => {
  await journal.close();
  await model.close();
  await tool.close();
  await field.end();
});
beforeEach(() => {
  (model.calls as string[]).length = 0;
  tool.seen.length = 0;
  model.onAnswered = () => undefined;
});

const nodeOf = (run: KubeExecution) => run.status?.nodes[0];
const podsPath = (name?: string) =>
  resourcePath(resources.pods, { namespace: field.namespace, ...(name === undefined ? {} : { name }) });

/** `nodes` in a row, each the same question. */
async function start(name: string, nodes = 1): Promise<KubeExecution> {
  const body = {
    apiVersion: "oao.dev/v1alpha1",
    kind: "Execution",
    metadata: { name },
    spec: {
      task: "t",
      models: [{ name: "main", provider: "openai", model: "gpt-5-mini", baseURL: model.url }],
      tools: [
        {
          name: "look",
          description: "Looks",
          effect: "ReadOnly",
          http: { method: "POST", url: `${tool.url}/look`, inputSchema: { type: "object" } },
        },
      ],
      agents: [{ name: "a", model: "main", tools: ["look"] }],
      nodes: Array.from({ length: nodes }, (_, i) => ({
        name: i === 0 ? "ask" : `ask-${i}`,
        agent: { ref: "a", prompt: "p" },
        ...(i === 0 ? {} : { dependsOn: [i === 1 ? "ask" : `ask-${i - 1}`] }),
      })),
    },
  };
  const path = resourcePath(resources.executions, { namespace: field.namespace });
  return field.admin.request({ method: "POST", path, body });
}

/** Calls of the model: how often the first question was asked, and the second. */
const asked = () => {
  const isSecond = (call: string) => call.includes('"role":"tool"');
  return { first: model.calls.filter((call) => !isSecond(call)).length, second: model.calls.filter(isSecond).length };
};
const secondIsStreaming = () => eventually(() => expect(asked().second).toBeGreaterThan(0));

/** What the journal holds is what the status says was spent, and no step is there twice. */
async function expectSound(run: KubeExecution): Promise<void> {
  const entries = (await journal.entries(run.metadata.uid, { node: "ask" }, 0, 1_000)).map(readEntry);
  const steps = entries.filter((entry) => entry.type === "step");
  const keys = steps.map(({ path, kind, requestDigest, occurrence }) => stepKey(path, kind, requestDigest, occurrence));
  expect(new Set(keys).size).toBe(keys.length);
  expect(steps.map(({ kind, outcome }) => `${kind} ${outcome}`)).toEqual(["model Ok", "tool Ok", "model Ok"]);
  const charged = steps.reduce((sum, { usage }) => sum + (usage?.counted.total ?? 0), 0);
  expect(run.status?.usage).toMatchObject({ totalTokens: charged, modelCalls: expect.any(Number) as number });
  expect(run.status).toMatchObject({ phase: "Succeeded", steps: 3 });
}

describe("a worker that is killed", () => {
  const kill = (run: KubeExecution) => process.kill(field.pidOf(run, { node: "ask" }) as number, "SIGKILL");

  test("before its first call costs nothing but a new attempt", async () => {
    const run = await start("before");
    await eventually(() => expect(field.pidOf(run, { node: "ask" })).toBeGreaterThan(0), 2);
    kill(run);
    const last = await field.until("before", ended);
    await expectSound(last);
    expect([asked(), tool.seen.length]).toEqual([{ first: 1, second: 1 }, 1]);
    expect(nodeOf(last)).toMatchObject({ attempt: 2, restarts: 1 });
    expect(last.status?.usage?.lostTokens).toBe(0);
  });

  test("right after an answer came: it was recorded, or it is asked again and what it had bought is lost", async () => {
    const run = await start("answered");
    model.onAnswered = (call) => call === 1 && kill(run);
    const last = await field.until("answered", ended);
    await expectSound(last);
    expect(tool.seen.length).toBe(1);
    expect(asked().second).toBe(1);
    expect(nodeOf(last)).toMatchObject({ attempt: 2, restarts: 1 });
    expect(asked().first).toBe((last.status?.usage?.lostTokens ?? 0) > 0 ? 2 : 1);
  });

  test("mid-stream: that call is made again, what came before it is not, and the lost tokens are shown", async () => {
    const run = await start("streaming");
    await secondIsStreaming();
    await systemClock.sleep(300); // some text has come
    kill(run);
    const last = await field.until("streaming", ended);
    await expectSound(last);
    expect([asked(), tool.seen.length]).toEqual([{ first: 1, second: 2 }, 1]);
    expect(last.status?.usage?.lostTokens).toBeGreaterThan(0);
  });

  test("after its last commit, before its pod is seen to end: nothing is made again", async () => {
    const run = await start("committed");
    await eventually(async () => {
      const { items } = await journal.view(run.metadata.uid, [{ node: "ask" }]);
      expect(items[0]?.finished).toBeDefined();
    }, 1);
    const pid = field.pidOf(run, { node: "ask" });
    if (pid !== undefined) process.kill(pid, "SIGKILL");
    const last = await field.until("committed", ended);
    await expectSound(last);
    expect(asked()).toEqual({ first: 1, second: 1 });
    expect(nodeOf(last)?.restarts).toBeUndefined();
  });
});

describe("a pod", () => {
  test("that is deleted by hand is followed by another, and nothing recorded is made again", async () => {
    const run = await start("by-hand");
    await secondIsStreaming();
    await field.admin.request({ method: "DELETE", path: podsPath(podName(run.metadata.uid, { node: "ask" }, 1)) });
    const last = await field.until("by-hand", ended);
    await expectSound(last);
    expect([asked(), tool.seen.length]).toEqual([{ first: 1, second: 2 }, 1]);
    expect(nodeOf(last)).toMatchObject({ attempt: 2 });
  });

  test("that is evicted, as by a drain, is followed by another, counted as the machine's doing and not as a try", async () => {
    const run = await start("drained");
    await secondIsStreaming();
    const name = podName(run.metadata.uid, { node: "ask" }, 1);
    const body = { apiVersion: "policy/v1", kind: "Eviction", metadata: { name, namespace: field.namespace } };
    await field.admin.request({ method: "POST", path: `${podsPath(name)}/eviction`, body });
    const last = await field.until("drained", ended);
    await expectSound(last);
    expect([asked(), tool.seen.length]).toEqual([{ first: 1, second: 2 }, 1]);
    expect(nodeOf(last)).toMatchObject({ attempt: 2, restarts: 1 });
    await eventually(async () => expect(await field.reasons("drained")).toContain("Evicted"));
  });

  test("that somebody copied makes no call: the attempt has one holder (J2)", async () => {
    const run = await start("copied");
    await secondIsStreaming();
    const pid = field.pidOf(run, { node: "ask" }) as number;
    const env = Object.fromEntries(
      readFileSync(`/proc/${pid}/environ`, "utf8")
        .split("\0")
        .filter((each) => each.includes("="))
        .map((each) => [each.slice(0, each.indexOf("=")), each.slice(each.indexOf("=") + 1)]),
    );
    const copy = spawn(process.execPath, [join(root, "dist/worker.js")], { env, stdio: "ignore" });
    const [code] = (await once(copy, "exit")) as [number];
    expect(code).toBe(workerExitCodes.fenced);
    const last = await field.until("copied", ended);
    await expectSound(last);
    expect([asked(), tool.seen.length]).toEqual([{ first: 1, second: 1 }, 1]);
    expect(nodeOf(last)?.restarts).toBeUndefined();
  });
});

describe("a machine", () => {
  test("that is cut off loses its node to another in half a minute, and its zombie is fenced when it wakes", async () => {
    const lost = field.kubelet;
    const run = await start("zombie");
    await secondIsStreaming();
    const pid = lost.pidOf(podName(run.metadata.uid, { node: "ask" }, 1)) as number;
    // Frozen in the middle of its answer, on a machine that nobody can reach any more.
    process.kill(pid, "SIGSTOP");
    const cutAtMs = performance.now();
    await lost.partition();
    await field.addNode();
    // Whatever is scheduled from now on goes to the other one.
    const nodes = { group: "", version: "v1", plural: "nodes" };
    await field.admin.request({
      method: "PATCH",
      patch: "Merge",
      path: resourcePath(nodes, { name: `node-${field.namespace}-0` }),
      body: { spec: { unschedulable: true } },
    });
    await field.untilAtWork("zombie", "ask", 2);
    // Kubernetes alone gives a lost machine's pods up after 300 s.
    expect(performance.now() - cutAtMs).toBeLessThan(45_000);
    const gone = eventually(() => expect(() => process.kill(pid, 0)).toThrow("ESRCH"));
    await eventually(() => expect(asked().second).toBe(2));
    const before = model.calls.length;
    process.kill(pid, "SIGCONT");
    await gone;
    const last = await field.until("zombie", ended);
    await expectSound(last);
    expect(model.calls.length).toBe(before);
    expect([asked(), tool.seen.length]).toEqual([{ first: 1, second: 2 }, 1]);
    expect(nodeOf(last)).toMatchObject({ attempt: 2, restarts: 1 });
    // What its administrator does, too: no kubelet will ever say that this pod is gone, and its namespace could not be deleted.
    const path = podsPath(podName(run.metadata.uid, { node: "ask" }, 1));
    await field.admin.request({ method: "DELETE", path, body: { gracePeriodSeconds: 0 } });
    await lost.stop();
  });
});

describe("the operator", () => {
  test("that is killed again and again, at whatever moment, starts nothing twice", async () => {
    const names = ["again-0", "again-1", "again-2"];
    for (const name of names) await start(name);
    for (const pauseMs of [40, 120, 350, 700]) {
      await systemClock.sleep(pauseMs);
      operator.child.kill("SIGKILL");
      await operator.ended;
      operator = await field.startOperator(`operator-${pauseMs}`, { OAO_LEADER_ELECTION: "false" });
    }
    for (const name of names) {
      const last = await field.until(name, ended);
      await expectSound(last);
      expect(nodeOf(last)?.attempt ?? 1).toBe(1);
    }
    expect([asked(), tool.seen.length]).toEqual([{ first: 3, second: 3 }, 3]);
  });

  describe("behind an API server that fails", () => {
    let proxy: FaultyProxy;
    beforeAll(async () => {
      proxy = new FaultyProxy({ asAdmin: false });
      await proxy.listen();
      operator.child.kill("SIGTERM");
      await operator.ended;
      const config = JSON.parse(readFileSync(field.kubeconfig, "utf8")) as { clusters: { cluster: object }[] };
      for (const each of config.clusters) each.cluster = { server: proxy.url, "insecure-skip-tls-verify": true };
      const file = join(field.folder, "through-proxy");
      writeFileSync(file, JSON.stringify(config));
      operator = await field.startOperator("behind", { KUBECONFIG: file, OAO_LEADER_ELECTION: "false" });
      await operator.said('"leading"');
    });
    afterAll(async () => {
      operator.child.kill("SIGTERM");
      await operator.ended;
      await proxy.close();
      operator = await field.startOperator("direct", { OAO_LEADER_ELECTION: "false" });
    });
    beforeEach(() => {
      proxy.fault = () => undefined;
    });

    test("for a minute: workers go on, and the run ends as if nothing had been once it is back", async () => {
      await start("away");
      await secondIsStreaming();
      await proxy.close();
      await systemClock.sleep(60_000);
      // The worker needs no API server: it has long ended.
      expect(asked()).toEqual({ first: 1, second: 1 });
      await proxy.listen();
      const last = await field.until("away", ended);
      await expectSound(last);
      expect(nodeOf(last)?.restarts).toBeUndefined();
    }, 150_000);

    test.each([
      [
        "409 to every second write",
        (n: number) => (n % 2 === 0 ? { status: 409, body: statusBody(409, "Conflict") } : undefined),
      ],
      [
        "429 with Retry-After to two of three",
        (n: number) =>
          n % 3 === 0
            ? undefined
            : { status: 429, headers: { "Retry-After": "1" }, body: statusBody(429, "TooManyRequests") },
      ],
      [
        "500 to every second write",
        (n: number) => (n % 2 === 0 ? { status: 500, body: statusBody(500, "InternalError") } : undefined),
      ],
      ["no answer to every second write", (n: number) => (n % 2 === 0 ? ("Cut" as const) : undefined)],
    ])("with %s", async (_, faulty) => {
      const name = `faulty-${String(faulty(2) === undefined ? 1 : JSON.stringify(faulty(2)).length)}-${Math.floor(performance.now())}`;
      let writes = 0;
      let faults = 0;
      proxy.fault = ({ method }) => {
        if (method === "GET") return undefined;
        const fault = faulty((writes += 1));
        if (fault !== undefined) faults += 1;
        return fault;
      };
      await start(name);
      const last = await field.until(name, ended);
      proxy.fault = () => undefined;
      await expectSound(last);
      expect(faults).toBeGreaterThan(2);
      expect([asked(), tool.seen.length]).toEqual([{ first: 1, second: 1 }, 1]);
      expect(nodeOf(last)?.attempt ?? 1).toBe(1);
    });

    test.each([1, 3])(
      "writes to an Execution of %i nodes in a row no more than twice, and twice for each node",
      async (nodes) => {
        const name = `counted-${nodes}`;
        const before = proxy.seen.length;
        await start(name, nodes);
        const last = await field.until(name, ended);
        await eventually(async () => expect((await field.get(name)).metadata.finalizers ?? []).toEqual([]));
        const writes = proxy.seen
          .slice(before)
          .filter(({ method, url }) => method !== "GET" && url.pathname.includes(`/executions/${name}`))
          .map(({ method, url }) => `${method} ${url.pathname.split("/").slice(7).join("/")}`);
        expect(last.status?.nodes).toHaveLength(nodes);
        expect(writes.length).toBeLessThanOrEqual(2 + 2 * nodes);
      },
    );

    test("with watches that end, break and are too old", async () => {
      let watches = 0;
      proxy.fault = ({ isWatch }) => {
        if (!isWatch) return undefined;
        watches += 1;
        if (watches % 4 === 1) return { status: 410, body: statusBody(410, "Expired") };
        if (watches % 4 === 2) return { status: 500, body: statusBody(500, "InternalError") };
        return watches % 4 === 3 ? "Cut" : undefined;
      };
      proxy.cut();
      await start("watched");
      const cutting = setInterval(() => proxy.cut(), 700);
      const last = await field.until("watched", ended).finally(() => clearInterval(cutting));
      proxy.fault = () => undefined;
      await expectSound(last);
      expect(watches).toBeGreaterThan(8);
      expect([asked(), tool.seen.length]).toEqual([{ first: 1, second: 1 }, 1]);
    });
  });
});

describe("Redis", () => {
  test("that does not answer for a while keeps everybody waiting, and nothing is made again", async () => {
    await start("slow");
    await secondIsStreaming();
    process.kill(field.redis.pid, "SIGSTOP");
    await systemClock.sleep(4_000);
    process.kill(field.redis.pid, "SIGCONT");
    const last = await field.until("slow", ended);
    await expectSound(last);
    expect(asked().first).toBe(1);
    expect(tool.seen.length).toBe(1);
  });

  test("that is full lets no run start, and those at work wait; with room again all end", async () => {
    await start("full");
    await secondIsStreaming();
    const used = Number(/used_memory:(\d+)/.exec(await field.redis.command("INFO", "memory"))?.[1]);
    await field.redis.command("CONFIG", "SET", "maxmemory", String(used));
    await start("later");
    const later = await field.until("later", (run) => (run.status?.conditions.length ?? 0) > 0);
    expect(later.status?.conditions.find(({ type }) => type === "Stalled")).toMatchObject({
      status: "True",
      reason: "StoreNearlyFull",
    });
    await field.redis.command("CONFIG", "SET", "maxmemory", "0");
    for (const name of ["full", "later"]) await expectSound(await field.until(name, ended));
  });

  test("that is set to evict makes the operator not ready and lets no run start, until it is set right", async () => {
    const unready = async () => (await fetch(`${operator.url}/readyz`)).text();
    await field.redis.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru");
    // Good settings are looked at again once a minute: a new operator looks at once.
    operator.child.kill("SIGTERM");
    await operator.ended;
    operator = await field.startOperator("evicting", { OAO_LEADER_ELECTION: "false" });
    await eventually(async () => expect(await unready()).toContain("maxmemory-policy is allkeys-lru"));
    await start("evicted");
    const waiting = await field.until("evicted", (run) => (run.status?.conditions.length ?? 0) > 0);
    expect(waiting.status?.conditions.find(({ type }) => type === "Stalled")).toMatchObject({ reason: "StoreUnfit" });
    await field.redis.command("CONFIG", "SET", "maxmemory-policy", "noeviction");
    await expectSound(await field.until("evicted", ended));
    await eventually(async () => expect(await unready()).toBe("ok\n"));
  });

  test("that was emptied under a run ends it as DurabilityLost, never in silence", async () => {
    await start("flushed");
    await secondIsStreaming();
    await field.redis.command("FLUSHALL");
    const last = await field.until("flushed", ended);
    expect(last.status?.conditions.find(({ type }) => type === "Succeeded")).toMatchObject({
      status: "False",
      reason: "DurabilityLost",
    });
    expect(last.status?.conditions.find(({ type }) => type === "CheckpointsDurable")?.status).toBe("False");
  });
});

describe("hostile objects", () => {
  test("with names as long as they may be, and annotations as large, run like any other", async () => {
    const name = `x${"-y".repeat(30)}-z`;
    expect(name).toHaveLength(63);
    await start(name);
    await field.patch(name, {
      metadata: {
        annotations: { "a.example/huge": "x".repeat(200_000), "approval.oao.dev/x": "Approve:$(OAO_STORE_PASSWORD)" },
      },
    });
    await expectSound(await field.until(name, ended));
  });
});

test("a namespace that is deleted with a run at work goes, with its run and pods; the operator goes on for the others", async () => {
  const run = await start("doomed");
  await secondIsStreaming();
  const namespaces = { group: "", version: "v1", plural: "namespaces" };
  const path = resourcePath(namespaces, { name: field.namespace });
  await field.admin.request({ method: "DELETE", path });
  await eventually(() => expect(field.get("doomed")).rejects.toThrow("not found"));
  expect((await field.admin.request<{ items: KubeObject[] }>({ path: podsPath() })).items).toEqual([]);
  expect(field.pidOf(run, { node: "ask" }, 1)).toBeUndefined();
  // A new leader finds a namespace that it may not read, and is ready for all others.
  await eventually(() => expect(field.admin.request({ path })).rejects.toThrow("not found"));
  const next = await field.startOperator("after-all", {
    OAO_LEADER_ELECTION: "false",
    OAO_NAMESPACES: `${field.namespace},${field.home}`,
  });
  await next.said('"leading"');
  await eventually(async () => expect((await fetch(`${next.url}/readyz`)).status).toBe(200));
});
