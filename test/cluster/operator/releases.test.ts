/** Two releases over one namespace, each with a Redis of its own: every run belongs to one of them. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { finalizer } from "../../../src/adapters/kube/names.ts";
import { type KubeObject, resourcePath, resources } from "../../../src/adapters/kube/resources.ts";
import { runKeys } from "../../../src/adapters/store/redis/keys.ts";
import { sample, serveModel } from "../../cli/harness.ts";
import { countCalls } from "../../support/counting-proxy.ts";
import { operatorStoreUrl, operatorUser } from "../../support/operator-access.ts";
import { durable, RedisProcess } from "../../support/redis-process.ts";
import { eventually } from "../../support/patience.ts";
import { ended, type Field, openField, type Operator } from "./harness.ts";

let field: Field;
let redis: RedisProcess;
let first: Operator;
let second: Operator;
let model: string;
beforeAll(async () => {
  field = await openField();
  redis = await RedisProcess.start({ ...durable, user: operatorUser() }, true);
  model = await serveModel(field.place, sample("market-brief.model.yaml"));
  first = await field.startOperator("first-0");
  second = await field.startOperator("second-0", {
    OAO_LEASE_NAME: "second",
    OAO_LEADER_ELECTION: "false",
    OAO_STORE: operatorStoreUrl(redis.port),
  });
  await Promise.all([first.said('"leading"'), second.said('"leading"')]);
});
afterAll(async () => {
  await field.end();
  await redis.remove();
});

const holders = () => ({ [`${field.home}/oao`]: field.redis, [`${field.home}/second`]: redis });
const fieldPath = (name: string, subresource?: string) =>
  resourcePath(resources.executions, {
    namespace: field.namespace,
    name,
    ...(subresource === undefined ? {} : { subresource }),
  });

test("every run of a namespace that two releases watch succeeds, and one of them alone has touched it", async () => {
  const counted = await countCalls(model);
  const names = Array.from({ length: 6 }, (_, place) => `shared-${place}`);
  await Promise.all(names.map((name) => field.apply("market-brief.yaml", name, counted.url)));
  let modelCalls = 0;
  for (const name of names) {
    const { status, metadata } = await field.until(name, ended);
    expect(status).toMatchObject({ phase: "Succeeded", progress: "5/5" });
    expect(Object.keys(holders())).toContain(status?.operator);
    for (const [holder, store] of Object.entries(holders())) {
      const journals = holder === status?.operator ? ":1" : ":0";
      expect(await store.command("EXISTS", runKeys(metadata.uid).execution), `${name} at ${holder}`).toContain(
        journals,
      );
    }
    modelCalls += status?.usage?.modelCalls ?? 0;
  }
  // None but those that the runs know of; a worker that a busy machine loses may have had no time for its own.
  expect(counted.calls.length).toBeLessThanOrEqual(modelCalls);
  expect(counted.calls.length).toBeGreaterThanOrEqual(5 * names.length);
  await counted.close();
});

test("a run whose release is gone is left alone, seen in log and metrics, and goes on when that release is back", async () => {
  second.child.kill("SIGTERM");
  await second.ended;
  const slow = await slowModel();
  await field.apply("market-brief.yaml", "kept", slow);
  await field.untilAtWork("kept", "research-demand");
  first.child.kill("SIGKILL");
  await first.ended;
  second = await field.startOperator("second-1", {
    OAO_LEASE_NAME: "second",
    OAO_LEADER_ELECTION: "false",
    OAO_STORE: operatorStoreUrl(redis.port),
  });
  const before = await field.get("kept");
  await second.said("another operator holds Executions of this namespace");
  const text = await (await fetch(`${second.url}/metrics`)).text();
  expect(text).toMatch(new RegExp(`^oao_executions_held_elsewhere\\{operator="${field.home}/oao"\\} [1-9]`, "m"));
  // What comes after it is worked on, so the pass over it is over too.
  await field.apply("market-brief.yaml", "later", model);
  expect((await field.until("later", ended)).status?.operator).toBe(`${field.home}/second`);
  expect((await field.get("kept")).metadata.resourceVersion).toBe(before.metadata.resourceVersion);
  first = await field.startOperator("first-1");
  expect((await field.until("kept", ended)).status).toMatchObject({
    phase: "Succeeded",
    progress: "5/5",
    operator: `${field.home}/oao`,
  });
});

test("a run whose release never comes back goes once it is deleted and handed over", async () => {
  await field.apply("market-brief.yaml", "orphan", await slowModel());
  const { metadata } = await field.until("orphan", (run) => (run.status?.nodes.length ?? 0) > 0);
  const holder = (await field.until("orphan", (run) => run.status?.snapshot !== undefined)).status?.operator;
  const [gone, left] = holder === `${field.home}/oao` ? [first, "second"] : [second, "oao"];
  gone.child.kill("SIGKILL");
  await gone.ended;
  await field.admin.request({ method: "DELETE", path: fieldPath("orphan") });
  expect((await field.get("orphan")).metadata.finalizers).toContain(finalizer);
  const body = { status: { operator: `${field.home}/${left}` } };
  await field.admin.request({ method: "PATCH", patch: "Merge", path: fieldPath("orphan", "status"), body });
  await eventually(() => expect(field.get("orphan")).rejects.toThrow("not found"));
  const owned = ({ metadata: pod }: KubeObject) => pod.ownerReferences?.[0]?.uid === metadata.uid;
  await eventually(async () => expect((await field.pods()).filter(owned)).toEqual([]));
});

/** Of the sample's answers, so slowly that a test can step in. */
function slowModel(): Promise<string> {
  const answers = readFileSync(sample("market-brief.model.yaml"), "utf8");
  return field.script("slow.yaml", answers.replace("tokensPerSecond: 150", "tokensPerSecond: 15"));
}
