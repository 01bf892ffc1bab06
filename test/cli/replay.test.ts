import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { canonicalJson, sha256Hex } from "../../src/core/digest/digest.ts";
import { parseScript, type MockScriptInput } from "../../src/cli/mock-model/script.ts";
import { type MockModel, startMockModel } from "../../src/cli/mock-model/server.ts";
import { type Ended, type Workplace, workplace } from "./harness.ts";

const script: MockScriptInput = {
  rules: [
    { match: { prompt: "roll", turn: 0 }, reply: { toolCalls: [{ name: "dice", arguments: { sides: 6 } }] } },
    { match: { prompt: "wordy" }, reply: { tokens: 800, ignoreMaxTokens: true } },
    { match: { prompt: "slow" }, reply: { tokens: 60, stallAfterTokens: 10 } },
    { reply: { text: "said to $LAST_USER" } },
  ],
};
/** It leaves a mark each time that it is called. */
const dice = `import { appendFileSync } from "node:fs";
export const dice = ({ sides }) => { appendFileSync(process.env.HOME + "/rolls", "."); return { sides, rolled: 4 }; };
`;

let place: Workplace;
let server: MockModel;
beforeAll(async () => {
  place = workplace();
  server = await startMockModel({ script: parseScript(script, "script") });
  writeFileSync(join(place.folder, "dice.mjs"), dice);
  writeFileSync(join(place.folder, "rolls"), "");
  writeFileSync(join(place.folder, "small.yaml"), policy(500));
  writeFileSync(join(place.folder, "large.yaml"), policy(5_000));
  const { code, stderr } = await run("two");
  if (code !== 0) throw new Error(stderr);
});
afterAll(async () => {
  await place.end();
  await server.close();
});

const policy = (maxTokens: number) => `apiVersion: oao.dev/v1alpha1
kind: GovernancePolicy
metadata: { name: small }
spec: { maxTokens: ${maxTokens} }
`;
const manifest = (name: string, last: string) => `apiVersion: oao.dev/v1alpha1
kind: Execution
metadata: { name: ${name} }
spec:
  task: Roll and tell
  input: { topic: dice }
  models: [{ name: main, provider: openai, model: gpt-5-mini, baseURL: "${server.baseURL}" }]
  tools: [{ name: dice, effect: ReadOnly, module: { path: dice.mjs } }]
  agents: [{ name: a, model: main, systemPrompt: Be brief., tools: [dice] }]
  nodes:
    - { name: first, agent: { ref: a, prompt: roll } }
    - { name: each, forEach: { items: "[1, 2]" }, dependsOn: [first], agent: { ref: a, prompt: "item $(item)" } }
    - { name: last, dependsOn: [each], agent: { ref: a, prompt: "${last}" } }
`;

/** Steps: first has 1 to 3 (its model, the tool, its model), each[0] 4, each[1] 5, last 6. */
function run(name: string, last = "tell of $(input.topic)", ...flags: readonly string[]): Promise<Ended> {
  writeFileSync(join(place.folder, `${name}.yaml`), manifest(name, last));
  return place.oao(["run", `${name}.yaml`, ...flags]);
}

interface Finished {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly replay: unknown };
  readonly status: {
    readonly traceHash: string;
    readonly replay: { readonly reusedSteps: number; readonly liveSteps: number; readonly patchedSteps: number };
    readonly usage: { readonly totalTokens: number };
  };
}

/** The replay as an object, with what it called. */
async function replay(...args: readonly string[]) {
  const before = calls();
  const ended = await place.oao(["replay", ...args, "-o", "json"]);
  const after = calls();
  const called = { model: after.model - before.model, dice: after.dice - before.dice };
  return { ...ended, called, object: ended.code === 2 ? undefined : (JSON.parse(ended.stdout) as Finished) };
}

const calls = () => ({
  model: server.calls().length,
  dice: readFileSync(join(place.folder, "rolls"), "utf8").length,
});

