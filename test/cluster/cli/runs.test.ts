/** oao submit, get, tree, logs, cancel, suspend, resume on a cluster, as a person who has nothing but the ClusterRole edit. */
import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { modelAt, program, sample, serveModel, watchChild } from "../../cli/harness.ts";
import { eventually } from "../../support/patience.ts";
import { canI, type CliField, openCliField, person, putPolicies } from "./harness.ts";

let at: CliField;
let slow: string;
/** Goes on and on, whatever it is asked. */
let endless: string;
beforeAll(async () => {
  at = await openCliField();
  const answers = readFileSync(sample("market-brief.model.yaml"), "utf8");
  slow = await at.field.script("slow.yaml", answers.replace("tokensPerSecond: 150", "tokensPerSecond: 15"));
  endless = await at.field.script("endless.yaml", "rules: [{ reply: { tokens: 100000, tokensPerSecond: 20 } }]");
});
afterAll(() => at.end());

const isAtWork = (name: string) =>
  at.field.until(name, (run) => run.status?.nodes.some(({ state }) => state === "Running") === true);

describe("oao submit", () => {
  test("creates the Execution, follows it in plain lines and prints its result; get, tree and logs show it", async () => {
    const { code, stdout, stderr } = await at.oao(...at.brief("brief"));
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(stderr).toContain(`${at.field.namespace}/brief created in the cluster of context here`);
    expect(stderr).toMatch(/^\d\d:\d\d:\d\d {2}write {2}Succeeded$/m);
    expect(stderr).toContain("Succeeded. Its nodes: oao tree brief --on cluster");
    expect(stdout).not.toBe("");
    const tree = await at.oao("tree", "brief", "--on", "cluster");
    expect(tree.stdout).toMatch(new RegExp(`^${at.field.namespace}/brief {2}Succeeded {2}5/5 nodes`));
    expect(tree.stdout).toMatch(/└─ ✔ write +Succeeded/);
    // Not here, so found there without being asked for.
    const got = await at.oao("get", "brief");
    expect(got).toMatchObject({ code: 0, stdout: expect.stringMatching(/^brief +Succeeded +5\/5/m) });
    expect((await at.oao("get", "--on", "cluster")).stdout).toMatch(/^brief +Succeeded/m);
    expect(parse((await at.oao("get", "brief", "-o", "yaml")).stdout)).toMatchObject({
      kind: "Execution",
      metadata: { name: "brief", namespace: at.field.namespace },
      status: { phase: "Succeeded" },
    });
    const logs = await at.oao("logs", "brief", "--on", "cluster", "--node", "rate");
    expect(logs.stdout).toMatch(/^\d\d:\d\d:\d\d {2}\w+ +rate\[0\]#1 /m);
    expect(logs.stdout).not.toContain("write#1");
    expect((await at.oao("logs", "brief", "--node", "wriet")).stderr).toContain("did you mean write?");
    // This operator serves no API, and a journal is read through one.
    const trace = await at.oao("trace", "brief");
    expect(trace).toMatchObject({ code: 7, stderr: expect.stringContaining("oao tree brief --on cluster") });
  });

  test("gives a run the hash that oao hash says of its file, once the operator's floor policy is known", async () => {
    const [, file, , name, ...sets] = at.brief("hashed") as [string, string, string, string, ...string[]];
    const of = async (...args: string[]) => {
      const { code, stdout, stderr } = await at.oao("hash", ...args, "-o", "json");
      return { code, stderr, ...(JSON.parse(stdout) as { executionHash: string; hashParts: object }) };
    };
    const known = await of(file, ...sets, "--on", "cluster", "--floor", "none");
    const unknown = await of(file, ...sets, "--on", "cluster");
    expect(unknown).toMatchObject({ code: 0, executionHash: null, hashParts: { ...known.hashParts, policy: null } });
    expect(unknown.stderr).toContain("floor policy is not known here");
    const pinned = `expectedHash.hash=${known.executionHash}`;
    expect((await at.oao(...at.brief(name), "--set", pinned)).code).toBe(0);
    expect(await of(name)).toEqual(known);
    const explained = await at.oao("hash", name, "--explain");
    expect(explained.stdout).toContain(`hash ${known.executionHash}`);
    expect(explained.stdout).toMatch(/^policy sha256:\w{64}\n\[\{.*"maxTokens":/m);
    const drifted = await at.oao(...at.brief("drifted"), "--set", pinned, "--set", "models.main.model=gpt-5");
    expect(drifted.code).toBe(1);
    expect(drifted.stderr).toMatch(
      /HashMismatch: the execution hash is sha256:\w{12}…, expected sha256:\w{12}…; see what/,
    );
  });

  test("refuses a name that is taken, saying how to follow or look at it and how to take another", async () => {
    await at.oao(...at.brief("taken"));
    const again = await at.oao(...at.brief("taken"));
    expect(again).toMatchObject({ code: 2, stdout: "" });
    expect(again.stderr).toMatch(/taken exists in the cluster of context here already \(Succeeded\)/);
    expect(again.stderr).toContain("look at it: oao get taken --on cluster");
    expect(again.stderr).toContain("--name taken-2");
  });

  test("ends with 3 for a policy's violation and prints the finished object with -o json", async () => {
    await putPolicies(at.field.admin, at.field.namespace, "runaway.yaml");
    const runaway = await serveModel(at.field.place, sample("runaway.model.yaml"));
    const args = ["run", sample("runaway.yaml"), "--on", "cluster", ...modelAt(runaway), "-o", "json"];
    const { code, stdout, stderr } = await at.oao(...args);
    expect({ code, stderr }).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("PolicyViolation: Max Token Limit Exceeded"),
    });
    expect(JSON.parse(stdout)).toMatchObject({ status: { phase: "Failed" } });
  });

  test("ends with 1 for a run that fails", async () => {
    const broken = await at.field.script(
      "broken.yaml",
      "rules: [{ reply: { status: 400, errorMessage: cannot be done } }]",
    );
    const { code, stderr } = await at.oao(...at.brief("broken", broken));
    expect(code).toBe(1);
    expect(stderr).toContain("oao logs broken --on cluster");
  });

  test("never writes policies: says what is missing or differs", async () => {
    const refused = await at.oao("submit", sample("retry.yaml"));
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain("names GovernancePolicy patient");
    expect(refused.stderr).toContain("a run does not write policies: kubectl apply");
    const text = readFileSync(sample("runaway.yaml"), "utf8").replace("maxTokens: 2000", "maxTokens: 9000");
    const file = join(at.field.place.folder, "generous.yaml");
    writeFileSync(file, text);
    const runaway = await serveModel(at.field.place, sample("runaway.model.yaml"));
    const { code, stderr } = await at.oao("submit", file, "--name", "generous", ...modelAt(runaway));
    expect(stderr).toContain("differs from the cluster's own (spec.maxTokens), which governs this run");
    expect(code).toBe(3);
    expect(await at.oao("submit", file, "--policy", file)).toMatchObject({ code: 2 });
  });

  test("detaches on Ctrl-C and says how to look again; the run goes on", async () => {
    const started = at.start(...at.brief("detached", slow));
    await started.said("Running");
    started.child.kill("SIGINT");
    const { code, stderr } = await started.ended;
    expect(code).toBe(6);
    expect(stderr).toContain(`Detached: ${at.field.namespace}/detached goes on in the cluster`);
    expect(stderr).toContain("follow: oao resume detached --on cluster");
    const followed = await at.oao("resume", "detached");
    expect(followed).toMatchObject({ code: 0, stderr: expect.stringContaining("not suspended: following it") });
  });
});

describe("on a terminal", () => {
  test("the tree is redrawn in place, and Ctrl-C leaves it there and detaches", async () => {
    const command = [process.execPath, program, ...at.brief("drawn", slow)].map((part) => `'${part}'`).join(" ");
    const child = spawn("/usr/bin/script", ["-qec", `stty cols 100 rows 20; exec ${command}`, "/dev/null"], {
      cwd: at.field.place.folder,
      env: { PATH: process.env["PATH"] ?? "", TERM: "xterm", HOME: at.field.place.folder, KUBECONFIG: at.tenant },
      stdio: ["pipe", "pipe", "pipe"],
    });
    const started = watchChild(child);
    // Whether its row goes on to Running before it ends is a matter of when the operator looks.
    await started.said("research-demand  Starting");
    child.stdin.write("\u0003");
    const { code, stdout } = await started.ended;
    expect(code).toBe(6);
    expect(stdout).toContain("\u001b[?2026h");
    expect(stdout).toContain("Detached");
    expect(stdout.lastIndexOf("\u001b[?25h")).toBeGreaterThan(stdout.lastIndexOf("\u001b[?25l"));
    expect(await at.oao("cancel", "drawn")).toMatchObject({ code: 0 });
  });
});

describe("steering", () => {
  test("oao cancel ends a run, and whoever follows it exits with 4", async () => {
    const followed = at.start(...at.brief("cancelled", endless));
    await isAtWork("cancelled");
    expect(await at.oao("cancel", "cancelled")).toMatchObject({
      code: 0,
      stderr: expect.stringContaining("cancelled is cancelled"),
    });
    expect((await followed.ended).code).toBe(4);
    const again = await at.oao("cancel", "cancelled");
    expect(again).toMatchObject({ code: 2, stderr: expect.stringContaining("has ended (Cancelled") });
    const resumed = await at.oao("resume", "cancelled");
    expect(resumed).toMatchObject({ code: 4, stderr: expect.stringContaining("cancelled has ended already") });
  });

  test("oao suspend stops the pods and whoever follows exits with 6; oao resume takes the wish away and follows", async () => {
    const followed = at.start(...at.brief("paused", slow));
    await isAtWork("paused");
    expect(await at.oao("suspend", "paused")).toMatchObject({
      code: 0,
      stderr: expect.stringContaining("Go on: oao resume paused --on cluster"),
    });
    expect((await followed.ended).code).toBe(6);
    expect((await at.field.get("paused")).spec.desiredState).toBe("Suspended");
    const resumed = await at.oao("resume", "paused");
    expect({ code: resumed.code, stderr: resumed.stderr }).toMatchObject({ code: 0 });
    expect((await at.field.get("paused")).spec).not.toHaveProperty("desiredState");
  });

  test("oao logs -f prints lines as they are written and ends with the run", async () => {
    const run = at.start(...at.brief("told", slow));
    await isAtWork("told");
    const logs = at.start("logs", "told", "-f", "-o", "jsonl");
    await logs.said('"node":"research-demand"');
    expect((await at.field.get("told")).status?.completedAt).toBeUndefined();
    expect((await run.ended).code).toBe(0);
    const { code, stdout } = await logs.ended;
    expect(code).toBe(0);
    expect(stdout).toContain('"node":"write"');
  });
});

describe("an approval node", () => {
  test("lets go of whoever follows with the question; answered by somebody who may, the run goes on with proof", async () => {
    const { admin, namespace, folder, place } = at.field;
    const approver = await person(admin, namespace, folder, "approver", ["oao-approver"]);
    const file = join(folder, "ask.yaml");
    writeFileSync(
      file,
      `apiVersion: oao.dev/v1alpha1
kind: Execution
metadata: { name: ask }
spec:
  task: t
  policyRef: { name: market-brief }
  tools: [{ name: merge, effect: ReadOnly, module: { path: tools/facts.mjs, export: merge } }]
  nodes:
    - { name: sign-off, approval: { message: Publish it? } }
    - { name: publish, dependsOn: [sign-off], tool: { ref: merge, arguments: { lists: [[done]] } } }
`,
    );
    const asked = await at.oao("submit", file);
    expect({ code: asked.code, stderr: asked.stderr }).toMatchObject({
      code: 6,
      stderr: expect.stringMatching(
        /Awaiting approval\n +sign-off asks: Publish it\?\n +oao approve ask --on cluster sign-off/,
      ),
    });
    expect(await at.oao("approve", "ask")).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("you may not update executions/approval.oao.dev"),
    });
    const answered = await place.oao(["approve", "ask"], { KUBECONFIG: approver });
    expect({ code: answered.code, stderr: answered.stderr }).toMatchObject({ code: 0 });
    // At once: an answer that the operator has not seen yet is no question, and a run that has ended meanwhile says how.
    const resumed = await at.oao("resume", "ask");
    expect({ code: resumed.code, stderr: resumed.stderr }).toMatchObject({ code: 0 });
    expect((await at.field.get("ask")).status?.approvals).toMatchObject([
      { decision: "Approved", by: `system:serviceaccount:${namespace}:approver`, proven: true },
    ]);
  });
});

