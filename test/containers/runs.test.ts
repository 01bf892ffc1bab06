/** The samples on real nodes: restricted pods in containers, looked at and steered with kubectl alone. */
import { describe, expect, inject, test } from "vitest";
import { eventually, patienceMs } from "../support/patience.ts";
import { namespaces, release, sample } from "./install.ts";
import {
  apply,
  applySample,
  desire,
  done,
  ended,
  get,
  isAtWork,
  kubectl,
  nodeOf,
  podAtWork,
  podsOf,
  until,
} from "./runs.ts";
import { workplace } from "../cli/harness.ts";
import { helm } from "../helm/chart.ts";
import { images } from "../../hack/image/build.ts";

const describeRun = (name: string): string => done(kubectl(["describe", "oaox", name, "-n", namespaces.team]));

describe("the release", () => {
  test("passes its own test, and a second upgrade changes nothing", () => {
    expect(helm("test", "oao", "-n", namespaces.operator, "--kubeconfig", inject("kubeconfig"))).toMatchObject({
      code: 0,
    });
    const generation = ["get", "deployment/oao", "-n", namespaces.operator, "-o", "jsonpath={.metadata.generation}"];
    const before = done(kubectl(generation));
    expect(release(inject("kubeconfig"))).toMatchObject({ code: 0 });
    expect(done(kubectl(generation))).toBe(before);
  });
});

describe("an applied Execution", () => {
  test("runs as a container per node to Succeeded, and kubectl shows how", async () => {
    applySample("market-brief.yaml", "brief", "brief");
    const run = await until("brief", ended);
    expect(run.status).toMatchObject({ phase: "Succeeded", progress: "5/5", usage: { lostTokens: 0 } });
    expect(done(kubectl(["get", "oaox", "brief", "-n", namespaces.team]))).toMatch(/brief +Succeeded +5\/5/);
    expect(describeRun("brief")).toMatch(/Normal +Succeeded/);
    // Two researchers, the merged facts, four ratings, the brief.
    const succeeded = () => podsOf(run).map(({ status }) => status.phase);
    await expect.poll(succeeded, { timeout: patienceMs }).toEqual(Array.from({ length: 8 }, () => "Succeeded"));
  });

  test("is traced, exported and checked by oao, which reaches the operator's API through a forwarded port", async () => {
    const place = workplace();
    const where = ["-n", namespaces.team, "--on", "cluster", "--operator-namespace", namespaces.operator];
    const oao = (...args: string[]) => place.oao([...args, ...where], { KUBECONFIG: inject("kubeconfig") });
    const { steps, traceHash } = get("brief").status ?? {};
    const trace = await oao("trace", "brief", "-o", "json");
    expect(trace.stderr).toBe("");
    expect(JSON.parse(trace.stdout)).toHaveLength(steps ?? 0);
    const verified = await oao("verify", "brief");
    expect(verified).toMatchObject({ code: 0, stdout: expect.stringContaining(traceHash ?? "none") });
    await place.end();
  });

  test("is replayed strictly by another that names it, and from its last step on", async () => {
    const replay = { executionRef: { name: "brief" } };
    const metadata = (name: string) => ({ apiVersion: "oao.dev/v1alpha1", kind: "Execution", metadata: { name } });
    apply(
      namespaces.team,
      { ...metadata("strict"), spec: { replay } },
      { ...metadata("fork"), spec: { replay: { ...replay, from: { node: "write", step: 1 } } } },
    );
    const wait = ["wait", "--for=condition=ReplayVerified", "oaox/strict", "-n", namespaces.team, "--timeout=200s"];
    expect(done(kubectl(wait))).toBe("execution.oao.dev/strict condition met\n");
    expect((await until("strict", ended)).status?.traceHash).toBe(get("brief").status?.traceHash);
    const fork = await until("fork", ended);
    expect(fork.status).toMatchObject({ phase: "Succeeded", usage: { modelCalls: 1, toolCalls: 0 } });
  });

  test("of config/samples/on-cluster asks the model server beside it, as the docs say", async () => {
    const inTeam = ["-n", namespaces.team];
    const server = sample("on-cluster/mock-model.yaml");
    const image = /image: (\S+)/.exec(server)?.[1] ?? "";
    done(kubectl(["apply", ...inTeam, "-f", "-"], server.replace(image, images.oao)));
    done(kubectl(["rollout", "status", "deployment/mock-model", ...inTeam, "--timeout=60s"]));
    const applied = kubectl(["apply", ...inTeam, "-f", "config/samples/on-cluster/invoice.yaml"]);
    expect(done(applied)).toBe("execution.oao.dev/invoice created\n");
    const run = await until("invoice", ended);
    expect(run.status?.result?.preview).toBe('"Invoice 4711 of Nord Ltd is ready for a second signature."');
    const columns = done(kubectl(["get", "oaox", "invoice", ...inTeam, "-o", "wide"]));
    expect(columns).toMatch(/invoice +Succeeded +2\/2 +2 +[0-9]+ +\S+ +sha256:\S+ +oao-system\/oao +Succeeded/);
    done(kubectl(["delete", "deployment/mock-model", ...inTeam]));
  });

  test("is stopped by its policy, and kubectl describe says exactly why", async () => {
    applySample("runaway.yaml", "runaway", "runaway");
    const run = await until("runaway", ended);
    expect(run.status?.phase).toBe("Failed");
    expect(run.status?.usage?.totalTokens).toBeLessThanOrEqual(2_000);
    expect(describeRun("runaway")).toContain("PolicyViolation: Max Token Limit Exceeded");
  });

  test("that is Cancelled ends with its containers", async () => {
    applySample("market-brief.yaml", "cancelled", "endless");
    await until("cancelled", isAtWork("research-demand"));
    desire("cancelled", "Cancelled");
    const run = await until("cancelled", ended);
    expect(run.status?.phase).toBe("Cancelled");
    await eventually(
      () => expect(podsOf(run).filter(({ status }) => ["Running", "Pending"].includes(status.phase))).toEqual([]),
      500,
    );
  });

  test("that is Suspended stands still without a container, and goes on from its journal", async () => {
    applySample("market-brief.yaml", "suspended", "slow");
    await until("suspended", isAtWork("research-demand"));
    desire("suspended", "Suspended");
    const still = await until("suspended", (run) => run.status?.phase === "Suspended");
    await eventually(() => expect(podsOf(still).filter(({ status }) => status.phase === "Running")).toEqual([]), 500);
    desire("suspended", "Running");
    expect((await until("suspended", ended)).status).toMatchObject({ phase: "Succeeded", progress: "5/5" });
  });

  test("that asks for approval waits without a container, and its answer by oao approve is proven", async () => {
    applySample("approval.yaml", "approval", "small");
    const waiting = await until("approval", (run) => run.status?.phase === "AwaitingApproval");
    await eventually(() => expect(podsOf(waiting).filter(({ status }) => status.phase === "Running")).toEqual([]), 500);
    const place = workplace();
    const answered = await place.oao(["approve", "approval", "-n", namespaces.team, "--on", "cluster"], {
      KUBECONFIG: inject("kubeconfig"),
    });
    expect(answered).toMatchObject({ code: 0 });
    await place.end();
    const run = await until("approval", ended);
    expect(run.status).toMatchObject({ phase: "Succeeded", approvals: [{ decision: "Approved", proven: true }] });
  });

  test("is at work while the release is upgraded, and goes on in the same containers", async () => {
    applySample("market-brief.yaml", "in-flight", "slow");
    const before = await podAtWork(await until("in-flight", isAtWork("research-demand")), "research-demand");
    expect(release(inject("kubeconfig"), "podAnnotations.upgraded=once")).toMatchObject({ code: 0 });
    const run = await until("in-flight", ended);
    expect(run.status).toMatchObject({ phase: "Succeeded", progress: "5/5", usage: { lostTokens: 0 } });
    expect(nodeOf(run, "research-demand")?.attempt).toBe(1);
    expect(podsOf(run).map(({ metadata }) => metadata.name)).toContain(before.metadata.name);
    expect(release(inject("kubeconfig"))).toMatchObject({ code: 0 });
  });
});

