import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { MockScriptInput } from "../../src/cli/mock-model/script.ts";
import { type MockModel, startMockModel } from "../../src/cli/mock-model/server.ts";
import { journalOf, traceFields, type Workplace, workplace } from "./harness.ts";

let place: Workplace;
let other: Workplace;
let server: MockModel;
const script: MockScriptInput = {
  rules: [
    {
      name: "tool",
      match: { prompt: "roll", times: 1 },
      reply: { toolCalls: [{ name: "dice", arguments: { sides: 6 } }] },
    },
    { reply: { text: "answer to $LAST_USER" } },
  ],
};
const dice = "export const dice = ({ sides }) => ({ sides, rolled: 4 });\n";
const manifest = (name: string, prompt: string) => `apiVersion: oao.dev/v1alpha1
kind: Execution
metadata: { name: ${name}, labels: { team: a }, annotations: { note: private } }
spec:
  task: Two in a row
  models: [{ name: main, provider: openai, model: gpt-5-mini, baseURL: "${server.baseURL}" }]
  tools: [{ name: dice, effect: ReadOnly, module: { path: dice.mjs } }]
  agents: [{ name: a, model: main, tools: [dice] }]
  nodes:
    - { name: first, agent: { ref: a, prompt: roll } }
    - { name: each, forEach: { items: "[1, 2, 3]" }, dependsOn: [first], agent: { ref: a, prompt: "item $(item)" } }
    - { name: last, dependsOn: [each], agent: { ref: a, prompt: "${prompt}" } }
`;

beforeEach(async () => {
  place = workplace();
  other = workplace();
  server = await startMockModel({ script });
  writeFileSync(join(place.folder, "dice.mjs"), dice);
});
afterEach(async () => {
  await Promise.all([place.end(), other.end()]);
  await server.close();
});

const run = async (name: string, prompt = "the end") => {
  writeFileSync(join(place.folder, `${name}.yaml`), manifest(name, prompt));
  expect(await place.oao(["run", `${name}.yaml`])).toMatchObject({ code: 0 });
};
const pathOf = (name: string) => join(place.folder, name);
const journalFiles = (folder: string) =>
  readdirSync(join(folder, ".oao/journals")).map((name) => join(folder, ".oao/journals", name));

