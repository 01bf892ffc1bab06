import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { processIdentity } from "../../src/adapters/local/process-identity.ts";
import type { MockScriptInput } from "../../src/cli/mock-model/script.ts";
import { type MockModel, startMockModel } from "../../src/cli/mock-model/server.ts";
import { eventually } from "../support/patience.ts";
import { journalOf, modelAt, sample, type Workplace, workplace } from "./harness.ts";

let place: Workplace;
let server: MockModel;
let model: string;
/** Three agents in a row; the first answer to the second is long and slow, so that there is time to be killed in. */
const script: MockScriptInput = {
  rules: [
    { name: "slow", match: { prompt: "slow", times: 1 }, reply: { tokens: 100_000, tokensPerSecond: 50 } },
    { reply: { text: "answer to $LAST_USER" } },
  ],
};
const manifest = (extra = "") => `apiVersion: oao.dev/v1alpha1
kind: Execution
metadata: { name: chain }
spec:
  task: Three in a row
  models: [{ name: main, provider: openai, model: gpt-5-mini, baseURL: "${model}" }]
  agents: [{ name: a, model: main }]
  nodes:
    - { name: first, agent: { ref: a, prompt: quick } }
    - { name: second, dependsOn: [first], agent: { ref: a, prompt: slow } }
    - { name: third, dependsOn: [second], agent: { ref: a, prompt: "then $(nodes.second.output)" } }
${extra}`;

beforeEach(async () => {
  place = workplace();
  server = await startMockModel({ script });
  model = server.baseURL;
  writeFileSync(join(place.folder, "chain.yaml"), manifest());
});
afterEach(async () => {
  await place.end();
  await server.close();
});

const status = async (name = "chain") => {
  const { stdout } = await place.oao(["get", name, "-o", "json"]);
  return (
    JSON.parse(stdout) as {
      status: {
        phase: string;
        nodes: { name: string; state: string; attempt?: number; steps?: number }[];
        usage: { totalTokens: number; lostTokens: number };
        traceHash: string;
      };
    }
  ).status;
};
const withoutOutput = (lines: string) =>
  lines
    .trim()
    .split("\n")
    .map((line) => ({ ...(JSON.parse(line) as object), output: undefined }));
/** Pids of the workers that the index knows. */
const workers = (home = ".oao") => {
  const index = new DatabaseSync(join(place.folder, home, "index.db"), { readOnly: true });
  const pids = (index.prepare("SELECT pid FROM workers").all() as { pid: number }[]).map((row) => row.pid);
  index.close();
  return pids;
};
const quick = () => manifest().replace("prompt: slow", "prompt: quick");
const startSlow = async () => {
  const run = place.start(["run", "chain.yaml"]);
  // The call is on its way: its first tokens are here, and paid for.
  await server.waitForCall((call) => call.ruleName === "slow" && call.tokens > 20);
  return run;
};

describe("Ctrl-C", () => {
  it("suspends; oao resume goes on and repeats nothing that is recorded", async () => {
    const run = await startSlow();
    run.child.kill("SIGINT");
    const { code, stderr } = await run.ended;
    expect(stderr).toContain("Go on: oao resume chain");
    expect(code).toBe(6);
    expect(await status()).toMatchObject({ phase: "Suspended" });
    expect(workers()).toEqual([]);
    const before = await place.oao(["trace", "chain", "-o", "json"]);
    expect(before.stderr).toContain("the run has not ended: steps have no numbers yet");
    expect((await place.oao(["trace", "chain", "--canonical"])).stderr).toMatch(
      /the run has not ended: .* as they are so far, .*\ntraceHash sha256:/,
    );
    const resumed = await place.oao(["resume", "chain"]);
    expect(resumed.stderr).toContain("Succeeded");
    expect(resumed.stderr).not.toMatch(/ first +Succeeded/);
    expect(resumed.code).toBe(0);
    expect(resumed.stdout).toBe("answer to then answer to slow\n");
    const after = await place.oao(["trace", "chain", "-o", "json"]);
    const hashes = (text: string) =>
      (JSON.parse(text) as { hash: string; node: string }[])
        .filter((row) => row.node === "first")
        .map((row) => row.hash);
    expect(hashes(after.stdout)).toEqual(hashes(before.stdout));
    expect(hashes(after.stdout)).toHaveLength(1);
    // First, the cut one, the cut one again, third: the recorded answer was not asked for again.
    expect(server.calls()).toHaveLength(4);
  });

  it("twice stops at once, and the run can still be resumed", async () => {
    const run = await startSlow();
    run.child.kill("SIGINT");
    await run.said("suspending");
    run.child.kill("SIGINT");
    const { code } = await run.ended;
    expect(code).toBe(6);
    expect(workers()).toEqual([]);
    expect(await place.oao(["resume", "chain"])).toMatchObject({ code: 0 });
  });
});

