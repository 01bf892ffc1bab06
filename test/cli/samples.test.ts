import { readdirSync } from "node:fs";
import { userInfo } from "node:os";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { modelAt, root, sample, serveModel, type Workplace, workplace } from "./harness.ts";

let place: Workplace;
beforeEach(() => {
  place = workplace();
});
afterEach(() => place.end());

const runSmall = async (name: string, ...flags: string[]) =>
  place.oao(["run", sample(`${name}.yaml`), ...modelAt(await serveModel(place, sample("small.model.yaml"))), ...flags]);
const states = async (name: string) => {
  const { stdout } = await place.oao(["get", name, "-o", "json"]);
  const { status } = JSON.parse(stdout) as { status: { nodes: { name: string; state: string }[] } };
  return Object.fromEntries(status.nodes.map((node) => [node.name, node.state]));
};

describe("every sample", () => {
  it("is free of errors and warnings", async () => {
    const manifests = readdirSync(`${root}/config/samples`).filter(
      (name) => name.endsWith(".yaml") && !name.endsWith(".model.yaml") && name !== "mock-model.yaml",
    );
    expect(manifests.length).toBeGreaterThanOrEqual(9);
    expect(await place.oao(["lint", ...manifests.map(sample)])).toMatchObject({ code: 0, stdout: "" });
  });
});

describe("the sample", () => {
  it("market-brief: two researchers, http and module tools, a rating per fact, a brief", async () => {
    const model = await serveModel(place, sample("market-brief.model.yaml"));
    const search = await place.serve([sample("catalog.mjs"), "0"]);
    const flags = [...modelAt(model), "--set", `tools.search.http.url=${search}`, "--input", "topic=steam pumps"];
    const { code, stdout, stderr } = await place.oao(["run", sample("market-brief.yaml"), ...flags]);
    expect(stderr).toContain("Succeeded");
    expect(code).toBe(0);
    expect(stdout).toContain("Demand grows by 14 percent a year");
    const trace = await place.oao(["trace", "market-brief", "-o", "json"]);
    const rows = JSON.parse(trace.stdout) as {
      step_number: number;
      node: string;
      kind: string;
      name: string;
      state: string;
      output: unknown;
      tool_calls: unknown[];
    }[];
    expect(rows.map((row) => row.step_number)).toEqual(rows.map((_, index) => index + 1));
    expect(rows.every((row) => row.state === "Ok")).toBe(true);
    expect(rows.filter((row) => row.name === "search").map((row) => row.output)).toMatchObject([
      { query: "Collect facts on the demand for steam pumps." },
      { query: "Collect facts on the makers of steam pumps." },
    ]);
    // Five facts, one of them found twice.
    expect(rows.filter((row) => row.node.startsWith("rate[")).map((row) => row.node)).toEqual([
      "rate[0]",
      "rate[1]",
      "rate[2]",
      "rate[3]",
    ]);
  });

  it("runaway: cut by maxTokens mid-stream, exit code 3, not one token over", async () => {
    const model = await serveModel(place, sample("runaway.model.yaml"));
    const { code, stdout, stderr } = await place.oao(["run", sample("runaway.yaml"), ...modelAt(model), "-o", "json"]);
    expect(stderr).toContain("PolicyViolation: Max Token Limit Exceeded");
    expect(code).toBe(3);
    const { status } = JSON.parse(stdout) as {
      status: {
        phase: string;
        conditions: { type: string; status: string; reason: string; message: string }[];
        usage: { totalTokens: number; lostTokens: number };
      };
    };
    expect(status.phase).toBe("Failed");
    expect(status.conditions).toContainEqual(
      expect.objectContaining({
        type: "Succeeded",
        status: "False",
        reason: "PolicyViolation",
        message: expect.stringMatching(/^PolicyViolation: Max Token Limit Exceeded/),
      }),
    );
    expect(status.usage.totalTokens + status.usage.lostTokens).toBeLessThanOrEqual(2000);
  });

  it.each([
    ["false", { route: "Succeeded", page: "Skipped", reply: "Succeeded" }],
    ["true", { route: "Succeeded", page: "Succeeded", reply: "Succeeded" }],
  ])("conditional: with urgent=%s", async (urgent, expected) => {
    expect(await runSmall("conditional", "--input", `urgent=${urgent}`)).toMatchObject({ code: 0 });
    expect(await states("conditional")).toEqual(expected);
  });

  it("for-each: an ordered list of answers", async () => {
    const { code, stdout } = await runSmall("for-each", "--input", 'cities=["Oslo","Porto","Riga"]');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual(["Done: Greet Oslo!", "Done: Greet Porto!", "Done: Greet Riga!"]);
  });

  it("retry: busy twice, then an answer; the failed calls are in the trace and have no numbers", async () => {
    const { code, stdout } = await runSmall("retry");
    expect(code).toBe(0);
    expect(stdout).toBe("Yes, now I am.\n");
    const { stdout: all } = await place.oao(["trace", "retry", "--all", "-o", "json"]);
    expect(
      (JSON.parse(all) as { state: string; step_number: number | null }[]).map((row) => [row.state, row.step_number]),
    ).toEqual([
      ["Repeated", null],
      ["Repeated", null],
      ["Ok", 1],
    ]);
    const { stdout: numbered, stderr } = await place.oao(["trace", "retry", "-o", "jsonl"]);
    expect(numbered.trim().split("\n")).toHaveLength(1);
    expect(stderr).toContain("2 more calls were repeated");
  });

  it("finally: the run is Failed and the note is written", async () => {
    const { code, stderr } = await runSmall("finally");
    expect(code).toBe(1);
    expect(stderr).toContain("this cannot be done");
    expect(await states("finally")).toEqual({ work: "Failed", "clean-up": "Succeeded" });
  });

  it("structured-output: fields of an answer in the next prompt", async () => {
    const { code, stdout } = await runSmall("structured-output");
    expect(code).toBe(0);
    expect(stdout).toContain("Invoice 4711 of Nord Ltd needs a second signature");
  });

  it("approval: waits with the question, and goes on with who answered", async () => {
    const asked = await runSmall("approval");
    expect(asked.code).toBe(6);
    expect(asked.stderr).toMatch(/sign-off asks: Send this\? Done: /);
    expect(await place.oao(["approve", "approval"])).toMatchObject({ code: 0 });
    const { code, stdout } = await place.oao(["resume", "approval"]);
    expect(code).toBe(0);
    expect(stdout).toContain(`approved by ${userInfo().username}`);
    expect(await states("approval")).toEqual({ draft: "Succeeded", "sign-off": "Succeeded", send: "Succeeded" });
  });

  it("openai: says which variable it looked at before anything is spent", async () => {
    const { code, stderr } = await place.oao(["run", sample("openai.yaml")]);
    expect(code).toBe(2);
    expect(stderr).toContain("model main: set OPENAI_API_KEY");
    expect((await place.oao(["get"])).stderr).toContain("no executions");
  });

  it("openai: is named by generateName, and takes another endpoint with --set", async () => {
    const model = await serveModel(place, sample("small.model.yaml"));
    const { code, stderr } = await place.oao(["run", sample("openai.yaml"), ...modelAt(model)]);
    expect(stderr).toMatch(/default\/openai-[a-z0-9]{5} /);
    expect(stderr).toContain("PolicyViolation");
    expect(code).toBe(3);
  });
});