describe("a run that moves to another folder", () => {
  it("is there what it was: same trace, same hash, and the very same bundle", async () => {
    await run("two");
    expect(await place.oao(["export", "two", "-O", "two.jsonl"])).toMatchObject({ code: 0, stdout: "" });
    expect((await place.oao(["export", "two"])).stdout).toBe(readFileSync(pathOf("two.jsonl"), "utf8"));
    expect(readFileSync(pathOf("two.jsonl"), "utf8")).not.toContain("private");
    const bundle = pathOf("two.jsonl");
    for (const given of [bundle, "two"]) {
      const verified = await place.oao(["verify", given]);
      expect(verified).toMatchObject({ code: 0, stderr: "" });
      expect(verified.stdout).toContain("is as it was recorded");
    }
    const imported = await other.oao(["import", bundle]);
    expect(imported).toMatchObject({ code: 0, stderr: expect.stringContaining("imported as default/two (Succeeded)") });
    expect(await other.oao(["import", bundle])).toMatchObject({
      code: 0,
      stderr: expect.stringContaining("is here already"),
    });
    for (const args of [
      ["trace", "two", "-o", "json"],
      ["trace", "two", "--canonical"],
      ["export", "two"],
      ["verify", "two"],
    ]) {
      const [there, here] = [await place.oao(args), await other.oao(args)];
      expect({ ...here, args }).toEqual({ ...there, args });
      expect(here.code).toBe(0);
    }
    expect((await place.oao(["trace", bundle, "-o", "json"])).stdout).toBe(
      (await place.oao(["trace", "two", "-o", "json"])).stdout,
    );
    expect((await other.oao(["get", "two"])).stdout).toMatch(/two +Succeeded +3\/3/);
    expect((await other.oao(["tree", "two"])).stdout).toMatch(/✔ last +Succeeded/);
    expect((await other.oao(["diff", "two", bundle])).code).toBe(0);
    expect(await other.oao(["resume", "two"])).toMatchObject({ stderr: expect.stringContaining("has ended") });
    writeFileSync(join(other.folder, "dice.mjs"), dice);
    const calls = server.calls().length;
    expect(await other.oao(["replay", "two"])).toMatchObject({ code: 0 });
    expect(server.calls()).toHaveLength(calls);
  });

  it("takes along what it reuses of the run that it replays, and stands without that one", async () => {
    await run("two");
    const forked = await place.oao(["replay", "two", "--from-step", "6", "--name", "fork"]);
    expect(forked.code, forked.stderr).toBe(0);
    const again = await place.oao(["replay", "fork", "--from-step", "7", "--name", "again"]);
    expect(again.code, again.stderr).toBe(0);
    expect((await place.oao(["export", "again", "-O", "again.jsonl"])).code).toBe(0);
    expect(await other.oao(["import", pathOf("again.jsonl")])).toMatchObject({ code: 0 });
    for (const args of [
      ["trace", "again", "-o", "json"],
      ["trace", "again", "--canonical"],
      ["export", "again"],
      ["verify", "again"],
    ]) {
      const [there, here] = [await place.oao(args), await other.oao(args)];
      expect({ ...here, args }).toEqual({ ...there, args });
      expect(here.code).toBe(0);
    }
    expect((await place.oao(["diff", "again", "again.jsonl"])).code).toBe(0);
    expect((await place.oao(["diff", "fork", "two"])).stdout).toMatch(/^=/m);
    // What it reuses may be here already, as a run of its own or as what another one took along.
    await place.oao(["export", "fork", "-O", "fork.jsonl"]);
    await place.oao(["export", "two", "-O", "two.jsonl"]);
    expect(await other.oao(["import", pathOf("fork.jsonl")])).toMatchObject({ code: 0 });
    expect(await other.oao(["import", pathOf("two.jsonl")])).toMatchObject({ code: 0 });
    for (const name of ["two", "fork", "again"]) expect(await other.oao(["verify", name])).toMatchObject({ code: 0 });
    const text = readFileSync(pathOf("again.jsonl"), "utf8").replace(
      '\\"outcome\\":\\"Ok\\"',
      '\\"outcome\\":\\"Cut\\"',
    );
    writeFileSync(pathOf("changed.jsonl"), text);
    expect(await place.oao(["verify", "changed.jsonl"])).toMatchObject({
      code: 8,
      stderr: expect.stringMatching(/entry \d+ of node first of run [0-9a-f-]{36}: its hash is not/),
    });
    const strict = await place.oao(["replay", "two", "--name", "strict"]);
    expect(strict.code, strict.stderr).toBe(0);
    expect((await place.oao(["diff", "two", "strict"])).code).toBe(0);
    expect(await place.oao(["export", "strict"])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("oao verify two"),
    });
  });

  it("has the steps that it had, where it reuses some inside of a node", async () => {
    await run("two");
    expect(await place.oao(["replay", "two", "--from-step", "3", "--name", "inside"])).toMatchObject({ code: 0 });
    await place.oao(["export", "inside", "-O", "inside.jsonl"]);
    expect(await other.oao(["import", pathOf("inside.jsonl")])).toMatchObject({ code: 0 });
    writeFileSync(join(other.folder, "dice.mjs"), dice);
    for (const fromStep of [3, 7]) {
      const again = await other.oao(["replay", "inside", "--from-step", `${fromStep}`, "-o", "json"]);
      expect(again.code, again.stderr).toBe(0);
      const { status } = JSON.parse(again.stdout) as { status: { replay: unknown } };
      expect(status.replay).toMatchObject({ fromStep, reusedSteps: fromStep - 1, patchedSteps: 0 });
    }
  });

  it("is refused under a taken name, as a second copy, and when it is no bundle", async () => {
    await run("two");
    await place.oao(["export", "two", "-O", "two.jsonl"]);
    expect(await place.oao(["import", "two.jsonl", "--as", "copy"])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("this run is here as default/two already"),
    });
    expect(await other.oao(["import", pathOf("two.jsonl"), "--as", "copy", "-n", "audit"])).toMatchObject({ code: 0 });
    expect((await other.oao(["verify", "copy", "-n", "audit"])).code).toBe(0);
    await run("copy");
    await place.oao(["export", "copy", "-O", "copy.jsonl"]);
    expect(await other.oao(["import", pathOf("copy.jsonl"), "-n", "audit"])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("there is another Execution audit/copy here"),
    });
    writeFileSync(pathOf("none.jsonl"), "{}\n");
    expect(await place.oao(["import", "none.jsonl"])).toMatchObject({
      code: 8,
      stderr: expect.stringContaining("line 1"),
    });
    expect(await place.oao(["import", "missing.jsonl"])).toMatchObject({ code: 2 });
    mkdirSync(pathOf("folder"));
    for (const path of ["no/such/folder", "folder"])
      expect(await place.oao(["export", "two", "-O", path])).toMatchObject({
        code: 2,
        stderr: expect.stringMatching(`^error: ${path} cannot be written: .*\n  give another file`),
      });
    execFileSync("sh", ["-c", "mkfifo pipe"], { cwd: place.folder });
    expect(await place.oao(["export", "two", "-O", "pipe"])).toMatchObject({
      code: 2,
      stderr: "error: pipe is no file\n  to a pipe or device: oao export NAME > PATH\n",
    });
    expect(statSync(pathOf("pipe")).isFIFO()).toBe(true);
  });
});