describe("oao replay NAME", () => {
  it("makes no call, says that it is verified, and is a run of its own each time", async () => {
    const before = calls();
    const once = await place.oao(["replay", "two"]);
    expect(once).toMatchObject({ code: 0 });
    expect(JSON.parse(once.stdout)).toMatchObject({ steps: 6, times: 1 });
    expect(once.stderr).toContain("default/two-replay-1 replays two");
    expect(once.stderr).toMatch(
      /Verified: 6 steps went as in two \(sha256:[0-9a-f]{12}\), and it ended as that did \(Succeeded\)\. No call was made\./,
    );
    const named = await replay("two", "--strict", "--times", "3", "--name", "again");
    expect(named.stderr).toContain("6 steps went as in two, 3 times with the same trace");
    const parent = JSON.parse((await place.oao(["get", "two", "-o", "json"])).stdout) as Finished;
    expect(named.object).toMatchObject({
      metadata: { name: "again" },
      spec: { replay: { executionRef: { name: "two" }, mode: "Strict", times: 3 } },
      status: { traceHash: parent.status.traceHash, usage: { totalTokens: 0 } },
    });
    expect((await place.oao(["replay", "again"])).stderr).toContain("default/again-replay-1 replays again");
    expect(calls()).toEqual(before);
  });

  it("takes the next free name where others are made at the same time; one that was asked for only once", async () => {
    const names = (ended: readonly Ended[]) =>
      ended.map(({ stderr }) => /default\/(\S+) replays two/.exec(stderr)?.[1]).toSorted();
    const free = await Promise.all([1, 2, 3].map(() => place.oao(["replay", "two"])));
    expect(free.map(({ code }) => code)).toEqual([0, 0, 0]);
    expect(new Set(names(free)).size).toBe(3);
    const asked = await Promise.all([1, 2, 3].map(() => place.oao(["replay", "two", "--name", "wanted"])));
    expect(asked.map(({ code }) => code).toSorted()).toEqual([0, 2, 2]);
    for (const { stderr } of asked.filter(({ code }) => code !== 0))
      expect(stderr).toContain("Execution default/wanted exists already\n  give another --name");
  });

  it("exits with 5 where the record was changed under it, its chain made whole again, and names the place", async () => {
    expect(await run("edited")).toMatchObject({ code: 0 });
    for (const file of readdirSync(join(place.folder, ".oao/journals")).filter((name) => name.endsWith(".db"))) {
      const journal = new DatabaseSync(join(place.folder, ".oao/journals", file));
      const [{ task } = { task: 0 }] = journal
        .prepare('SELECT count(*) AS task FROM bodies WHERE bytes LIKE \'%"name":"edited"%\'')
        .all() as { task: number }[];
      if (task > 0) editRolled(journal);
      journal.close();
    }
    const diverged = await place.oao(["replay", "edited"]);
    expect(diverged.code).toBe(5);
    expect(diverged.stderr).toContain("Divergence: step 3 (node first): $.input.messages[3].content is");
  });
});

/** Whoever can write to the file can hash, too: only what is outside of it, the status, tells such an edit from a run. */
function editRolled(journal: DatabaseSync): void {
  const answers = journal.prepare("SELECT bytes FROM bodies WHERE bytes LIKE '%\"rolled\":4%'").all();
  const digests = new Map<string, string>();
  for (const { bytes } of answers as { bytes: string }[]) {
    const edited = bytes.replace('"rolled":4', '"rolled":6');
    digests.set(sha256Hex(bytes), sha256Hex(edited));
    journal
      .prepare("INSERT INTO bodies (digest, bytes) VALUES (?, ?)")
      .run(Buffer.from(sha256Hex(edited), "hex"), edited);
  }
  journal.exec("DROP TRIGGER entries_are_final");
  const write = journal.prepare("UPDATE entries SET hash = ?, bytes = ? WHERE id = ?");
  let head = "";
  for (const row of journal.prepare("SELECT id, bytes FROM entries ORDER BY id").all()) {
    const { id, bytes: stored } = row as { id: number; bytes: string };
    const text = [...digests].reduce((bytes, [from, to]) => bytes.replaceAll(from, to), stored);
    const entry = JSON.parse(text) as { index: number; prevHash: string };
    const bytes = canonicalJson(entry.index === 0 ? entry : { ...entry, prevHash: head });
    head = sha256Hex(bytes);
    write.run(Buffer.from(head, "hex"), bytes, id);
  }
}