describe("a worker's container", () => {
  test("is no one's, writes nowhere but /tmp, has no account and only its run's environment", async () => {
    applySample("market-brief.yaml", "looked-at", "endless");
    const run = await until("looked-at", isAtWork("research-demand"));
    // The namespace enforces the level restricted, so the API server would have refused anything less.
    const pod = await podAtWork(run, "research-demand");
    expect(pod.spec.automountServiceAccountToken).toBe(false);
    expect(pod.spec.volumes?.map(({ name }) => name)).toEqual(["tmp"]);
    const inside = (script: string) =>
      kubectl(["exec", "-n", namespaces.team, pod.metadata.name, "--", "sh", "-c", script]);
    expect(done(inside("id -u; id -g")).trim()).toBe("65532\n65532");
    expect(inside("echo x > /app/x").stderr).toContain("Read-only file system");
    expect(done(inside("echo x > /tmp/x && cat /tmp/x"))).toBe("x\n");
    expect(inside("ls /var/run/secrets/kubernetes.io").code).not.toBe(0);
    expect(done(inside("cat /proc/1/status"))).toMatch(/CapEff:\s+0+\n/);
    expect(done(inside("cat /proc/1/status"))).toMatch(/Seccomp:\s+2\n/);
    desire("looked-at", "Cancelled");
    await until("looked-at", ended);
  });

  test("finds the compiled code of every module that it loads", async () => {
    applySample("market-brief.yaml", "compiled", "endless");
    const run = await until("compiled", isAtWork("research-demand"));
    const { name } = (await podAtWork(run, "research-demand")).metadata;
    const again = "NODE_DEBUG_NATIVE=COMPILE_CACHE node /app/dist/worker.js 2>&1";
    const said = kubectl(["exec", "-n", namespaces.team, name, "--", "sh", "-c", again]).stdout;
    const count = (what: RegExp) => said.match(what)?.length ?? 0;
    expect(count(/was accepted/g)).toBeGreaterThan(5);
    expect(count(/was rejected|no such file/g)).toBe(0);
    desire("compiled", "Cancelled");
    await until("compiled", ended);
    expect(nodeOf(get("compiled"), "write")?.state).toBe("Cancelled");
  });
});