describe("a fork of a fork", () => {
  it("is brought back where the fork that it replays is still here, and where that one's parent is gone too", async () => {
    await run("two");
    const parent = journalFiles(place.folder);
    expect((await place.oao(["replay", "two", "--from-step", "7", "--name", "fork"])).code).toBe(0);
    const before = journalFiles(place.folder);
    expect((await place.oao(["replay", "fork", "--from-step", "7", "--name", "again"])).code).toBe(0);
    const own = journalFiles(place.folder).filter((file) => !before.includes(file));
    expect((await place.oao(["export", "again", "-O", "again.jsonl"])).code).toBe(0);
    for (const file of parent) rmSync(file);
    expect(await place.oao(["trace", "again"])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("the journal of default/two, which again replays, is gone"),
    });
    for (const gone of [[], own, [...own, ...parent]]) {
      for (const file of gone) rmSync(file, { force: true });
      expect(await place.oao(["import", "again.jsonl"])).toMatchObject({ code: 0 });
      expect(await place.oao(["verify", "again"])).toMatchObject({ code: 0 });
    }
  });
});

describe("a run whose journal's time is over", () => {
  it("is told as gone, also of a strict replay of it, and a bundle brings it back", async () => {
    await run("two");
    await place.oao(["export", "two", "-O", "two.jsonl"]);
    const parent = journalFiles(place.folder);
    expect((await place.oao(["replay", "two", "--name", "strict"])).code).toBe(0);
    for (const file of parent) rmSync(file);
    for (const name of ["two", "strict"])
      expect(await place.oao(["trace", name])).toMatchObject({
        code: 2,
        stdout: "",
        stderr: expect.stringMatching(/the journal of default\/two.* is gone: .*\n {2}a bundle .*: oao import FILE/),
      });
    expect(await place.oao(["replay", "two"])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("the journal of default/two is gone"),
    });
    // A file made anew by a look would make the page say that there were no steps.
    expect(parent.filter((file) => existsSync(file))).toEqual([]);
    expect(await place.oao(["replay", "strict"])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("the journal of default/two, which strict replays, is gone"),
    });
    expect(await place.oao(["import", "two.jsonl"])).toMatchObject({
      code: 0,
      stderr: expect.stringContaining("two imported as default/two (Succeeded)"),
    });
    for (const args of [
      ["verify", "two"],
      ["trace", "strict"],
      ["replay", "strict"],
    ])
      expect({ ...(await place.oao(args)), args }).toMatchObject({ code: 0 });
    const [file = ""] = parent.filter((path) => path.endsWith(".db"));
    for (const path of parent) rmSync(path, { force: true });
    expect(await place.oao(["import", "two.jsonl", "--as", "again"])).toMatchObject({ code: 0 });
    expect((await place.oao(["verify", "again"])).code).toBe(0);
    writeFileSync(file, "no journal");
    expect(await place.oao(["trace", "again"])).toMatchObject({
      code: 7,
      stderr: expect.stringContaining(`the journal file ${file} is damaged`),
    });
  });
});

