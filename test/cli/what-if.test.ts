import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseScript } from "../../src/cli/mock-model/script.ts";
import { type MockModel, startMockModel } from "../../src/cli/mock-model/server.ts";
import { type Workplace, workplace } from "./harness.ts";

let place: Workplace;
let server: MockModel;
const manifest = (name: string, prompt: string) => `apiVersion: oao.dev/v1alpha1
kind: Execution
metadata: { name: ${name} }
spec:
  task: Two in a row
  models: [{ name: main, provider: openai, model: gpt-5-mini, baseURL: "${server.baseURL}" }]
  tools: [{ name: dice, effect: ReadOnly, module: { path: dice.mjs } }]
  agents: [{ name: a, model: main, tools: [dice] }]
  nodes:
    - { name: first, agent: { ref: a, prompt: "${prompt}" } }
    - { name: last, dependsOn: [first], agent: { ref: a, prompt: more } }
`;
const policy = (name: string, spec: string) => `apiVersion: oao.dev/v1alpha1
kind: GovernancePolicy
metadata: { name: ${name} }
spec: ${spec}
`;

beforeAll(async () => {
  place = workplace();
  server = await startMockModel({
    script: parseScript(
      {
        rules: [
          { match: { prompt: "roll", turn: 0 }, reply: { toolCalls: [{ name: "dice", arguments: { sides: 6 } }] } },
          { match: { prompt: "endless" }, reply: { tokens: 100_000, ignoreMaxTokens: true } },
          { reply: { tokens: 200 } },
        ],
      },
      "script",
    ),
  });
  const files = {
    "dice.mjs": "export const dice = ({ sides }) => ({ sides, rolled: 4 });\n",
    "talk.yaml": manifest("talk", "say something"),
    "roll.yaml": manifest("roll", "roll"),
    "no-dice.yaml": policy("no-dice", "{ tools: { deny: [dice] } }"),
    "small.yaml": policy("small", "{ maxTokens: 450 }"),
    "wide.yaml": policy("wide", "{ maxTokens: 100000 }"),
    "watch.yaml": policy("watch", "{ enforcement: Audit, maxTokens: 300 }"),
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(place.folder, name), text);
  for (const args of [
    ["run", "talk.yaml"],
    ["run", "roll.yaml"],
    ["export", "roll", "-O", "roll.jsonl"],
  ]) {
    const { code, stderr } = await place.oao(args);
    if (code !== 0) throw new Error(stderr);
  }
});
afterAll(async () => {
  await place.end();
  await server.close();
});

describe("oao replay NAME… --strict --policy FILE", () => {
  it("tells each call that the policy would have stopped, over several runs and bundles, and runs, calls and stores nothing", async () => {
    const calls = server.calls().length;
    const { code, stdout, stderr } = await place.oao([
      "replay",
      "talk",
      "roll",
      "roll.jsonl",
      "--strict",
      "--policy",
      "no-dice.yaml",
    ]);
    expect(stderr).toBe("");
    expect(code).toBe(3);
    expect(stdout).toContain("talk: nothing would have been stopped\n");
    expect(stdout).toContain(
      "  Stops  step 2, node first, tool dice\n         PolicyViolation: Tool Denied: dice (policy no-dice, spec.tools.deny)\n",
    );
    expect(stdout).toMatch(/^roll +Succeeded +step 2 \(first\) +\d+ +\d+ +3$/m);
    expect(stdout).toMatch(/^SUM +2 of 3 +\d+ +\d+ +6$/m);
    expect(server.calls()).toHaveLength(calls);
    expect((await place.oao(["policies"])).stdout).not.toContain("no-dice");
    expect(JSON.parse((await place.oao(["get", "-o", "json"])).stdout).items).toHaveLength(2);
  });

  it("says what a real run under that policy says, and what that one uses", async () => {
    const told = await place.oao(["replay", "talk", "--policy", "small.yaml", "-o", "json"]);
    expect(told.code).toBe(3);
    const { runs, sum } = JSON.parse(told.stdout);
    writeFileSync(
      join(place.folder, "governed.yaml"),
      manifest("governed", "say something").replace("spec:", "spec:\n  policyRef: { name: small }"),
    );
    const live = await place.oao(["run", "governed.yaml", "--policy", "small.yaml", "-o", "json"]);
    expect(live.code).toBe(3);
    const { status } = JSON.parse(live.stdout);
    const { message } = status.conditions.find(({ type }: { type: string }) => type === "Succeeded");
    expect(message).toContain(runs[0].found[0].message);
    expect(runs[0].found).toMatchObject([{ step_number: 2, node: "last", kind: "model", effect: "Stops" }]);
    const { totalTokens, overshootTokens = 0 } = status.usage;
    expect(sum.tokens_used - sum.tokens_saved).toBe(totalTokens + overshootTokens);
    expect(sum).toMatchObject({ runs: 1, stopped: 1, calls_saved: 0 });
  });

  it("saves nothing under the very policy that cut the run, not even what came beyond its limit", async () => {
    writeFileSync(
      join(place.folder, "endless.yaml"),
      manifest("endless", "endless").replace("spec:", "spec:\n  policyRef: { name: small }"),
    );
    const { status } = JSON.parse(
      (await place.oao(["run", "endless.yaml", "--policy", "small.yaml", "-o", "json"])).stdout,
    );
    expect(status.usage.overshootTokens).toBeGreaterThan(0);
    const told = await place.oao(["replay", "endless", "--policy", "small.yaml", "-o", "json"]);
    const tokens_used = status.usage.totalTokens + status.usage.overshootTokens;
    expect(JSON.parse(told.stdout).sum).toMatchObject({ stopped: 1, tokens_used, tokens_saved: 0 });
  });

  it("is 0 where nothing would have been stopped, by an Audit policy neither", async () => {
    expect(await place.oao(["replay", "talk", "--strict", "--policy", "wide.yaml"])).toMatchObject({ code: 0 });
    const watched = await place.oao(["replay", "talk", "--strict", "--policy", "watch.yaml", "-o", "yaml"]);
    expect(watched.code).toBe(0);
    expect(watched.stdout).toContain(
      'message: "PolicyViolation: audit limit watch/maxTokens (Execution/TotalTokens) passed"',
    );
  });

  it.each([
    [["talk", "roll"], "one run is replayed at a time, and 2 are named"],
    [["talk", "--policy", "small.yaml", "--times", "3"], "--times is for replays that are run"],
    [["talk", "--strict", "--policy", "talk.yaml"], "holds no GovernancePolicy"],
    [["nobody", "--strict", "--policy", "small.yaml"], "nobody"],
  ] as const)("refuses %j with the reason", async (args, reason) => {
    expect(await place.oao(["replay", ...args])).toMatchObject({ code: 2, stderr: expect.stringContaining(reason) });
  });
});
