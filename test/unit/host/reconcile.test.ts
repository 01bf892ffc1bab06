import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { FileStore } from "../../../src/adapters/store/file/file-store.ts";
import type { GovernancePolicy, PolicySpec } from "../../../src/api/policy.ts";
import type { ExecutionSpec } from "../../../src/api/types.ts";
import { sha256Hex } from "../../../src/core/digest/digest.ts";
import { executionHash } from "../../../src/core/hash/execution-hash.ts";
import { canonicalLines, emptyTraceHash, traceHash } from "../../../src/core/trace/canonical.ts";
import { canonicalSteps } from "../../../src/core/trace/journal.ts";
import { SnapshotCache } from "../../../src/host/io.ts";
import { readJournals, readRecord } from "../../../src/host/journals.ts";
import { governingPolicies } from "../../../src/host/governing.ts";
import { reconcile } from "../../../src/host/reconcile.ts";
import { settle, uid, World } from "./local-world.ts";

const tool = (x: string) => ({ tool: { ref: "t", arguments: { x } } });
const diamond: ExecutionSpec = {
  task: "t",
  input: { list: [1, 2] },
  nodes: [
    { name: "a", ...tool("1") },
    { name: "each", forEach: { items: "input.list" }, ...tool("$(item)") },
    { name: "sum", when: "nodes.a.output.v > 0", ...tool("$(nodes.each.output) $(nodes.a.output)") },
  ],
};
const outputs = { a: { v: 1, text: "x".repeat(500) }, each: "y", sum: { total: 2 } };

const reasonOf = (world: World, name: string) => {
  const found = world.status(name).conditions.find((condition) => condition.type === "Succeeded");
  return [found?.status, found?.reason];
};
const policyNamed = (name: string, spec: PolicySpec, labels = {}): GovernancePolicy => ({
  apiVersion: "oao.dev/v1alpha1",
  kind: "GovernancePolicy",
  metadata: { name, namespace: "team-a", labels },
  spec,
});