describe("a strict replay of a thousand times", () => {
  beforeEach(async () => {
    writeFileSync(join(place.folder, "chain.yaml"), quick());
    const { code, stderr } = await place.oao(["run", "chain.yaml"]);
    if (code !== 0) throw new Error(stderr);
  });

  it("is suspended by Ctrl-C", async () => {
    const replay = place.start(["replay", "chain", "--times", "1000"]);
    await replay.said("Running");
    replay.child.kill("SIGINT");
    expect(await replay.ended).toMatchObject({ code: 6 });
  });

  it("is given up by Ctrl-C in oao verify, which says so and leaves nothing", async () => {
    const verify = place.start(["verify", "chain", "--times", "1000"], { TMPDIR: place.folder });
    const homes = () => readdirSync(place.folder).filter((name) => name.startsWith("oao-verify-"));
    // An index that is being made cannot be read yet.
    await eventually(() => expect(homes().flatMap((home) => workers(home))).not.toEqual([]), 10);
    verify.child.kill("SIGINT");
    const { code, stderr } = await verify.ended;
    expect(stderr).toContain("stopped before the replay came to its end");
    expect(code).toBe(4);
    expect(homes()).toEqual([]);
  });
});

describe("a run whose reader goes away (`| head -1`)", () => {
  it("goes on to its end, and its exit code is that of its end", async () => {
    const failing = quick().replace("second.output)", "second.output.none)");
    writeFileSync(join(place.folder, "failing.yaml"), failing);
    const run = place.start(["run", "failing.yaml", "-o", "json"]);
    await run.said("first");
    run.child.stdout?.destroy();
    run.child.stderr?.destroy();
    expect(await run.ended).toMatchObject({ code: 1, signal: null });
    expect(await status()).toMatchObject({ phase: "Failed" });
  });
});

describe("a killed oao run", () => {
  it("takes its workers with it, is shown as standing still, and resumes to the end an undisturbed run has", async () => {
    const run = await startSlow();
    const [pid = 0] = workers();
    const identity = processIdentity(pid);
    expect(identity).toBeDefined();
    run.child.kill("SIGKILL");
    await run.ended;
    while (processIdentity(pid) === identity) await new Promise((resolve) => setTimeout(resolve, 10));
    expect((await place.oao(["get"])).stdout).toContain("Running (no process)");
    expect((await place.oao(["tree", "chain"])).stderr).toContain("oao resume chain");
    // The same command goes on too.
    const again = await place.oao(["run", "chain.yaml"]);
    expect(again.stderr).toContain("is unfinished: resuming it");
    expect(again.code).toBe(0);
    expect(server.calls()).toHaveLength(4);
    const killed = await place.oao(["trace", "chain", "--canonical"]);
    expect(await place.oao(["run", "chain.yaml", "--name", "undisturbed"])).toMatchObject({ code: 0 });
    const undisturbed = await place.oao(["trace", "undisturbed", "--canonical"]);
    // Two runs were answered: the answers differ in their random ids, and in nothing else.
    expect(withoutOutput(killed.stdout)).toEqual(withoutOutput(undisturbed.stdout));
    expect(killed.stderr).toMatch(/^traceHash sha256:[0-9a-f]{64}\n$/);
    expect(killed.stderr).toBe(`traceHash ${(await status()).traceHash}\n`);
    const { totalTokens } = (await status("undisturbed")).usage;
    const { usage } = await status();
    expect(usage.totalTokens).toBe(totalTokens);
    expect(usage.lostTokens).toBeGreaterThan(0);
  });
});

describe("runs of other names, side by side in one folder", () => {
  it("do not touch each other", async () => {
    writeFileSync(join(place.folder, "quick.yaml"), manifest().replace("prompt: slow", "prompt: quick too"));
    const names = ["one", "two", "three"];
    const ended = await Promise.all(names.map((name) => place.oao(["run", "quick.yaml", "--name", name])));
    expect(ended.map(({ code, stderr }) => [code, stderr.includes("not held")])).toEqual(names.map(() => [0, false]));
  });
});

describe("a second terminal", () => {
  it("cancels a run: exit 4 there, 0 here", async () => {
    const run = await startSlow();
    expect(await place.oao(["cancel", "chain"])).toMatchObject({
      code: 0,
      stderr: expect.stringContaining("is cancelled"),
    });
    expect(await run.ended).toMatchObject({ code: 4 });
    expect(await status()).toMatchObject({ phase: "Cancelled" });
    expect(await place.oao(["resume", "chain"])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("has ended (Cancelled"),
    });
  });

  it("suspends a run: exit 6 there, 0 here", async () => {
    const run = await startSlow();
    expect(await place.oao(["suspend", "chain"])).toMatchObject({
      code: 0,
      stderr: expect.stringContaining("oao resume chain"),
    });
    expect(await run.ended).toMatchObject({ code: 6 });
  });

  it("is refused to run or resume it meanwhile, and told which process has it", async () => {
    const run = await startSlow();
    const refused = `is being run by process ${run.child.pid}`;
    expect(await place.oao(["resume", "chain"])).toMatchObject({ code: 2, stderr: expect.stringContaining(refused) });
    const again = await place.oao(["run", "chain.yaml"]);
    expect(again).toMatchObject({ code: 2, stderr: expect.stringContaining(refused) });
    expect(again.stderr).not.toContain("resuming it");
    expect((await place.oao(["tree", "chain"])).stdout).toMatch(/second +Running/);
  });

  it("cancels a run that no process hosts any more", async () => {
    const run = await startSlow();
    run.child.kill("SIGKILL");
    await run.ended;
    expect(await place.oao(["cancel", "chain"])).toMatchObject({ code: 0 });
    expect(await status()).toMatchObject({ phase: "Cancelled" });
  });
});

