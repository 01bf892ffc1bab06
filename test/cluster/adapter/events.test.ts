/** Events as a real API server keeps them. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { systemClock } from "../../../src/adapters/clock/system-clock.ts";
import type { KubeClient } from "../../../src/adapters/kube/client.ts";
import { EventRecorder, type RunEvent } from "../../../src/adapters/kube/events.ts";
import { resourcePath, resources } from "../../../src/adapters/kube/resources.ts";
import { adminClient, deleteObject, makeNamespace, removeNamespace } from "./api-server.ts";
import { FaultyProxy, statusBody } from "./faulty-proxy.ts";

const admin = adminClient();
let namespace: string;

beforeAll(async () => {
  namespace = await makeNamespace(admin);
});
afterAll(async () => {
  await removeNamespace(admin, namespace);
  admin.close();
});

interface StoredEvent {
  readonly metadata: { readonly name: string };
  readonly note: string;
  readonly series?: { readonly count: number };
}

const recorder = (client: KubeClient = admin) =>
  new EventRecorder({ client, clock: systemClock, controller: "oao.dev/operator", instance: "test" });
const event = (name: string, note = "node write failed"): RunEvent => ({
  regarding: { key: { namespace, name }, uid: `uid-of-${name}` },
  type: "Warning",
  reason: "NodeFailed",
  action: "Retry",
  note,
});
async function stored(name: string): Promise<readonly StoredEvent[]> {
  const query = { fieldSelector: `regarding.name=${name}` };
  const path = resourcePath(resources.events, { namespace });
  return (await admin.request<{ items: StoredEvent[] }>({ path, query })).items;
}

test("an event names its object, reason, action and reporter", async () => {
  const told = recorder();
  told.record(event("first"));
  await told.flush();
  expect(await stored("first")).toMatchObject([
    {
      type: "Warning",
      reason: "NodeFailed",
      action: "Retry",
      note: "node write failed",
      reportingController: "oao.dev/operator",
      reportingInstance: "test",
      regarding: { apiVersion: "oao.dev/v1alpha1", kind: "Execution", name: "first", uid: "uid-of-first" },
    },
  ]);
});

test("the same said again is one event with a count, another note is another event", async () => {
  const told = recorder();
  for (let place = 0; place < 3; place += 1) {
    told.record(event("again"));
    await told.flush();
  }
  told.record(event("again", "another"));
  told.record(event("again", "another"));
  await told.flush();
  const counts = (await stored("again")).map(({ note, series }) => `${note} ${series?.count ?? 1}`);
  expect(counts.toSorted()).toEqual(["another 2", "node write failed 3"]);
});

test("an event that the cluster has dropped meanwhile is told anew", async () => {
  const told = recorder();
  told.record(event("dropped"));
  await told.flush();
  const [first] = await stored("dropped");
  await deleteObject(admin, resources.events, namespace, first!.metadata.name);
  told.record(event("dropped"));
  await told.flush();
  expect(await stored("dropped")).toHaveLength(1);
});

test("a note of any length and text is kept as far as it fits", async () => {
  const told = recorder();
  told.record(event("long", "ü€😀".repeat(1_000)));
  await told.flush();
  const [only] = await stored("long");
  expect(Buffer.byteLength(only?.note ?? "")).toBeLessThanOrEqual(1_024);
  expect(only?.note.startsWith("ü€😀")).toBe(true);
});

test("recording never throws, waits for nothing, and drops what is too much", async () => {
  const proxy = new FaultyProxy();
  await proxy.listen();
  const client = proxy.client();
  const told = recorder(client);
  proxy.fault = () => ({ status: 403, body: statusBody(403, "Forbidden") });
  for (let place = 0; place < 1_500; place += 1) told.record(event("many", `note ${place}`));
  expect(told.dropped).toBeGreaterThanOrEqual(499);
  await told.flush();
  expect(told.dropped).toBe(1_500);
  expect(await stored("many")).toEqual([]);
  client.close();
  await proxy.close();
});