describe("a run", () => {
  test("goes from manifest to result, with outputs handed on by digest", async () => {
    const world = new World();
    world.outputs = outputs;
    const key = world.apply("r", diamond);
    await settle(world, key);
    expect(world.status("r")).toMatchObject({
      phase: "Succeeded",
      progress: "3/3",
      sealed: true,
      result: { preview: '{"total":2}' },
    });
    expect(world.orders.map((order) => `${order.node}[${order.item ?? ""}]#${order.attempt}`)).toEqual([
      "a[]#1",
      "each[0]#1",
      "each[1]#1",
      "sum[]#1",
    ]);
    const handed = world.orders.at(-1)?.outputs ?? {};
    expect(Object.keys(handed)).toEqual(["each", "a"]);
    expect((await world.store.bodies(uid, [handed["each"] ?? ""])).get(handed["each"] ?? "")).toBe('["y","y"]');
    const { writes } = world;
    expect(await reconcile(key, world.io)).toBeUndefined();
    expect(world.writes).toBe(writes);
  });

  test("tells the hash of its canonical trace with its end, in no write of its own", async () => {
    const world = new World();
    world.outputs = outputs;
    const key = world.apply("r", diamond);
    await settle(world, key);
    const run = world.runs.get("r")!;
    const record = await readRecord(world.store, run);
    const lines = canonicalLines(canonicalSteps(record.spec, await readJournals(record)));
    expect(run.status?.traceHash).toBe(traceHash(lines));
    const told = world.events.flatMap((event) => (event.kind === "Status" ? [event.status] : []));
    expect(told.filter((status) => status.completedAt !== undefined).map((status) => status.traceHash)).toEqual([
      traceHash(lines),
    ]);
  });

  test("that was never opened has the hash of no lines", async () => {
    const world = new World();
    const key = world.apply("r", { ...diamond, desiredState: "Cancelled", policyRef: { name: "missing" } });
    await settle(world, key);
    expect(world.status("r")).toMatchObject({ phase: "Cancelled", traceHash: emptyTraceHash });
  });

  test.each([
    ["memory", '{"index":0}'],
    ["memory", "junk"],
    ["file", '{"index":0}'],
    ["file", "junk"],
  ])("ends without a hash when what a worker wrote is no journal: %s, %s", async (kind, bytes) => {
    const world = new World();
    world.outputs = outputs;
    world.garbled = bytes;
    if (kind === "file") {
      const directory = mkdtempSync(join(tmpdir(), "oao-file-"));
      const store = new FileStore(directory, world.clock);
      world.journal = store;
      onTestFinished(async () => {
        await store.close();
        rmSync(directory, { recursive: true });
      });
    }
    const key = world.apply("r", diamond);
    await settle(world, key);
    expect(world.status("r").phase).toBe("Succeeded");
    expect(world.status("r")).not.toHaveProperty("traceHash");
    expect(world.events.some((event) => event.kind === "Failed")).toBe(true);
  });

  test("whose parent's snapshot was edited is not told that it is gone", async () => {
    const world = new World();
    world.outputs = outputs;
    await settle(world, world.apply("r", diamond));
    const { bodies } = world.store.recordsOf(uid);
    const digest = world.status("r").snapshot?.replace(/^sha256:/, "") ?? "";
    bodies.set(digest, (bodies.get(digest) ?? "").replace('"task":"t"', '"task":"u"'));
    await settle(world, world.apply("again", { ...diamond, replay: { executionRef: { name: "r" } } }));
    expect(reasonOf(world, "again")).toEqual(["False", "RecordChanged"]);
  });

  test("which a host opened that died stands only if its snapshot is the one that was opened with", async () => {
    const world = new World();
    const key = world.apply("r", diamond);
    const first = sha256Hex("{}");
    await world.store.execute(uid, { op: "open", snapshot: first, limits: {}, auditLimits: {} });
    await world.store.putBodies(uid, [{ digest: first, bytes: '{"v":1}' }]);
    await settle(world, key);
    expect(reasonOf(world, "r")).toEqual(["False", "RecordChanged"]);
    expect(world.orders).toEqual([]);
  });

  test("whose snapshot is edited while it is at work is told that it was, ends, and leaves no worker and no journal behind", async () => {
    const world = new World();
    const key = world.apply("r", { ...diamond, journalRetentionSeconds: 0 });
    await settle(world, key);
    expect(world.views).not.toEqual([]);
    const { bodies } = world.store.recordsOf(uid);
    const digest = world.status("r").snapshot?.replace(/^sha256:/, "") ?? "";
    bodies.set(digest, (bodies.get(digest) ?? "").replace('"task":"t"', '"task":"u"'));
    // A host that has read it goes on from what it was; so it is another one.
    const next = { ...world.io, snapshots: new SnapshotCache() };
    for (let pass = 0; pass < 4; pass += 1) await reconcile(key, next);
    expect(reasonOf(world, "r")).toEqual(["False", "RecordChanged"]);
    expect(world.stopped.map(({ node }) => node)).toEqual(world.orders.map(({ node }) => node));
    expect((await world.store.view(uid, [])).execution).toBeUndefined();
  });

  test("survives the loss of its host before every single effect, and starts no attempt twice", async () => {
    const whole = new World();
    let effects = 0;
    whole.outputs = outputs;
    whole.before = () => (effects += 1);
    await settle(whole, whole.apply("r", diamond));
    for (let lost = 1; lost <= effects; lost += 1) {
      const world = new World();
      world.outputs = outputs;
      let count = 0;
      world.before = () => {
        count += 1;
        if (count === lost) throw new Error("the host died");
      };
      const key = world.apply("r", diamond);
      await expect(settle(world, key)).rejects.toThrow("the host died");
      const revived = { ...world.io, snapshots: new SnapshotCache() };
      for (let pass = 0; pass < 30; pass += 1) await reconcile(key, revived);
      expect(world.status("r"), `effect ${lost}`).toMatchObject({
        phase: "Succeeded",
        sealed: true,
        result: { preview: '{"total":2}' },
      });
      expect(world.orders.map((order) => order.attempt)).toEqual([1, 1, 1, 1]);
    }
    expect(effects).toBeGreaterThan(10);
  });

  test("does not write a status that did not change", async () => {
    const world = new World();
    const key = world.apply("r", diamond);
    await settle(world, key);
    const { writes } = world;
    world.clock.pass(1_000);
    await reconcile(key, world.io);
    expect(world.writes).toBe(writes);
  });

  test("that somebody else wrote to meanwhile is planned anew, not overwritten", async () => {
    const world = new World();
    const key = world.apply("r", diamond);
    await settle(world, key);
    world.outputs = outputs;
    world.views.length = 0;
    world.before = (effect) => {
      if (effect !== "writeStatus") return;
      world.before = () => undefined;
      world.apply("r", { ...diamond, desiredState: "Cancelled" });
    };
    await expect(reconcile(key, world.io)).rejects.toThrow("r changed");
    await settle(world, key);
    expect(world.status("r")).toMatchObject({ phase: "Cancelled", cancelRequested: true });
  });

  test("is cancelled with its workers stopped and their attempts fenced before it ends", async () => {
    const world = new World();
    const key = world.apply("r", diamond);
    await settle(world, key);
    world.apply("r", { ...diamond, desiredState: "Cancelled" });
    await settle(world, key);
    await settle(world, key);
    expect(reasonOf(world, "r")).toEqual(["False", "Cancelled"]);
    expect(world.status("r").phase).toBe("Cancelled");
    const view = await world.store.view(uid, [{ node: "a" }, { node: "each", item: 0 }]);
    expect(view.items.map((record) => record?.claimId)).toEqual(["", ""]);
    expect(view.execution?.control.state).toBe("Cancelled");
  });

  test("suspends and resumes as the next attempt", async () => {
    const world = new World();
    const one: ExecutionSpec = { task: "t", nodes: [{ name: "a" }] };
    const key = world.apply("r", one);
    await settle(world, key);
    world.apply("r", { ...one, desiredState: "Suspended" });
    await settle(world, key);
    expect(world.stopped).toEqual([]);
    world.leaveSuspended();
    await settle(world, key);
    expect(world.status("r").phase).toBe("Suspended");
    world.outputs = { a: 1 };
    world.apply("r", one);
    await settle(world, key);
    expect(world.status("r")).toMatchObject({ phase: "Succeeded", nodes: [{ attempt: 2 }] });
  });

  test("whose snapshot is gone from the store ends in DurabilityLost with its workers stopped", async () => {
    const world = new World();
    const key = world.apply("r", diamond);
    await settle(world, key);
    await world.store.dropBodies(uid, []);
    await reconcile(key, { ...world.io, snapshots: new SnapshotCache() });
    expect(reasonOf(world, "r")).toEqual(["False", "DurabilityLost"]);
    expect(world.stopped.length).toBe(3);
  });

  test("asks its store for its settings once per life, and says for good that a weak one was restarted", async () => {
    const world = new World();
    let asked = 0;
    world.store.durability = async () => {
      asked += 1;
      return { durable: false, reasons: ["appendfsync is no: set it to always"], unfit: [] };
    };
    const key = world.apply("r", diamond);
    await settle(world, key);
    const saved = world.store.snapshotOf(uid);
    const told = () => world.status("r").conditions.find((each) => each.type === "CheckpointsDurable")?.message ?? "";
    expect([asked, told()]).toEqual([1, expect.stringContaining("a crash of the journal store may lose")]);
    world.store.restore(uid, saved, "another life");
    await settle(world, key);
    expect([asked, told()]).toEqual([2, expect.stringContaining("was restarted")]);
    expect(world.status("r").journalRunId).toBe("another life");
    world.clock.pass(2_000);
    const { writes } = world;
    await reconcile(key, world.io);
    expect([asked, world.writes]).toEqual([2, writes]);
  });

  test("waits for a store that may forget a NonIdempotent call, says so, and starts once the store is set right", async () => {
    const world = new World();
    const isNow = { durable: false, reasons: ["appendfsync is no: set it to always"], unfit: [] as string[] };
    world.store.durability = async () => isNow;
    const pay = { name: "pay", http: { method: "POST" as const, url: "https://x.example/" } };
    const key = world.apply("r", { ...diamond, tools: [...(diamond.tools ?? []), pay] });
    const wakeAfterMs = await reconcile(key, world.io);
    expect(reasonOf(world, "r")).toEqual(["Unknown", "CheckpointsNotDurable"]);
    expect(world.status("r").snapshot).toBeUndefined();
    isNow.durable = true;
    world.store.runId = async () => "set right, and restarted";
    world.clock.pass(wakeAfterMs ?? 0);
    await reconcile(key, world.io);
    expect(world.status("r").snapshot).toBeDefined();
  });

  test("whose control state the store forgot has it set again", async () => {
    const world = new World();
    const key = world.apply("r", diamond);
    await settle(world, key);
    const saved = world.store.snapshotOf(uid);
    world.apply("r", { ...diamond, desiredState: "Cancelled" });
    await reconcile(key, world.io);
    world.store.restore(uid, saved, "another life");
    world.apply("r", diamond);
    await settle(world, key);
    await settle(world, key);
    expect((await world.store.view(uid, [])).execution?.control.state).toBe("Cancelled");
    expect(world.status("r").phase).toBe("Cancelled");
  });

  test("that was deleted is left alone", async () => {
    expect(await reconcile({ namespace: "team-a", name: "ghost" }, new World().io)).toBeUndefined();
  });
});