describe("oao replay NAME --from-step N", () => {
  it("asks the model again from there on, and tools only with --tool-outputs Live", async () => {
    const recorded = await replay("two", "--from-step", "1");
    expect(recorded).toMatchObject({ code: 0, called: { model: 5, dice: 0 } });
    expect(recorded.object?.status.replay).toMatchObject({ fromStep: 1, reusedSteps: 1, liveSteps: 5 });
    const live = await replay("two", "--from-step", "2", "--tool-outputs", "Live");
    expect(live).toMatchObject({ code: 0, called: { model: 4, dice: 1 } });
    const end = await replay("two", "--from-step", "6");
    expect(end).toMatchObject({ code: 0, called: { model: 1, dice: 0 } });
    expect(end.object?.status.replay).toMatchObject({ reusedSteps: 5, liveSteps: 1, patchedSteps: 0 });
  });

  it("takes the place as NODE/STEP too, and NODE[ITEM]/STEP", async () => {
    const node = await replay("two", "--from", "first/3");
    expect(node.object?.status.replay).toMatchObject({ fromStep: 3 });
    const item = await replay("two", "--from", "each[1]/1");
    expect(item).toMatchObject({ code: 0, called: { model: 2, dice: 0 } });
    expect(item.object?.status.replay).toMatchObject({ fromStep: 5, reusedSteps: 4, liveSteps: 2 });
  });

  it("changes what --set, --input and --file say, and counts what was asked otherwise before it", async () => {
    const set = await replay("two", "--from-step", "3", "--set", "agents.a.systemPrompt=Be long.");
    expect(set.object?.status.replay).toMatchObject({ patchedSteps: 1, liveSteps: 4 });
    expect(await place.oao(["get", set.object?.metadata.name ?? "", "-o", "json"])).toMatchObject({
      stdout: expect.stringContaining('"systemPrompt": "Be long."'),
    });
    const input = await place.oao(["replay", "two", "--from-step", "6", "--input", "topic=cards"]);
    expect(input).toMatchObject({ code: 0, stdout: "said to tell of cards\n" });
    writeFileSync(
      join(place.folder, "changed.yaml"),
      "apiVersion: oao.dev/v1alpha1\nkind: Execution\nspec:\n  nodes:\n    - { name: last, agent: { ref: a, prompt: sing } }\n",
    );
    const fields = await place.oao(["replay", "two", "--from-step", "6", "--file", "changed.yaml"]);
    expect(fields).toMatchObject({ code: 0, stdout: "said to sing\n" });
    writeFileSync(join(place.folder, "whole.yaml"), manifest("two", "dance"));
    const whole = await place.oao(["replay", "two", "--from-step", "6", "--file", "whole.yaml"]);
    writeFileSync(join(place.folder, "governed.yaml"), `${manifest("two", "dance")}---\n${policy(500)}`);
    const governed = await place.oao(["replay", "two", "--from-step", "6", "--file", "governed.yaml"]);
    expect(governed).toMatchObject({ code: 0, stdout: "said to dance\n" });
    expect(whole).toMatchObject({ code: 0, stdout: "said to dance\n" });
  });

  it("goes on where a budget ended the run, once --policy raises it; strictly it ends as that did", async () => {
    expect(await run("short", "wordy", "--set", "policyRef.name=small", "--policy", "small.yaml")).toMatchObject({
      code: 3,
    });
    const strict = await place.oao(["replay", "short"]);
    expect(strict).toMatchObject({ code: 0, stderr: expect.stringContaining("it ended as that did (Failed)") });
    const same = await replay("short", "--from-step", "6");
    expect(same).toMatchObject({ code: 3, called: { model: 1, dice: 0 } });
    writeFileSync(join(place.folder, "other.yaml"), policy(5_000).replace("small", "other"));
    const idle = await replay("short", "--from-step", "6", "--policy", "other.yaml");
    expect(idle).toMatchObject({ code: 2, called: { model: 0, dice: 0 } });
    expect(idle.stderr).toContain("GovernancePolicy other of --policy would not govern the replay");
    const more = await replay("short", "--from-step", "6", "--policy", "large.yaml");
    expect(more).toMatchObject({ code: 0, called: { model: 1, dice: 0 } });
    expect(more.object?.status.replay).toMatchObject({ reusedSteps: 5, liveSteps: 1 });
  });
});