describe("a run that was tampered with", () => {
  it("is not exported, verified or compared, and the entry is named", async () => {
    await run("two");
    await place.oao(["export", "two", "-O", "two.jsonl"]);
    const text = readFileSync(pathOf("two.jsonl"), "utf8");
    writeFileSync(pathOf("changed.jsonl"), text.replace('\\"rolled\\":4', '\\"rolled\\":6'));
    for (const args of [
      ["verify", "changed.jsonl"],
      ["import", "changed.jsonl"],
      ["diff", "two", "changed.jsonl"],
    ]) {
      expect(await place.oao(args)).toMatchObject({
        code: 8,
        stderr: expect.stringMatching(/body sha256:[0-9a-f]{64}: it does not have its digest/),
      });
    }
    const journal = journalOf(place.folder);
    journal.exec(
      "DROP TRIGGER entries_are_final; UPDATE entries SET bytes = replace(bytes, '\"try\":1', '\"try\":2') WHERE id % 4294967296 = 3",
    );
    journal.close();
    for (const args of [
      ["verify", "two"],
      ["export", "two"],
      ["export", "two", "-O", "other.jsonl"],
    ]) {
      expect(await place.oao(args)).toMatchObject({
        code: 8,
        stdout: "",
        stderr: expect.stringMatching(/entry 3 of node first: its hash is not the hash of its bytes/),
      });
    }
    expect(readdirSync(place.folder).filter((name) => name.includes("other"))).toEqual([]);
    for (const args of [
      ["trace", "two"],
      ["diff", "two", "two"],
      ["replay", "two"],
      ["replay", "two", "--from-step", "7"],
    ]) {
      expect({ ...(await place.oao(args)), args }).toMatchObject({
        code: 8,
        stdout: "",
        stderr: expect.stringMatching(
          /node first was changed after it was recorded: entry 3: its hash is not .*\n {2}all of it .*: oao verify NAME/,
        ),
      });
    }
    expect((await place.oao(["get", "two-replay-1"])).code).toBe(2);
  });

  it("in an answer is neither shown nor replayed", async () => {
    await run("two");
    const journal = journalOf(place.folder);
    const { changes } = journal
      .prepare("UPDATE bodies SET bytes = replace(bytes, '\"rolled\":4', '\"rolled\":6') WHERE bytes LIKE '%rolled%'")
      .run();
    journal.close();
    expect(changes).toBeGreaterThan(0);
    const calls = server.calls().length;
    for (const args of [
      ["trace", "two"],
      ["replay", "two"],
      ["replay", "two", "--from-step", "3"],
    ]) {
      expect({ ...(await place.oao(args)), args }).toMatchObject({
        code: 8,
        stderr: expect.stringMatching(/body sha256:[0-9a-f]{64} was changed after it was recorded/),
      });
    }
    expect(server.calls()).toHaveLength(calls);
  });

  it("at its end is found out by the head in its status", async () => {
    await run("two");
    const journal = journalOf(place.folder);
    journal.exec("DROP TRIGGER entries_stay; DELETE FROM entries WHERE id IN (SELECT max(id) FROM entries)");
    journal.close();
    expect(await place.oao(["verify", "two"])).toMatchObject({
      code: 8,
      stderr: expect.stringMatching(/status\.journalHead/),
    });
  });
});