describe("an approval node", () => {
  const signed = (more: object = {}): ExecutionSpec => ({
    task: "t",
    nodes: [
      { name: "draft", ...tool("1") },
      { name: "sign-off", approval: { message: "Publish $(nodes.draft.output.title)?", ...more } },
      { name: "publish", dependsOn: ["sign-off"], ...tool("$(nodes['sign-off'].output.by)") },
    ],
  });
  const given = { draft: { title: "Heat pumps" }, publish: "out" };
  const asked = async (spec: ExecutionSpec) => {
    const world = new World();
    world.outputs = given;
    const key = world.apply("r", spec);
    await settle(world, key);
    const [approval] = world.status("r").approvals ?? [];
    return { world, key, request: approval?.request ?? "", approval };
  };
  const nodeOf = (world: World, name: string) => world.status("r").nodes.find((row) => row.name === name);

  test("asks its question, with what nodes before it gave, and waits without a worker", async () => {
    const { world, approval } = await asked(signed());
    expect(world.status("r").phase).toBe("AwaitingApproval");
    expect(approval).toMatchObject({ node: "sign-off", message: "Publish Heat pumps?" });
    expect(approval?.request).toMatch(/^sign-off-[0-9a-f]{8}$/);
    expect(world.orders.map(({ node }) => node)).toEqual(["draft"]);
    expect(world.status("r").conditions.find(({ type }) => type === "Succeeded")?.message).toBe(
      `sign-off asks: Publish Heat pumps?; answer: oao approve r ${approval?.request ?? ""} [--reject]`,
    );
  });

  test.each([false, true])("that is approved goes on, recorded with who, when, and proven %s", async (isProven) => {
    const { world, key, request } = await asked(signed());
    world.isProven = isProven;
    world.annotate("r", { [`approval.oao.dev/${request}`]: "Approve:system:serviceaccount:team-a:alice" });
    await settle(world, key);
    expect(world.status("r")).toMatchObject({ phase: "Succeeded", progress: "3/3" });
    const by = "system:serviceaccount:team-a:alice";
    expect(world.status("r").approvals).toMatchObject([{ request, decision: "Approved", by, proven: isProven }]);
    const entries = await world.store.entries(uid, { node: "sign-off" }, 0, 9);
    const [step, finish] = entries.map(({ bytes }) => JSON.parse(bytes) as { output: { body: string } });
    expect([step, finish]).toMatchObject([
      { type: "step", kind: "approval", outcome: "Ok", attempt: 1 },
      { type: "finish", outcome: "Succeeded" },
    ]);
    const body = (await world.store.bodies(uid, [step?.output.body ?? ""])).get(step?.output.body ?? "");
    expect(body).toContain(`"by":"${by}"`);
  });

  test("that is rejected fails the node, and nothing after it runs", async () => {
    const { world, key, request } = await asked(signed());
    world.annotate("r", { [`approval.oao.dev/${request}`]: "Reject:bob" });
    await settle(world, key);
    expect(reasonOf(world, "r")).toEqual(["False", "NodeFailed"]);
    expect(nodeOf(world, "sign-off")).toMatchObject({
      state: "Failed",
      reason: "Rejected",
      message: "rejected by bob",
    });
    expect(nodeOf(world, "publish")?.state).toBe("Skipped");
  });

  test.each([
    ["under another name", (request: string) => ({ [`approval.oao.dev/x${request}`]: "Approve:eve" })],
    ["in other words", (request: string) => ({ [`approval.oao.dev/${request}`]: "yes" })],
    ["by nobody", (request: string) => ({ [`approval.oao.dev/${request}`]: "Approve:" })],
  ])("is not answered %s", async (_, annotations) => {
    const { world, key, request } = await asked(signed());
    world.annotate("r", annotations(request));
    await settle(world, key);
    expect(world.status("r").phase).toBe("AwaitingApproval");
  });

  test("acts on the first answer, whatever the annotation says later", async () => {
    const { world, key, request } = await asked(signed());
    world.annotate("r", { [`approval.oao.dev/${request}`]: "Approve:alice" });
    let writes = 0;
    world.before = (effect) => {
      // Lost right after the status: the journal does not know yet.
      if (effect === "writeStatus" && ++writes === 2) throw new Error("crash");
    };
    await expect(settle(world, key)).rejects.toThrow("crash");
    world.before = () => undefined;
    world.annotate("r", { [`approval.oao.dev/${request}`]: "Reject:mallory" });
    await settle(world, key);
    expect(world.status("r").approvals).toMatchObject([{ decision: "Approved", by: "alice" }]);
    expect(world.status("r").phase).toBe("Succeeded");
  });

  test.each([
    ["Reject", undefined, "Failed", "Rejected"],
    ["Reject", "Reject" as const, "Failed", "Rejected"],
    ["Approve", "Approve" as const, "Succeeded", "Approved"],
  ])("whose time is over counts as %s with onTimeout %s", async (_, onTimeout, phase, decision) => {
    const more = { timeoutSeconds: 60, ...(onTimeout === undefined ? {} : { onTimeout }) };
    const { world, key } = await asked(signed(more));
    expect(await reconcile(key, world.io)).toBe(60_000);
    world.clock.pass(60_000);
    await settle(world, key);
    expect(world.status("r").phase).toBe(phase);
    expect(world.status("r").approvals).toMatchObject([{ decision, by: "timeout" }]);
  });

  test("stops the clock of activeDeadlineSeconds", async () => {
    const { world, key, request } = await asked({ ...signed(), activeDeadlineSeconds: 100 });
    world.clock.pass(86_400_000);
    await settle(world, key);
    expect(world.status("r").phase).toBe("AwaitingApproval");
    world.annotate("r", { [`approval.oao.dev/${request}`]: "Approve:alice" });
    await settle(world, key);
    expect(world.status("r").phase).toBe("Succeeded");
  });

  test("ends with a cancelled run, and its question with it", async () => {
    const { world, key } = await asked(signed());
    world.apply("r", { ...signed(), desiredState: "Cancelled" });
    await settle(world, key);
    expect(world.status("r")).toMatchObject({ phase: "Cancelled", approvals: [] });
    expect(nodeOf(world, "sign-off")?.state).toBe("Cancelled");
  });

  test("is one of many: no more than 20 questions stand open at once, the others are asked as these are answered", async () => {
    const world = new World();
    const nodes = Array.from({ length: 120 }, (_node, i) => ({
      name: `a${i}`,
      approval: { message: "m".repeat(600) },
    }));
    const key = world.apply("r", { task: "t", nodes });
    await settle(world, key);
    const open = () => (world.status("r").approvals ?? []).filter(({ decision }) => decision === undefined);
    expect(open()).toHaveLength(20);
    expect(JSON.stringify(world.status("r")).length).toBeLessThan(40_000);
    while (open().length > 0) {
      world.annotate(
        "r",
        Object.fromEntries(open().map(({ request }) => [`approval.oao.dev/${request}`, "Approve:a"])),
      );
      await settle(world, key);
    }
    expect(world.status("r")).toMatchObject({ phase: "Succeeded", progress: "120/120" });
    expect(world.status("r").approvals).toHaveLength(20);
  });
});

