/** Code of users inside workers: what it prints, and what becomes of it when its host dies. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { eventually } from "../support/patience.ts";
import { serveModel, type Workplace, workplace } from "./harness.ts";

let place: Workplace;
const secret = "a-key-that-nobody-may-see";
beforeAll(async () => {
  place = workplace();
  writeFileSync(
    join(place.folder, "code.mjs"),
    `import { writeFileSync } from "node:fs";
export const spin = () => { writeFileSync("pid", String(process.pid)); for (;;); };
export const dump = () => {
  console.log(JSON.stringify(process.env));
  console.error("the key is", process.env.OAO_SECRET_LLM_KEY);
  process.stdout.write(Buffer.from("bytes " + process.env.OAO_SECRET_LLM_KEY + "\\n"));
  return "dumped";
};
`,
  );
  const script = join(place.folder, "model.yaml");
  writeFileSync(
    script,
    "rules: [{ match: { turn: 0 }, reply: { toolCalls: [{ name: dump, arguments: {} }] } }, { reply: { text: fine } }]",
  );
  const model = await serveModel(place, script);
  const head = (name: string) => `apiVersion: oao.dev/v1alpha1\nkind: Execution\nmetadata: { name: ${name} }\n`;
  writeFileSync(
    join(place.folder, "spin.yaml"),
    `${head("spin")}spec:
  task: t
  tools: [{ name: spin, timeoutSeconds: 600, module: { path: code.mjs } }]
  nodes: [{ name: spin, tool: { ref: spin } }]
`,
  );
  writeFileSync(
    join(place.folder, "dump.yaml"),
    `${head("dump")}spec:
  task: t
  models: [{ name: main, provider: openai, model: m, baseURL: "${model}", apiKeySecretRef: { name: llm, key: key } }]
  tools: [{ name: dump, description: d, effect: ReadOnly, module: { path: code.mjs } }]
  agents: [{ name: a, model: main, tools: [dump] }]
  nodes: [{ name: ask, agent: { ref: a, prompt: p } }]
`,
  );
});
afterAll(() => place.end());

it("a module that never gives its thread back dies with its host all the same", async () => {
  const run = place.start(["run", "spin.yaml"]);
  const file = join(place.folder, "pid");
  await eventually(() => expect(existsSync(file) && readFileSync(file, "utf8")).toMatch(/^\d+$/));
  const pid = Number(readFileSync(file, "utf8"));
  run.child.kill("SIGKILL");
  await run.ended;
  await eventually(() => expect(() => process.kill(pid, 0)).toThrow("ESRCH"));
});

it("a secret that a module prints does not reach the log", async () => {
  expect(await place.oao(["run", "dump.yaml"], { OAO_SECRET_LLM_KEY: secret })).toMatchObject({ code: 0 });
  const { stdout } = await place.oao(["logs", "dump"]);
  expect(stdout).toContain("the key is [secret]");
  expect(stdout).toContain("bytes [secret]");
  expect(stdout).toContain("OAO_SECRET_LLM_KEY=[secret]");
  expect(stdout).not.toContain(secret);
});