describe("oao replay refuses, with exit 2 and what to do", () => {
  it.each([
    [["two", "--from-step", "7"], "fromStep 7 is out of range: it has steps 1 to 6"],
    [["two", "--from", "last/2"], "step 2 of last is out of range: last has 1"],
    [["two", "--from", "last"], "--from last: expected NODE/STEP"],
    [["two", "--from-step", "none"], "--from-step"],
    [["two", "--from-step", "2", "--from", "last/1"], "give one of them"],
    [["two", "--strict", "--from-step", "2"], "--strict makes no calls"],
    [["two", "--times", "1001"], "at most 1000 are made in one command"],
    [["two", "--times", "2", "--from-step", "2"], "--times is for a strict replay"],
    [["two", "--tool-outputs", "Live"], "add --from-step N"],
    [["two", "--from-step", "2", "--tool-outputs", "Some"], "--tool-outputs"],
    [
      ["two", "--set", "agents.a.systemPrompt=x"],
      "what was recorded is changed (agents), and a Strict replay proves that nothing has",
    ],
    [["two", "--from-step", "2", "--set", "agents.b.systemPrompt=x"], "agents.b"],
    [["two", "--from-step", "2", "--set", "agents.a.model=none"], "what is changed does not fit together"],
    [["two", "--from-step", "2", "--set", "nosuch=1"], 'spec.nosuch: unknown field "nosuch"'],
    [["two", "--from-step", "2", "--set", "agents.a.systemPromt=x"], 'did you mean "systemPrompt"?'],
    [["two", "--from-step", "2", "--set", "task=7"], "spec.task: must be text, but is 7"],
    [["two", "--from-step", "2", "--set", "parallelism=-4"], "spec.parallelism: must be at least 1, but is -4"],
    [["two", "--set", "nodes={}"], "spec.nodes: must be a list, but is an object"],
    [["two", "--set", "nodes=[]"], "spec.nodes"],
    [["two", "--set", "metadata.name=x"], "spec.metadata: unknown field"],
    [["two", "--set", "__proto__.x=1"], '__proto__: unknown field "__proto__"'],
    [["two", "--from-step", "2", "--set", "nodes.first.when=true"], "spec.nodes[0].when: must be text, but is true"],
    [["two", "--from-step", "2", "--set", 'nodes.first.dependsOn=["last"]'], "first"],
    [["two", "--from-step", "2", "--set", "nodes.last.agent.prompt=$(nodes.nobody.output)"], "nobody"],
    [["two", "--name", "two"], "Execution default/two exists already"],
    [["two", "--name", "../../etc"], '--name "../../etc" is no name'],
    [["two", "--name", ""], '--name "" is no name'],
    [["two", "--name", "a\u001b[31m\n"], '--name "a\\u001b[31m\\n" is no name'],
    [["two", "--name", "a".repeat(64)], "at most 63 of them"],
    [["none"], "none"],
    [["two", "--from-step", "2", "--file", "none.yaml"], "none.yaml"],
  ])("%j", async (args, why) => {
    const before = calls();
    expect(await place.oao(["replay", ...args])).toMatchObject({ code: 2, stderr: expect.stringContaining(why) });
    expect(calls()).toEqual(before);
  });

  it("a file that leaves out a node", async () => {
    writeFileSync(
      join(place.folder, "less.yaml"),
      manifest("two", "x")
        .replace(/ {4}- { name: each.*\n/, "")
        .replace("[each]", "[first]"),
    );
    expect(await place.oao(["replay", "two", "--from-step", "2", "--file", "less.yaml"])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("has no node each"),
    });
  });

  it("a bundle, and the hint imports it", async () => {
    expect(await place.oao(["export", "two", "-O", "two.jsonl"])).toMatchObject({ code: 0 });
    for (const path of ["./two.jsonl", "two.jsonl", join(place.folder, "two.jsonl")])
      expect(await place.oao(["replay", path])).toMatchObject({
        code: 2,
        stderr: expect.stringContaining(`\n  a bundle becomes a run first: oao import ${path}, then`),
      });
    writeFileSync(join(place.folder, "bundle"), readFileSync(join(place.folder, "two.jsonl")));
    expect((await place.oao(["replay", "bundle"])).stderr).toContain("oao import ./bundle, then");
    expect((await place.oao(["get", "small.yaml"])).stderr).toContain("oao run small.yaml");
  });

  it("a step of a run that has none, and the whole Fork that it names runs", async () => {
    writeFileSync(join(place.folder, "stuck.yaml"), manifest("stuck", "x").replace("prompt: roll", "prompt: slow"));
    const before = server.calls().length;
    const running = place.start(["run", "stuck.yaml"]);
    await server.waitForCall(({ outcome, index }) => outcome === "stalled" && index >= before);
    running.child.kill("SIGKILL");
    await running.ended;
    expect(await place.oao(["cancel", "stuck"])).toMatchObject({ code: 0 });
    expect(await place.oao(["replay", "stuck", "--from-step", "1"])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("a manifest whose spec.replay has mode: Fork and no fromStep"),
    });
    writeFileSync(
      join(place.folder, "anew.yaml"),
      `apiVersion: oao.dev/v1alpha1
kind: Execution
metadata: { name: anew }
spec:
  replay: { executionRef: { name: stuck }, mode: Fork }
  nodes: [{ name: first, agent: { ref: a, prompt: roll } }]
`,
    );
    const whole = await place.oao(["run", "anew.yaml"]);
    expect(whole.code, whole.stderr).toBe(0);
  });

  it("a run that has not ended, until it has", async () => {
    writeFileSync(join(place.folder, "endless.yaml"), manifest("endless", "slow"));
    const before = server.calls().length;
    const running = place.start(["run", "endless.yaml"]);
    await server.waitForCall(({ outcome, index }) => outcome === "stalled" && index >= before);
    const refused = await place.oao(["replay", "endless"]);
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining("has not ended (Running)") });
    expect(refused.stderr).toContain("oao cancel endless");
    expect(await place.oao(["cancel", "endless"])).toMatchObject({ code: 0 });
    expect(await running.ended).toMatchObject({ code: 4 });
    expect(await place.oao(["replay", "endless"])).toMatchObject({
      code: 0,
      stderr: expect.stringContaining("it ended as that did (Cancelled)"),
    });
  });
});