describe("ttlSecondsAfterFinished", () => {
  test("deletes the object that long after its end, and not before", async () => {
    const world = new World();
    world.outputs = outputs;
    const key = world.apply("r", { ...diamond, ttlSecondsAfterFinished: 60 });
    await settle(world, key);
    expect(await reconcile(key, world.io)).toBe(60_000);
    world.clock.pass(59_999);
    expect(await reconcile(key, world.io)).toBe(1);
    world.clock.pass(1);
    expect(await reconcile(key, world.io)).toBeUndefined();
    expect(world.runs.has("r")).toBe(false);
  });

  test.each([
    ["Argo CD", { annotations: { "argocd.argoproj.io/tracking-id": "app:oao.dev/Execution:team-a/r" } }],
    ["Flux", { labels: { "kustomize.toolkit.fluxcd.io/name": "apps" } }],
    ["Helm", { labels: { "app.kubernetes.io/managed-by": "Helm" } }],
  ])("is not applied to an object that %s would create anew, and a condition says so", async (who, metadata) => {
    const world = new World();
    world.outputs = outputs;
    const key = world.apply("r", { ...diamond, ttlSecondsAfterFinished: 60 }, metadata);
    await settle(world, key);
    world.clock.pass(3_600_000);
    expect(await reconcile(key, world.io)).toBeUndefined();
    expect(world.status("r").conditions.find(({ type }) => type === "Expiring")).toMatchObject({
      status: "False",
      reason: "OwnedByGitOps",
      message: expect.stringContaining(`${who} keeps this object`) as string,
    });
  });
});

