import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Redis } from "ioredis";
import { afterAll, beforeAll, expect, it } from "vitest";
import { durable, RedisProcess } from "../support/redis-process.ts";
import { sample, serveModel, type Workplace, workplace } from "./harness.ts";

let place: Workplace;
let redis: RedisProcess;
let url: string;

beforeAll(async () => {
  place = workplace();
  const model = await serveModel(place, sample("small.model.yaml"));
  redis = await RedisProcess.start({ ...durable, requirepass: "open sesame" }, true);
  url = `redis://127.0.0.1:${redis.port}`;
  writeFileSync(
    join(place.folder, "greet.yaml"),
    `apiVersion: oao.dev/v1alpha1
kind: Execution
metadata: { name: greet }
spec:
  task: t
  models: [{ name: main, provider: openai, model: gpt-5-mini, baseURL: "${model}" }]
  agents: [{ name: greeter, model: main, systemPrompt: You greet }]
  nodes: [{ name: greet, agent: { ref: greeter, prompt: Hello you } }]
`,
  );
});
afterAll(async () => {
  await place.end();
  await redis.remove();
});

const withPassword = (password: string) => url.replace("//", `//:${encodeURIComponent(password)}@`);

it.each([
  ["without a password", () => url, /^error: the Redis at \S+ wants a password$/m],
  ["with a wrong password", () => withPassword("wrong"), /^error: the Redis at \S+ refused the user or password/m],
  ["that is not there", () => "redis://127.0.0.1:1", /^error: no Redis at redis:\/\/127\.0\.0\.1:1: .*ECONNREFUSED/m],
])("a Redis %s is told in one sentence, and no run is left behind", async (_, given, message) => {
  const { code, stderr } = await place.oao(["run", "greet.yaml", "--redis", given()]);
  expect(stderr).toMatch(message);
  expect(stderr).not.toContain("wrong@");
  expect(code).toBe(7);
  expect((await place.oao(["get"])).stderr).toContain("no executions");
});

it("a NonIdempotent tool over a Redis that may forget its call: nothing starts, the reason says what to mend, and a policy may allow it", async () => {
  const weak = await RedisProcess.start({ appendonly: "yes", appendfsync: "everysec" }, true);
  writeFileSync(join(place.folder, "pay.mjs"), "export const pay = () => 'paid';\n");
  const manifest = `apiVersion: oao.dev/v1alpha1
kind: Execution
metadata: { name: pay }
spec:
  task: t
  tools: [{ name: pay, module: { path: pay.mjs } }]
  nodes: [{ name: pay, tool: { ref: pay } }]
`;
  const allow = `---
apiVersion: oao.dev/v1alpha1
kind: GovernancePolicy
metadata: { name: allow, labels: { oao.dev/default: "true" } }
spec: { onLossWindow: Allow }
`;
  writeFileSync(join(place.folder, "pay.yaml"), manifest);
  writeFileSync(join(place.folder, "pay-allowed.yaml"), manifest.replace("name: pay }", "name: allowed }") + allow);
  const at = ["--redis", `redis://127.0.0.1:${weak.port}`];
  const refused = await place.oao(["run", "pay.yaml", ...at]);
  expect(refused.stderr).toMatch(/Not started: CheckpointsNotDurable: .*NonIdempotent: pay\..*appendfsync is everysec/);
  expect(refused.stderr).toMatch(/once that is mended: oao resume pay/);
  expect(refused.code).toBe(6);
  expect(await place.oao(["run", "pay-allowed.yaml", ...at])).toMatchObject({ code: 0, stdout: "paid\n" });
  await weak.remove();
});

it("a journal behind a password is read with OAO_REDIS_URL, and says so without it", async () => {
  expect(await place.oao(["run", "greet.yaml", "--redis", withPassword("open sesame")])).toMatchObject({ code: 0 });
  const refused = await place.oao(["trace", "greet"]);
  expect(refused.code).toBe(7);
  expect(refused.stderr).toMatch(/wants a password\n.*OAO_REDIS_URL/);
  // What the index knows is shown anyway.
  expect(await place.oao(["get", "greet"])).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/greet +Succeeded/),
  });
  const env = { OAO_REDIS_URL: withPassword("open sesame") };
  expect(await place.oao(["trace", "greet"], env)).toMatchObject({ code: 0, stdout: expect.stringContaining("greet") });
});

it("a run whose journal has expired in Redis is brought back by its bundle; one that is there, or another record, is left alone", async () => {
  const env = { OAO_REDIS_URL: withPassword("open sesame") };
  const lost = ["run", "greet.yaml", "--name", "lost", "--redis", withPassword("open sesame")];
  expect(await place.oao(lost)).toMatchObject({ code: 0 });
  const trace = await place.oao(["trace", "lost", "--canonical"], env);
  expect(await place.oao(["export", "lost", "-O", "lost.jsonl"], env)).toMatchObject({ code: 0 });
  const here = await place.oao(["import", "lost.jsonl"], env);
  expect(here).toMatchObject({ code: 0, stderr: expect.stringContaining("is here already") });
  // Whether it is still there is never guessed.
  const unseen = await place.oao(["import", "lost.jsonl"]);
  expect(unseen).toMatchObject({
    code: 7,
    stderr: expect.stringMatching(/whether its journal still is.*\n.*OAO_REDIS_URL/),
  });

  const { uid } = (JSON.parse((await place.oao(["get", "lost", "-o", "json"])).stdout) as Named).metadata;
  const client = new Redis(redis.port, "127.0.0.1", { password: "open sesame" });
  await client.del(...(await client.keys(`*${uid}*`)));
  client.disconnect();
  const gone = await place.oao(["trace", "lost"], env);
  expect(gone).toMatchObject({ code: 2, stderr: expect.stringContaining("oao import FILE") });
  const back = await place.oao(["import", "lost.jsonl"], env);
  expect(back).toMatchObject({ code: 0, stderr: expect.stringContaining("imported as default/lost") });
  for (const repeat of [1, 2]) {
    expect(await place.oao(["trace", "lost", "--canonical"])).toMatchObject({ code: 0, stdout: trace.stdout });
    const again = await place.oao(["import", "lost.jsonl"]);
    expect(again, String(repeat)).toMatchObject({ code: 0, stderr: expect.stringContaining("is here already") });
  }
  expect(await place.oao(["verify", "lost"])).toMatchObject({ code: 0 });

  // The same run, as another machine says that it went: its journal holds for itself.
  const index = new DatabaseSync(join(place.folder, ".oao/index.db"));
  index.exec(`UPDATE executions SET status = json_set(status, '$.traceHash', 'sha256:other') WHERE name = 'lost'`);
  index.close();
  rmSync(join(place.folder, ".oao/journals", `${uid}.db`));
  const other = await place.oao(["import", "lost.jsonl"]);
  expect(other).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("is not the record that default/lost has lost"),
  });
});

interface Named {
  readonly metadata: { readonly uid: string };
}
