/** Whatever is changed in a spec or in a record: a replay names the first place where the two part, or counts what it patched. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ExecutionSpec, ManifestSpec } from "../../src/api/execution.ts";
import type { Json } from "../../src/core/digest/json.ts";
import type { Divergence } from "../../src/core/replay/types.ts";
import { bodyOf, editJournal, editOutput } from "./edited-record.ts";
import { condition, expectVerified, placesOf, type Recorded, recordShape } from "./replay-recorded.ts";
import { armed, base, echo, plain, type ReplayShape } from "./replay-shapes.ts";

const shape: ReplayShape = {
  name: "of everything a little",
  spec: (urls) => ({
    ...base(urls, ["search", "dice"]),
    nodes: [
      armed("gather", "gather"),
      { ...plain("rate", "rate $(item)"), dependsOn: ["gather"], forEach: { items: '["a", "b"]' } },
      { name: "look", dependsOn: ["gather"], tool: { ref: "search", arguments: { q: "look" } } },
      {
        ...plain("tell", "tell $(nodes.rate.output) $(nodes.look.output.echo.q)"),
        when: 'nodes.look.output.echo.q == "look"',
      },
      { ...plain("rare", "rare"), when: 'nodes.look.output.echo.q == "other"' },
    ],
  }),
  script: {
    rules: [
      {
        match: { prompt: "gather", turn: 0 },
        reply: {
          toolCalls: [
            { name: "search", arguments: { q: "x" } },
            { name: "dice", arguments: { sides: 6 } },
          ],
        },
      },
      echo,
    ],
  },
  end: ["Succeeded", "Succeeded"],
};

/** Where step numbers of the tests below come from. */
const places = [
  "gather 0.0",
  "gather 0.1",
  "gather 0.2.0.0",
  "gather 0.2.1.0",
  "gather 0.2.2.0",
  "gather 0.2",
  "gather 1.0",
  "look 0.1",
  "rate[0] 0.0",
  "rate[1] 0.0",
  "tell 0.0",
];

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
    recorded = await recordShape(shape, { replaysAsWritten: true });
    await recorded.outside.stop();
  });
  afterAll(() => recorded.close());

  it("goes as the record does where nothing of it is asked otherwise: the order in which tools are declared says nothing", async () => {
    const { world, parent } = recorded;
    expect(placesOf(parent)).toEqual(places);
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
    const recorded = await recordShape(shape);
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
    const recorded = await recordShape(shape);
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

describe("a fork with a patch", () => {
  let recorded: Recorded;
  beforeAll(async () => {
    recorded = await recordShape(shape);
  });
  afterAll(() => recorded.close());

  /** Model steps of gather ask otherwise, its tools do not; what the patch does not touch is not patched. */
  const patches: readonly (readonly [what: string, patch: ManifestSpec])[] = [
    ["a prompt", { nodes: [{ name: "gather", agent: { ref: "armed", prompt: "gather it" } }] }],
    ["a system prompt", { agents: [{ name: "armed", model: "m", systemPrompt: "Use few tools." }] }],
    ["the temperature", { models: [{ name: "m", provider: "openai", model: "mock", parameters: { temperature: 1 } }] }],
    ["the order of tools", { agents: [{ name: "armed", model: "m", tools: ["dice", "search"] }] }],
    ["a tool's description", { tools: [{ name: "search", description: "Look it up" }] }],
  ];

  it.each(patches)("matches its prefix by position and counts what was asked otherwise: %s", async (_, patch) => {
    const { world, parent, outside } = recorded;
    for (const n of [1, 2, 6, 7]) {
      const before = outside.count();
      const child = await world.replay(parent.name, { fromStep: n }, patch);
      expect(condition(child, "Succeeded"), `step ${n}`).toMatchObject({ status: "True" });
      expect(child.status.replay, `step ${n}`).toMatchObject({ patchedSteps: n === 1 ? 0 : 1, fromStep: n });
      // One answer or two of gather, two rates and tell: everything else is recorded.
      expect(outside.count().model - before.model, `step ${n}`).toBe((n === 1 ? 2 : 1) + 3);
      expect(outside.count().tool, `step ${n}`).toBe(before.tool);
      await expectVerified(world, child);
    }
  });

  it("counts nothing where what it changes is asked after its cursor only, or not at all", async () => {
    const { world, parent } = recorded;
    const patch: ManifestSpec = { nodes: [{ name: "tell", agent: { ref: "plain", prompt: "tell it" } }] };
    const after = await world.replay(parent.name, { fromStep: 7 }, patch);
    const before = await world.replay(parent.name, { from: { node: "tell", step: 1 } }, patches[0]?.[1]);
    expect([after, before].map(({ status }) => status.replay?.patchedSteps)).toEqual([0, 0]);
    expect(before.live.map(({ place }) => place)).toEqual(["tell 0.0"]);
    await expectVerified(world, after);
    await expectVerified(world, before);
  });

  it("is replayed from a step on itself, patched again or not, as is a strict replay of it", async () => {
    const { world, parent } = recorded;
    const child = await world.replay(parent.name, { fromStep: 7 }, patches[0]?.[1]);
    const strict = await expectVerified(world, child);
    // A strict replay has no record of its own: its parent's is what is forked.
    for (const from of [child, strict]) {
      const again = await world.replay(from.name, { from: { node: "tell", step: 1 } });
      expect(again.live.map(({ place }) => place)).toEqual(["tell 0.0"]);
      expect(placesOf(again)).toEqual(places);
      expect(again.status.replay).toMatchObject({ parentUID: child.uid, reusedSteps: places.length - 1, liveSteps: 1 });
      await expectVerified(world, again);
    }
    const more = await world.replay(child.name, { fromStep: 7 }, patches[1]?.[1]);
    expect(more.status.replay).toMatchObject({ patchedSteps: 1 });
    await expectVerified(world, more);
  });

  it("answers a tool whose schema was changed from the record, and calls one that was not recorded", async () => {
    const { world, parent, outside } = recorded;
    const before = outside.count().tool;
    const patch: ManifestSpec = { nodes: [{ name: "look", tool: { ref: "search", arguments: { q: "elsewhere" } } }] };
    const child = await world.replay(parent.name, { from: { node: "look", step: 1 } }, patch);
    expect(child.live.filter(({ kind }) => kind === "tool")).toEqual([{ place: "look 0.1", kind: "tool" }]);
    expect(outside.count().tool - before).toBe(1);
    // tell's condition does not hold any more.
    expect(child.status.nodes.find(({ name }) => name === "tell")).toMatchObject({ state: "Skipped" });
    await expectVerified(world, child);
  });

  it("ends with a divergence where a call of the prefix cannot be made any more", async () => {
    const { world, parent } = recorded;
    const child = await world.replay(
      parent.name,
      { fromStep: 7 },
      { agents: [{ name: "armed", model: "m", tools: ["search"] }] },
    );
    expect(child.status.nodes[0]).toMatchObject({ name: "gather", state: "Failed", reason: "Divergence" });
    expect(condition(child, "Succeeded")?.message).toContain("step 3 (node gather): $.call is not there");
    expect(child.status.usage).toMatchObject({ totalTokens: 0, modelCalls: 0 });
  });
});