describe("the start of a run", () => {
  test("with nodes in a circle is refused with the circle named", async () => {
    const world = new World();
    await settle(
      world,
      world.apply("r", {
        task: "t",
        nodes: [
          { name: "a", dependsOn: ["b"] },
          { name: "b", dependsOn: ["a"] },
        ],
      }),
    );
    expect(reasonOf(world, "r")).toEqual(["False", "InvalidSpec"]);
    expect(world.status("r").conditions.find((each) => each.type === "Stalled")?.message).toContain("a -> b -> a");
    expect(world.orders).toEqual([]);
  });

  test("with values nested deeper than anything can be read is refused with the reason, and not looked at for ever", async () => {
    const deep = (levels: number) => JSON.parse(`${"[".repeat(levels)}${"]".repeat(levels)}`) as never;
    const world = new World();
    const specs: [string, ExecutionSpec][] = [
      ["input", { ...diamond, input: { deep: deep(2_000) } }],
      ["arguments", { ...diamond, nodes: [{ name: "a", tool: { ref: "t", arguments: { deep: deep(2_000) } } }] }],
    ];
    for (const [name, spec] of specs) {
      const key = world.apply(name, spec);
      await settle(world, key);
      expect(reasonOf(world, name)).toEqual(["False", "InvalidSpec"]);
    }
  });

  test("without the policy it names waits, says so, and goes on when the policy appears", async () => {
    const world = new World();
    world.outputs = { a: 1 };
    const key = world.apply("r", { task: "t", policyRef: { name: "standard" }, nodes: [{ name: "a" }] });
    expect(await reconcile(key, world.io)).toBe(10_000);
    expect(reasonOf(world, "r")).toEqual(["Unknown", "PolicyNotFound"]);
    expect(world.orders).toEqual([]);
    world.policyList = [policyNamed("standard", { maxTokens: 5 })];
    await settle(world, key);
    expect(world.status("r")).toMatchObject({
      phase: "Succeeded",
      policies: [{ namespace: "team-a", name: "standard" }],
    });
    expect((await world.store.view(uid, [])).execution?.account.limits).toEqual({ TotalTokens: 5 });
  });

  test.each([
    ["it names", { policyRef: { name: "broken" } }, undefined],
    ["that is a default of its namespace", {}, { "oao.dev/default": "true" }],
  ])("under an invalid policy %s fails closed, says why, and goes on when it is corrected", async (_, refs, labels) => {
    const world = new World();
    world.outputs = { a: 1 };
    world.policyList = [{ ...policyNamed("broken", { maxTokens: 5 }, labels), problem: "spec.budget is unknown" }];
    const key = world.apply("r", { task: "t", ...refs, nodes: [{ name: "a" }] });
    expect(await reconcile(key, world.io)).toBe(10_000);
    expect(reasonOf(world, "r")).toEqual(["Unknown", "PolicyInvalid"]);
    expect(world.status("r").conditions[0]?.message).toContain('"broken"');
    expect(world.status("r").conditions[0]?.message).toContain("spec.budget is unknown");
    expect(world.orders).toEqual([]);
    world.policyList = [policyNamed("broken", { maxTokens: 5 }, labels)];
    await settle(world, key);
    expect((await world.store.view(uid, [])).execution?.account.limits).toEqual({ TotalTokens: 5 });
  });

  test("with an image that no policy lists is refused before anything is started", async () => {
    const world = new World();
    const image = `registry.internal/mine@sha256:${"a".repeat(64)}`;
    const key = world.apply("r", { ...diamond, nodes: [{ name: "a", image, ...tool("1") }] });
    await settle(world, { ...key });
    expect(world.orders).toHaveLength(1); // a laptop has no images
    const strict = new World();
    strict.policyList = [
      policyNamed("p", { images: { allow: ["registry.internal/oao@*"] } }, { "oao.dev/default": "true" }),
    ];
    strict.apply("r", { ...diamond, nodes: [{ name: "a", image, ...tool("1") }] });
    await settle(strict, key);
    expect(reasonOf(strict, "r")).toEqual(["False", "PolicyViolation"]);
    expect(strict.orders).toEqual([]);
    expect(strict.status("r").conditions.find(({ type }) => type === "Succeeded")?.message).toBe(
      `PolicyViolation: Image Not Allowed: ${image} is not in the allow list (policy p, spec.images.allow)`,
    );
  });

  test("with an image that an Audit policy does not list runs, and the finding stands in its status", async () => {
    const world = new World();
    const image = `registry.internal/mine@sha256:${"a".repeat(64)}`;
    const spec: PolicySpec = { enforcement: "Audit", images: { allow: ["registry.internal/oao@*"] } };
    world.policyList = [policyNamed("p", spec, { "oao.dev/default": "true" })];
    world.outputs = outputs;
    await settle(world, world.apply("r", { ...diamond, nodes: [{ name: "a", image, ...tool("1") }] }));
    expect(world.status("r")).toMatchObject({
      phase: "Succeeded",
      auditFindings: [
        `PolicyViolation: Image Not Allowed: ${image} is not in the allow list (policy p, spec.images.allow)`,
      ],
    });
  });

  test("is not kept waiting by an invalid policy that does not govern it", async () => {
    const world = new World();
    world.outputs = { a: 1 };
    world.policyList = [{ ...policyNamed("other", {}), problem: "broken" }];
    await settle(world, world.apply("r", { task: "t", nodes: [{ name: "a" }] }));
    expect(world.status("r").phase).toBe("Succeeded");
  });

  test("is governed by the floor, the namespace's defaults and policyRef, and by nothing else", () => {
    const world = new World();
    world.apply("r", { task: "t", policyRef: { name: "mine" }, nodes: [{ name: "a" }] });
    const inNamespace = [
      policyNamed("mine", {}),
      policyNamed("other", {}),
      policyNamed("base", {}, { "oao.dev/default": "true" }),
    ];
    const found = governingPolicies(world.runs.get("r")!, "mine", [policyNamed("floor", {})], inNamespace);
    expect("reason" in found ? found : found.map(({ policy, role }) => `${role} ${policy.metadata.name}`)).toEqual([
      "Floor floor",
      "Default base",
      "Ref mine",
    ]);
  });

  test("fixes the execution hash, its parts and the generations of the policies, before the first worker", async () => {
    const world = new World();
    const standard = policyNamed("standard", { maxTokens: 5 });
    world.policyList = [{ ...standard, metadata: { ...standard.metadata, generation: 7 } }];
    const ran: ExecutionSpec = { task: "t", policyRef: { name: "standard" }, nodes: [{ name: "a" }] };
    const key = world.apply("r", ran);
    let atStart: unknown;
    world.before = (effect) => {
      if (effect === "start a#1") atStart = world.status("r");
    };
    await settle(world, key);
    const hash = executionHash(ran, [{ maxTokens: 5 }]);
    const fixed = {
      ...hash,
      policyHash: hash.hashParts.policy,
      policies: [{ namespace: "team-a", name: "standard", generation: 7 }],
    };
    expect(atStart).toMatchObject(fixed);
    expect(world.status("r")).toMatchObject(fixed);
  });

  test("with another hash than it expects is refused, with the parts that differ, before anything is started", async () => {
    const other = `sha256:${"0".repeat(64)}`;
    const { executionHash: hash, hashParts } = executionHash({ task: "t", nodes: [{ name: "a" }] }, []);
    const world = new World();
    const expectedHash = { task: hashParts.task, policy: other };
    await settle(world, world.apply("r", { task: "t", expectedHash, nodes: [{ name: "a" }] }));
    expect(reasonOf(world, "r")).toEqual(["False", "HashMismatch"]);
    expect(world.status("r")).toMatchObject({ phase: "Failed", executionHash: hash, hashParts });
    expect(world.status("r").conditions.find(({ type }) => type === "Stalled")?.message).toBe(
      `policy is ${hashParts.policy.slice(0, 19)}…, expected sha256:000000000000…; see what was hashed: oao hash -n team-a r --explain; if the change is meant, put the new digests into spec.expectedHash of a new Execution`,
    );
    expect(world.orders).toEqual([]);
    const sure = new World();
    sure.outputs = { a: 1 };
    const key = sure.apply("r", { task: "t", expectedHash: { hash, ...hashParts }, nodes: [{ name: "a" }] });
    await settle(sure, key);
    expect(sure.status("r").phase).toBe("Succeeded");
  });

  test("keeps the first snapshot that reached the journal, whatever the policies became meanwhile (G2)", async () => {
    const world = new World();
    const key = world.apply("r", { task: "t", nodes: [{ name: "a" }] });
    world.before = (effect) => {
      if (effect === "writeStatus") throw new Error("the host died");
    };
    await expect(reconcile(key, world.io)).rejects.toThrow("the host died");
    const first = (await world.store.view(uid, [])).execution?.snapshot;
    world.before = () => undefined;
    world.policyList = [policyNamed("late", { maxTokens: 1 }, { "oao.dev/default": "true" })];
    await settle(world, key);
    expect(world.status("r").snapshot).toBe(first);
    // What the status says of it is about that one too.
    expect(world.status("r")).toMatchObject({
      policies: [],
      ...executionHash({ task: "t", nodes: [{ name: "a" }] }, []),
    });
  });
});
