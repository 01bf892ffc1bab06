/** What a person is told about a run beside its result: violations, lost content, and what is missing before it starts. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sample, serveModel, type Workplace, workplace } from "./harness.ts";

let place: Workplace;
let model: string;

const manifest = (
  name: string,
  options: { readonly policy?: string; readonly tools?: string; readonly secret?: string },
) => {
  const text = `apiVersion: oao.dev/v1alpha1
kind: Execution
metadata: { name: ${name} }
spec:
  task: t
  policyRef: { name: ${name} }
  models: [{ name: main, provider: openai, model: gpt-5-mini, baseURL: "${model}"${options.secret ?? ""} }]
  tools: ${options.tools ?? "[]"}
  agents: [{ name: greeter, model: main, systemPrompt: You greet }]
  nodes: [{ name: greet, agent: { ref: greeter, prompt: Hello you } }${options.tools === undefined ? "" : ", { name: rate, tool: { ref: rate, arguments: { facts: 2 } } }"}]
---
apiVersion: oao.dev/v1alpha1
kind: GovernancePolicy
metadata: { name: ${name} }
spec: ${options.policy ?? "{ maxTokens: 5000 }"}
`;
  writeFileSync(join(place.folder, `${name}.yaml`), text);
  return `${name}.yaml`;
};

beforeAll(async () => {
  place = workplace();
  model = await serveModel(place, sample("small.model.yaml"));
});
afterAll(() => place.end());

describe("findings of an Audit policy", () => {
  it("are counted by get and shown by trace --all, and leave the numbered steps as they are", async () => {
    const file = manifest("audited", { policy: "{ enforcement: Audit, models: { deny: ['*'] } }" });
    expect(await place.oao(["run", file])).toMatchObject({ code: 0 });
    expect((await place.oao(["get", "audited"])).stdout).toMatch(/^1 audit finding: oao trace audited --all$/m);
    const plain = await place.oao(["trace", "audited", "-o", "json"]);
    expect(plain.stderr).toContain("1 policy violation was recorded: --all shows");
    const all = await place.oao(["trace", "audited", "--all", "-o", "json"]);
    const rows = JSON.parse(all.stdout) as { kind: string }[];
    expect(rows.filter((row) => row.kind !== "violation")).toEqual(JSON.parse(plain.stdout));
    expect(rows.filter((row) => row.kind === "violation")).toMatchObject([
      { state: "Audit", step_number: null, error: { class: "PolicyViolation" } },
    ]);
    const { stdout } = await place.oao(["trace", "audited", "--all"]);
    expect(stdout).toMatch(/greet +violation .*Audit/);
    expect(stdout).not.toContain("PolicyViolation: PolicyViolation");
  });
});

describe("a run of which only digests are recorded", () => {
  it("prints no result, says that it cannot be replayed, and so does its trace", async () => {
    const file = manifest("digests", { policy: "{ recording: { content: DigestOnly } }" });
    const run = await place.oao(["run", file]);
    expect(run).toMatchObject({ code: 0, stdout: "" });
    expect(run.stderr).toContain("such a run cannot be replayed");
    const trace = await place.oao(["trace", "digests"]);
    expect(trace).toMatchObject({ code: 0, stderr: expect.stringContaining("such a run cannot be replayed") });
  });
});

describe("before anything is spent", () => {
  it("the key of a compatible server is asked for, whatever keys there are for others", async () => {
    const secret = ", apiKeySecretRef: { name: llm, key: api-key }";
    const file = manifest("keyless", { secret });
    const { code, stderr } = await place.oao(["run", file], { OPENAI_API_KEY: "not-for-this-server" });
    expect(stderr).toContain("model main: set OAO_SECRET_LLM_API_KEY");
    expect(code).toBe(2);
    expect(await place.oao(["get", "keyless"])).toMatchObject({ code: 2 });
  });

  it("a module that is not there is an error; to lint it is a warning", async () => {
    const file = manifest("moduleless", { tools: "[{ name: rate, module: { path: absent.mjs } }]" });
    const run = await place.oao(["run", file]);
    expect(run.stderr).toContain("spec.tools[0].module.path  absent.mjs does not exist");
    expect(run.code).toBe(2);
    const lint = await place.oao(["lint", file]);
    expect(lint.stdout).toContain("warning: absent.mjs does not exist");
    expect(lint.code).toBe(0);
  });
});

describe("the built program", () => {
  it.each([
    ["a module", "module: { path: rate.mjs, inputSchema: SCHEMA }"],
    ["a module whose schema is draft-07", "module: { path: rate.mjs, inputSchema: DRAFT7 }"],
  ])("runs %s with an inputSchema and prints the Execution as YAML", async (name, tool) => {
    writeFileSync(join(place.folder, "rate.mjs"), "export const rate = ({ facts }) => ({ rating: facts * 2 });\n");
    const schema = "{ type: object, properties: { facts: { type: integer } }, required: [facts] }";
    const definition = tool
      .replace("SCHEMA", schema)
      .replace("DRAFT7", schema.replace("{", '{ $schema: "http://json-schema.org/draft-07/schema#",'));
    const run = `built-${name.length}`;
    const { code, stdout, stderr } = await place.oao([
      "run",
      manifest(run, { tools: `[{ name: rate, effect: ReadOnly, ${definition} }]` }),
      "-o",
      "yaml",
    ]);
    expect(stderr).toContain("Succeeded");
    expect(code).toBe(0);
    expect(stdout).toContain("\nkind: Execution\n");
    expect((await place.oao(["get", run, "-o", "yaml"])).stdout).toBe(stdout);
    const [rating] = JSON.parse((await place.oao(["trace", run, "-o", "json"])).stdout).filter(
      (row: { node: string }) => row.node === "rate",
    );
    expect(rating).toMatchObject({ output: { rating: 4 } });
  });

  it("refuses arguments that an inputSchema does not allow", async () => {
    const tools = "[{ name: rate, effect: ReadOnly, module: { path: rate.mjs, inputSchema: { required: [city] } } }]";
    const { code, stderr } = await place.oao(["run", manifest("unfit", { tools })]);
    expect(stderr).toContain("must have required property 'city'");
    expect(code).toBe(1);
  });
});