describe("a name that is both here and there", () => {
  test("is refused with both, and --on chooses", async () => {
    const args = at.brief("twice").slice(1);
    const namespace = ["-n", at.field.namespace];
    expect(await at.oao("run", ...args, ...namespace)).toMatchObject({ code: 0 });
    expect(await at.oao("get", "twice", ...namespace)).toMatchObject({ code: 0 }); // only here yet
    expect(await at.oao(...at.brief("twice"))).toMatchObject({ code: 0 });
    for (const verb of ["get", "tree", "logs", "cancel", "suspend", "resume"]) {
      const { code, stderr } = await at.oao(verb, "twice", ...namespace);
      expect({ verb, code, stderr }).toMatchObject({ code: 2, stderr: expect.stringContaining("there are two runs") });
      expect(stderr).toMatch(/here: .*--on local\n.*on the cluster: .*--on cluster/);
    }
    const here = parse((await at.oao("get", "twice", ...namespace, "--on", "local", "-o", "yaml")).stdout) as Named;
    const there = parse((await at.oao("get", "twice", "--on", "cluster", "-o", "yaml")).stdout) as Named;
    expect(here.metadata.uid).not.toBe(there.metadata.uid);
  });
});

interface Named {
  readonly metadata: { readonly uid?: string };
}

describe("the tenant", () => {
  test("has the role edit and so may neither write policies, nor answer approvals, nor read other namespaces", async () => {
    await eventually(() => expect(canI(at.tenant, "get", "pods", "--subresource=log")).toBe(true));
    for (const [verb, ...resource] of [
      ["create", "governancepolicies.oao.dev"],
      ["update", "executions.oao.dev", "--subresource=approval"],
      ["get", "executions.oao.dev", "--subresource=journal"],
      ["update", "executions.oao.dev", "--subresource=status"],
    ] as const) {
      expect(canI(at.tenant, verb, ...resource), `${verb} ${resource.join(" ")}`).toBe(false);
    }
    const { code, stderr } = await at.oao("get", "-n", "kube-system", "--on", "cluster");
    expect(code).toBe(2);
    expect(stderr).toContain("you may not list executions.oao.dev in namespace kube-system");
    expect(stderr).toContain("kubectl auth can-i list executions.oao.dev -n kube-system");
  });
});
