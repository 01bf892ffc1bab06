/** What the host itself reads of a record that is none, or was edited: the run ends, says RecordChanged and what, and is not read for ever. */
import { expect, test } from "vitest";
import type { ExecutionSpec } from "../../../src/api/types.ts";
import { canonicalJson, sha256Hex } from "../../../src/core/digest/digest.ts";
import { genesis, itemKey } from "../../../src/core/protocol/names.ts";
import { chain } from "../../../src/core/steps/chain.ts";
import { reconcile } from "../../../src/host/reconcile.ts";
import { settle, uid, World } from "./local-world.ts";

const tool = { tool: { ref: "t", arguments: {} } };
const ended = (world: World) => {
  const { phase, conditions, completedAt } = world.status("r");
  const told = conditions.find(({ type }) => type === "Succeeded");
  return { phase, reason: told?.reason, message: told?.message, hasEnded: completedAt !== undefined };
};

const intent = {
  type: "intent",
  attempt: 1,
  try: 1,
  path: [0, 0],
  kind: "tool",
  name: "t",
  requestDigest: "r",
  occurrence: 0,
  effect: "NonIdempotent",
  at: "2026-01-01T00:00:00.000Z",
} as const;
const junk = (bytes: string) => [{ index: 0, prevHash: genesis(uid, { node: "a" }), hash: sha256Hex(bytes), bytes }];
const edited = () => {
  const [first] = chain([intent as never], 0, genesis(uid, { node: "a" }));
  return first === undefined ? [] : [{ ...first, bytes: first.bytes.replace("NonIdempotent", "Idempotent") }];
};

test.each([
  ["that is not JSON", junk("junk"), "entry 0: its bytes are not JSON"],
  ["that is no entry", junk(canonicalJson({ index: 0 })), "entry 0: it begins the journal of another run or node"],
  ["that is null", junk("null"), "entry 0: its bytes say index undefined"],
  ["that was edited", edited(), "entry 0: its hash is not the hash of its bytes"],
])("an entry %s, of a worker that fell silent or left to have somebody asked", async (_what, entries, why) => {
  for (const way of ["silent", "asking"]) {
    const world = new World();
    const key = world.apply("r", { task: "t", nodes: [{ name: "a", ...tool, retry: { maxRetries: 3 } }] });
    await settle(world, key);
    const run = world.store.recordsOf(uid);
    (run.entries as Map<string, unknown>).set(itemKey({ node: "a" }), entries);
    if (way === "silent") world.clock.pass(6_000);
    else world.views = world.views.map((view) => ({ ...view, state: "Exited", exit: "waiting" }));
    await settle(world, key);
    expect(ended(world)).toMatchObject({ phase: "Failed", reason: "RecordChanged", hasEnded: true });
    expect(ended(world).message).toBe(`the journal of node a was changed after it was recorded: ${why}`);
    expect(await reconcile(key, world.io)).not.toBe(0);
  }
});

/** As soon as a worker has ended, before the host has read what it recorded. */
function afterStart(world: World, edit: () => void): void {
  const start = world.startWorker.bind(world);
  world.startWorker = async (order) => {
    await start(order);
    edit();
  };
}

type Node = NonNullable<ExecutionSpec["nodes"]>[number];
const reader = (more: Omit<Node, "name">): ExecutionSpec["nodes"] => [
  { name: "a", ...tool },
  { name: "b", ...more },
];
const each = { name: "a", forEach: { items: "[1, 2]" }, ...tool };

test.each<readonly [string, ExecutionSpec["nodes"]]>([
  ["a condition is made of", reader({ when: "nodes.a.output.v > 0", ...tool })],
  ["a forEach is made of", reader({ forEach: { items: "nodes.a.output.list" }, ...tool })],
  ["a question is made of", reader({ approval: { message: "Publish $(nodes.a.output.v)?" } })],
  ["a list of outputs is made of", [each]],
  ["the result is made of", [{ name: "a", ...tool }]],
])("an output that %s", async (_what, nodes) => {
  for (const part of ["root", "text"]) {
    const world = new World();
    world.outputs = { a: { v: 1, list: [1], text: "x".repeat(5_000) }, b: 1 };
    const key = world.apply("r", { task: "t", nodes });
    const { bodies } = world.store.recordsOf(uid);
    const isWanted = (bytes: string) => bytes.startsWith('{"list"') === (part === "root") && /xxx|"list"/.test(bytes);
    afterStart(world, () => {
      for (const [digest, bytes] of bodies)
        if (isWanted(bytes)) bodies.set(digest, bytes.replace(part === "root" ? "1" : "xxx", "2"));
    });
    await settle(world, key);
    expect(ended(world)).toMatchObject({ phase: "Failed", reason: "RecordChanged", hasEnded: true });
    expect(ended(world).message).toMatch(/was changed after it was recorded: body sha256:[0-9a-f]{64}/);
  }
});

test("an output that is gone is still lost, and not said to be edited", async () => {
  const world = new World();
  world.outputs = { a: { v: 1 } };
  const key = world.apply("r", { task: "t", nodes: reader({ when: "nodes.a.output.v > 0", ...tool }) });
  const { bodies } = world.store.recordsOf(uid);
  afterStart(world, () => {
    for (const [digest, bytes] of bodies) if (bytes === '{"v":1}') bodies.delete(digest);
  });
  await settle(world, key);
  expect(ended(world)).toMatchObject({ phase: "Failed", reason: "DurabilityLost" });
});
