/** Whatever is changed in a spec or in a record: a replay names the first place where the two part. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ExecutionSpec } from "../../src/api/execution.ts";
import type { Json } from "../../src/core/digest/json.ts";
import type { Divergence } from "../../src/core/replay/types.ts";
import { bodyOf, editJournal, editOutput } from "./edited-record.ts";
import { littlePlaces, littleShape } from "./replay-little.ts";
import { condition, placesOf, type Recorded, recordShape } from "./replay-recorded.ts";
import { plain } from "./replay-shape.ts";

type Change = (spec: ExecutionSpec) => void;

function changed(spec: ExecutionSpec, change: Change): ExecutionSpec {
  const draft = structuredClone(spec);
  change(draft);
  return draft;
}

function named<T extends { name: string }>(list: T[] | undefined, name: string): T {
  const found = list?.find((each) => each.name === name);
  if (found === undefined) throw new Error(`there is no ${name}`);
  return found;
}

const mutations: readonly (readonly [what: string, change: Change, found: Divergence])[] = [
  [
    "a prompt",
    ({ nodes }) => void (named(nodes, "gather").agent = { ref: "armed", prompt: "gather it" }),
    { node: "gather", step: 1, field: "$.input.messages[1].content", recorded: '"gather"', replayed: '"gather it"' },
  ],
  [
    "a system prompt",
    ({ agents }) => void (named(agents, "plain").systemPrompt = "Be long."),
    {
      node: "rate[0]",
      step: 9,
      field: "$.input.messages[0].content",
      recorded: '"Be brief."',
      replayed: '"Be long."',
    },
  ],
  [
    "the temperature",
    ({ models }) => void (named(models, "m").parameters = { temperature: 1 }),
    { node: "gather", step: 1, field: "$.input.request.temperature", recorded: "0", replayed: "1" },
  ],
  [
    "the model",
    ({ models }) => void (named(models, "m").model = "other"),
    { node: "gather", step: 1, field: "$.input.request.model", recorded: '"mock"', replayed: '"other"' },
  ],
  [
    "a tool's schema",
    ({ tools }) => {
      const { http } = named(tools, "search");
      if (http !== undefined) http.inputSchema = { type: "object", properties: { q: { type: "string" } } };
    },
    {
      node: "gather",
      step: 1,
      field: "$.input.request.tools[0].function.parameters.properties.q",
      replayed: '{"type":"string"}',
    },
  ],
  [
    "the order of an agent's tools",
    ({ agents }) => void named(agents, "armed").tools?.reverse(),
    {
      node: "gather",
      step: 1,
      field: "$.input.request.tools[0].function.name",
      recorded: '"search"',
      replayed: '"dice"',
    },
  ],
  [
    "the arguments of a tool node",
    ({ nodes }) => void (named(nodes, "look").tool = { ref: "search", arguments: { q: "elsewhere" } }),
    { node: "look", step: 8, field: "$.input.q", recorded: '"look"', replayed: '"elsewhere"' },
  ],
  [
    "the tool of a node",
    ({ nodes }) => void (named(nodes, "look").tool = { ref: "dice", arguments: { sides: 1 } }),
    { node: "look", step: 8, field: "$.call", recorded: '"tool search"', replayed: '"tool dice"' },
  ],
  [
    "an item",
    ({ nodes }) => void (named(nodes, "rate").forEach = { items: '["a", "c"]' }),
    {
      node: "rate[1]",
      step: 10,
      field: "$.input.messages[1].content",
      recorded: '"rate b"',
      replayed: '"rate c"',
    },
  ],
  [
    "the number of items",
    ({ nodes }) => void (named(nodes, "rate").forEach = { items: '["a", "b", "c"]' }),
    { node: "rate", field: "$.forEach.items.length", recorded: "2", replayed: "3" },
  ],
  [
    "a condition",
    ({ nodes }) => void (named(nodes, "rare").when = "true"),
    { node: "rare", field: "$.when", recorded: "false", replayed: "true" },
  ],
  [
    "a node that is removed from the middle",
    (spec) => {
      spec.nodes = spec.nodes.filter(({ name }) => name !== "look" && name !== "rare");
      spec.nodes = spec.nodes.map((node) =>
        node.name === "tell" ? { ...plain("tell", "tell"), dependsOn: ["rate"] } : node,
      );
    },
    { node: "look", step: 8, field: "$.node", recorded: '"look"' },
  ],
  [
    "a node that is removed, and was skipped",
    (spec) => void (spec.nodes = spec.nodes.filter(({ name }) => name !== "rare")),
    { node: "rare", field: "$.node", recorded: '"rare"' },
  ],
  [
    "a node that is added",
    ({ nodes }) => void nodes.push(plain("more", "more")),
    { node: "more", field: "$.node", replayed: '"more"' },
  ],
];

describe("a strict replay of another spec", () => {
  let recorded: Recorded;
  beforeAll(async () => {
    recorded = await recordShape(littleShape, { replaysAsWritten: true });
    await recorded.outside.stop();
  });
  afterAll(() => recorded.close());

  it("goes as the record does where nothing of it is asked otherwise: the order in which tools are declared says nothing", async () => {
    const { world, parent } = recorded;
    expect(placesOf(parent)).toEqual(littlePlaces);
    const child = await world.replay(
      parent.name,
      {},
      changed(parent.record.spec, ({ tools }) => void tools?.reverse()),
    );
    expect(condition(child, "ReplayVerified")).toMatchObject({ status: "True" });
    expect(child.status.traceHash).toBe(parent.status.traceHash);
  });

  it.each(mutations)("tells the place: %s", async (_, change, found) => {
    const { world, outside, parent } = recorded;
    const child = await world.replay(parent.name, {}, changed(parent.record.spec, change));
    expect(child.status.replay?.divergedAt).toEqual(found);
    expect(condition(child, "ReplayVerified")).toMatchObject({ status: "False", reason: "Divergence" });
    expect(condition(child, "Succeeded")).toMatchObject({ status: "False", reason: "Divergence" });
    expect(child.status.usage).toMatchObject({ totalTokens: 0, modelCalls: 0, toolCalls: 0 });
    expect(outside.connections).toBe(0);
  });

  it("ends as the record did once it is replayed in the recorded way again, also from a replay that diverged", async () => {
    const { world, parent } = recorded;
    const other = await world.replay(
      parent.name,
      {},
      changed(parent.record.spec, mutations[0]?.[1] ?? (() => undefined)),
    );
    const back = await world.replay(other.name, {}, parent.record.spec);
    expect(condition(back, "ReplayVerified")).toMatchObject({ status: "True" });
    expect(back.status.traceHash).toBe(parent.status.traceHash);
  });
});

describe("a record that was edited, with its chains made whole again", () => {
  const edits: readonly (readonly [what: string, edit: (recorded: Recorded) => void, found: Divergence])[] = [
    [
      "what a tool said",
      ({ world, parent }) =>
        editOutput(world, parent.uid, { node: "gather" }, "0.1", () => ({ tool: "search", echo: "lies" })),
      {
        node: "gather",
        step: 7,
        field: "$.input.messages[3].content",
        recorded: '"{\\"echo\\":{\\"q\\":\\"x\\"},\\"tool\\":\\"search\\"}"',
        replayed: '"{\\"echo\\":\\"lies\\",\\"tool\\":\\"search\\"}"',
      },
    ],
    [
      "what a tool was asked by a model",
      ({ world, parent }) =>
        editOutput(world, parent.uid, { node: "gather" }, "0.0", (said) =>
          JSON.parse(JSON.stringify(said).replaceAll('"x"', '"y"')),
        ),
      { node: "gather", step: 2, field: "$.input.q", recorded: '"x"', replayed: '"y"' },
    ],
    [
      "the last answer of an agent",
      ({ world, parent }) =>
        editOutput(world, parent.uid, { node: "tell" }, "0.0", (said) =>
          JSON.parse(JSON.stringify(said).replace("said", "lied")),
        ),
      {
        node: "tell",
        field: "$.output",
        recorded: '"said to tell [\\"said to rate a\\",\\"said to rate b\\"] look"',
        replayed: '"lied to tell [\\"said to rate a\\",\\"said to rate b\\"] look"',
      },
    ],
    [
      "the last answer of an agent, with the output that came of it",
      ({ world, parent }) => {
        const lie = (said: Json) => JSON.parse(JSON.stringify(said).replace("said", "lied")) as Json;
        editOutput(world, parent.uid, { node: "tell" }, "0.0", lie);
        editJournal(world, parent.uid, { node: "tell" }, (entry) =>
          entry.type === "finish"
            ? { ...entry, output: bodyOf(world, parent.uid, 'lied to tell ["said to rate a","said to rate b"] look') }
            : entry,
        );
      },
      {
        node: "",
        field: "$.traceHash",
        recorded: expect.any(String) as string,
        replayed: expect.any(String) as string,
      },
    ],
    [
      "a step that is taken out",
      ({ world, parent }) =>
        editJournal(world, parent.uid, { node: "tell" }, (entry) => (entry.type === "step" ? undefined : entry)),
      { node: "tell", field: "$.call", replayed: '"model m"' },
    ],
    [
      "a step that was another call",
      ({ world, parent }) =>
        editJournal(world, parent.uid, { node: "look" }, (entry) =>
          entry.type === "step" ? { ...entry, requestDigest: "0".repeat(64), name: "other" } : entry,
        ),
      { node: "look", step: 8, field: "$.call", recorded: '"tool other"', replayed: '"tool search"' },
    ],
  ];

  it.each(edits)("is told by a strict replay: %s", async (_, edit, found) => {
    const recorded = await recordShape(littleShape);
    try {
      edit(recorded);
      const child = await recorded.world.replay(recorded.parent.name);
      expect(child.status.replay?.divergedAt).toEqual(found);
      expect(condition(child, "ReplayVerified")).toMatchObject({ status: "False", reason: "Divergence" });
    } finally {
      await recorded.close();
    }
  });

  it("is told by a fork before it pays for a call", async () => {
    const recorded = await recordShape(littleShape);
    const { world, parent, outside } = recorded;
    try {
      edits[1]?.[1](recorded);
      const before = outside.count();
      const child = await world.replay(parent.name, { fromStep: 7 });
      expect(condition(child, "Succeeded")).toMatchObject({ status: "False", reason: "NodeFailed" });
      expect(child.status.nodes[0]).toMatchObject({ name: "gather", state: "Failed", reason: "Divergence" });
      expect(condition(child, "Succeeded")?.message).toContain('step 2 (node gather): $.input.q is "y", recorded: "x"');
      expect(outside.count()).toEqual(before);
      expect(child.status.usage).toMatchObject({ totalTokens: 0, modelCalls: 0, toolCalls: 0 });
    } finally {
      await recorded.close();
    }
  });
});