describe("a second run of a name", () => {
  it("is refused when the first has ended, with a free name to use", async () => {
    writeFileSync(
      join(place.folder, "one.yaml"),
      manifest()
        .replace(/ {4}- \{ name: second[\s\S]*/, "")
        .replace("name: chain", "name: one"),
    );
    expect(await place.oao(["run", "one.yaml"])).toMatchObject({ code: 0, stdout: "answer to quick\n" });
    const { code, stderr } = await place.oao(["run", "one.yaml"]);
    expect(stderr).toMatch(/has ended \(Succeeded .* ago\)/);
    expect(stderr).toContain("oao run one.yaml --name one-2");
    expect(code).toBe(2);
  });

  it("is refused when its spec is another, and says what differs", async () => {
    const run = await startSlow();
    run.child.kill("SIGINT");
    await run.ended;
    const { code, stderr } = await place.oao(["run", "chain.yaml", "--set", "task=Another"]);
    expect(stderr).toContain("spec.task differs");
    expect(stderr).toContain("oao resume chain");
    expect(code).toBe(2);
  });
});

describe("the record of a run", () => {
  it("is removed by a later command once its retention is over; the object stays", async () => {
    writeFileSync(
      join(place.folder, "one.yaml"),
      manifest()
        .replace(/ {4}- \{ name: second[\s\S]*/, "")
        .replace("name: chain", "name: one"),
    );
    await place.oao(["run", "one.yaml"]);
    expect(readdirSync(join(place.folder, ".oao/journals")).length).toBeGreaterThan(0);
    const index = new DatabaseSync(join(place.folder, ".oao/index.db"));
    const { expires_ms: expiresMs, created_ms: createdMs } = index
      .prepare("SELECT expires_ms, created_ms FROM executions")
      .get() as { expires_ms: number; created_ms: number };
    expect(expiresMs - createdMs).toBeGreaterThanOrEqual(604_800_000);
    index.exec("UPDATE executions SET expires_ms = 1");
    index.close();
    expect((await place.oao(["get"])).stdout).toContain("one");
    expect(readdirSync(join(place.folder, ".oao/journals"))).toEqual([]);
    expect(existsSync(join(place.folder, ".oao/logs")) ? readdirSync(join(place.folder, ".oao/logs")) : []).toEqual([]);
    expect(await place.oao(["trace", "one"])).toMatchObject({ code: 2, stderr: expect.stringContaining("retention") });
  });

  it("that was edited is not shown as a trace", async () => {
    writeFileSync(
      join(place.folder, "one.yaml"),
      manifest()
        .replace(/ {4}- \{ name: second[\s\S]*/, "")
        .replace("name: chain", "name: one"),
    );
    await place.oao(["run", "one.yaml"]);
    const journal = journalOf(place.folder);
    journal.exec("DROP TRIGGER entries_are_final; UPDATE entries SET bytes = replace(bytes, '\"Ok\"', '\"Cut\"')");
    journal.close();
    expect(await place.oao(["trace", "one"])).toMatchObject({
      code: 8,
      stderr: expect.stringContaining("was changed after it was recorded"),
    });
  });

  it("that is no longer JSON is told as changed too", async () => {
    writeFileSync(
      join(place.folder, "one.yaml"),
      manifest()
        .replace(/ {4}- \{ name: second[\s\S]*/, "")
        .replace("name: chain", "name: one"),
    );
    await place.oao(["run", "one.yaml"]);
    const journal = journalOf(place.folder);
    journal.exec("DROP TRIGGER entries_are_final; UPDATE entries SET bytes = 'x' || bytes");
    journal.close();
    expect(await place.oao(["trace", "one"])).toMatchObject({
      code: 8,
      stderr: expect.stringContaining("was changed after it was recorded"),
    });
    expect(await place.oao(["get", "one"])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("its journal cannot be read: oao trace one"),
    });
  });

  it("holds logs by node, with no secret in them", async () => {
    const run = place.start(
      [
        "run",
        sample("retry.yaml"),
        ...modelAt(model),
        "--set",
        'models.main.apiKeySecretRef={"name":"llm","key":"api-key"}',
      ],
      { OAO_SECRET_LLM_API_KEY: "s3cret-of-mine" },
    );
    expect(await run.ended).toMatchObject({ code: 0 });
    const { stdout } = await place.oao(["logs", "retry", "--node", "ask"]);
    expect(stdout).toContain("ask#1");
    const folder = join(place.folder, ".oao");
    const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((file) => file.isFile());
    const leaks = files.filter((file) => readFileSync(join(file.parentPath, file.name)).includes("s3cret-of-mine"));
    expect(leaks.map((file) => file.name)).toEqual([]);
    expect(await place.oao(["logs", "retry", "--node", "akk"])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("did you mean ask?"),
    });
  });
});