describe("oao verify --file", () => {
  it("never passes without a replay", async () => {
    writeFileSync(
      pathOf("digests.yaml"),
      `apiVersion: oao.dev/v1alpha1
kind: GovernancePolicy
metadata: { name: digests, labels: { oao.dev/default: "true" } }
spec: { recording: { content: DigestOnly } }
`,
    );
    writeFileSync(pathOf("two.yaml"), manifest("two", "the end"));
    expect(await place.oao(["run", "two.yaml", "--policy", "digests.yaml"])).toMatchObject({ code: 0 });
    await place.oao(["export", "two", "-O", "two.jsonl"]);
    expect(await place.oao(["verify", "two.jsonl"])).toMatchObject({ code: 0 });
    for (const [args, why] of [
      [["--file", "two.yaml"], "--file two.yaml asks for a replay, and there is none: two.jsonl has no answers"],
      [["--times", "2"], "--times 2 asks for a replay, and there is none: two.jsonl has no answers"],
      [["--file", "two.yaml", "--no-replay"], "there is none: --no-replay leaves out the replay"],
    ] as const)
      expect(await place.oao(["verify", "two.jsonl", ...args])).toMatchObject({
        code: 2,
        stdout: "",
        stderr: expect.stringContaining(why),
      });
  });
});

describe("oao diff", () => {
  it("says in which steps and fields two runs differ, and exits with 1; of a run and itself, with 0", async () => {
    await run("two");
    await run("three", "the very end");
    // The tool is asked for once only.
    const { code, stdout } = await place.oao(["diff", "two", "three"]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^ +STEP +NODE +KIND/);
    expect(stdout).toMatch(/~ +7 → 5 +last +model +main +7 → 9/);
    expect(stdout).toMatch(/- +3 +first +model +main +\d+ +[\d.]+s +only in the first/);
    expect(stdout).toContain("    only in ids and metadata that the provider makes anew (--all)");
    expect(stdout).not.toContain("$.output.id");
    expect(stdout).toContain("    $.input.messages[0].content");
    expect(stdout).toMatch(/- .*the end/);
    expect(stdout).toMatch(/\+ .*the very end/);
    expect(stdout).toMatch(/RUN +PHASE +STEPS +TOKENS +TIME +TRACEHASH/);
    const json = JSON.parse((await place.oao(["diff", "two", "three", "-o", "json"])).stdout) as {
      same: boolean;
      a: { steps: number };
      counts: Record<string, number>;
      steps: { node: string; verdict: string; differences?: { path: string; a: unknown; b: unknown }[] }[];
    };
    expect(json.same).toBe(false);
    expect(Object.values(json.counts).reduce((sum, count) => sum + count, 0)).toBe(json.steps.length);
    expect(json.steps.at(-1)?.differences).toContainEqual({
      path: "$.input.messages[0].content",
      a: "the end",
      b: "the very end",
    });
    const same = await place.oao(["diff", "two", "two"]);
    expect(same.code).toBe(0);
    expect(same.stdout).toContain("the same steps with the same answers");
    expect(await place.oao(["diff", "two", "none"])).toMatchObject({ code: 2 });
  });
});

it("every step's trace has every field, in each format", async () => {
  await run("two");
  const rows = JSON.parse((await place.oao(["trace", "two", "-o", "json"])).stdout) as Record<string, unknown>[];
  const lines = (await place.oao(["trace", "two", "-o", "jsonl"])).stdout.trim().split("\n");
  expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual(rows);
  expect(rows.length).toBeGreaterThan(5);
  for (const row of rows) {
    expect(Object.keys(row)).toEqual(expect.arrayContaining([...traceFields]));
    expect(row).toMatchObject({ execution_id: expect.any(String), step_number: expect.any(Number), state: "Ok" });
    expect(row["input"]).not.toBeNull();
    expect(Number.isNaN(Date.parse(String(row["timestamp"])))).toBe(false);
  }
  expect(rows.map((row) => row["step_number"])).toEqual(rows.map((_, index) => index + 1));
  expect(rows.find((row) => row["node"] === "first")?.["tool_calls"]).toEqual([
    { name: "dice", arguments: { sides: 6 } },
  ]);
  expect(rows.filter((row) => row["kind"] === "model").every((row) => row["token_usage"] !== null)).toBe(true);
});
