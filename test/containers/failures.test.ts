/** What goes wrong with containers, made to go wrong for real. */
import { afterAll, describe, expect, inject, test } from "vitest";
import { namespaces, release } from "./install.ts";
import {
  apply,
  applySample,
  done,
  ended,
  isAtWork,
  kubectl,
  modelUrl,
  nodeOf,
  podAtWork,
  podsOf,
  until,
} from "./runs.ts";

const kind = (name: string) => ({ apiVersion: "oao.dev/v1alpha1", kind: name });

function applyRun(namespace: string, name: string, policy: object, spec: object): void {
  apply(
    namespace,
    { ...kind("GovernancePolicy"), metadata: { name }, spec: policy },
    { ...kind("Execution"), metadata: { name }, spec: { task: "Go wrong", policyRef: { name }, ...spec } },
  );
}

const asks = (name: string, model: object) => ({
  models: [{ name: "main", provider: "openai", model: "gpt-5-mini", ...model }],
  agents: [{ name, model: "main" }],
  nodes: [{ name: "ask", agent: { ref: name, prompt: "Write down everything you know." } }],
});

describe("a container", () => {
  test("that takes more memory than it has is killed by the kernel, and its node is Poisoned at the cap", async () => {
    const tool = { name: "devour", effect: "ReadOnly", module: { path: "tools/hungry.mjs", export: "devour" } };
    const nodes = [{ name: "eat", tool: { ref: "devour" } }];
    applyRun(namespaces.tight, "hungry", { infrastructure: { maxRestarts: 1 } }, { tools: [tool], nodes });
    const run = await until("hungry", ended, { namespace: namespaces.tight });
    expect(nodeOf(run, "eat")).toMatchObject({ state: "Failed", reason: "Poisoned" });
    expect(nodeOf(run, "eat")?.message).toMatch(/died 2 times .*OOMKilled/);
    const ends = podsOf(run).map(({ status }) => status.containerStatuses?.[0]?.state.terminated);
    expect(ends).toMatchObject([{ reason: "OOMKilled" }, { reason: "OOMKilled" }]);
  });

  test("whose Secret lacks the key waits and says which, and starts when it is there", async () => {
    const baseURL = modelUrl("brief");
    const policy = { models: { endpoints: [{ baseURL, secrets: ["model-key"] }] } };
    const secret = { apiVersion: "v1", kind: "Secret", metadata: { name: "model-key" } };
    done(kubectl(["delete", "secret", "model-key", "-n", namespaces.team, "--ignore-not-found"]));
    apply(namespaces.team, { ...secret, stringData: { other: "x" } });
    applyRun(namespaces.team, "keyless", policy, {
      ...asks("writer", { baseURL, apiKeySecretRef: { name: "model-key", key: "token" } }),
      agents: [{ name: "writer", model: "main", systemPrompt: "You are a writer of briefs." }],
    });
    const waiting = await until("keyless", (run) => nodeOf(run, "ask")?.reason === "BadConfig");
    expect(nodeOf(waiting, "ask")?.message).toContain("couldn't find key token in Secret team-a/model-key");
    apply(namespaces.team, { ...secret, stringData: { other: "x", token: "a-token" } });
    expect((await until("keyless", ended)).status?.phase).toBe("Succeeded");
  });

  test("whose pod is deleted by hand is made again as the next attempt", async () => {
    applySample("market-brief.yaml", "deleted-pod", "slow");
    const run = await until("deleted-pod", isAtWork("research-demand"));
    const { name } = (await podAtWork(run, "research-demand")).metadata;
    done(kubectl(["delete", "pod", "-n", namespaces.team, name]));
    const end = await until("deleted-pod", ended);
    expect(end.status).toMatchObject({ phase: "Succeeded", progress: "5/5" });
    expect(nodeOf(end, "research-demand")?.attempt).toBe(2);
  });
});

describe("an image that is not there", () => {
  afterAll(() => {
    release(inject("kubeconfig"));
  });

  test("is said of the node that waits for it; a new pod takes the image that the release names by then", async () => {
    expect(release(inject("kubeconfig"), "worker.image.tag=no-such-tag")).toMatchObject({ code: 0 });
    applySample("market-brief.yaml", "imageless", "brief");
    const waiting = await until("imageless", (run) => nodeOf(run, "research-demand")?.reason === "ImagePullFailed");
    expect(nodeOf(waiting, "research-demand")?.message).toMatch(/ErrImagePull|ImagePullBackOff/);
    expect(release(inject("kubeconfig"))).toMatchObject({ code: 0 });
    done(kubectl(["delete", "pods", "-n", namespaces.team, "-l", `oao.dev/execution-uid=${waiting.metadata.uid}`]));
    expect((await until("imageless", ended)).status).toMatchObject({ phase: "Succeeded", progress: "5/5" });
  });
});
