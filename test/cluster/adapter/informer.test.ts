/** The cache against a real API server, with what can go wrong on the way put in by a real proxy. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../../../src/adapters/clock/system-clock.ts";
import type { KubeClient } from "../../../src/adapters/kube/client.ts";
import { type Change, Informer, type InformerOptions } from "../../../src/adapters/kube/informer.ts";
import type { KubeError } from "../../../src/adapters/kube/kube-error.ts";
import {
  adminClient,
  changeConfigMap,
  type ConfigMap,
  configMaps,
  deleteObject,
  makeConfigMap,
  makeNamespace,
  removeNamespace,
} from "./api-server.ts";
import { eventually } from "../../support/patience.ts";
import { FaultyProxy, type Seen, statusBody } from "./faulty-proxy.ts";

const admin = adminClient();
let namespace: string;
let proxy: FaultyProxy;
let client: KubeClient;
let informer: Informer<ConfigMap>;
let errors: KubeError[];
let changes: Change<ConfigMap>[];

beforeAll(async () => {
  namespace = await makeNamespace(admin);
});
afterAll(async () => {
  await removeNamespace(admin, namespace);
  admin.close();
});
beforeEach(async () => {
  proxy = new FaultyProxy();
  await proxy.listen();
  client = proxy.client();
  errors = [];
  changes = [];
});
afterEach(async () => {
  await informer.stop();
  client.close();
  await proxy.close();
});

const isList = (seen: Seen) => seen.url.pathname.endsWith("/configmaps") && !seen.isWatch;
const isWatch = (seen: Seen) => seen.isWatch;
const text = (name: string) => informer.get(namespace, name)?.data?.["text"];

function create(options: Partial<InformerOptions<ConfigMap>> = {}): Informer<ConfigMap> {
  const created = new Informer<ConfigMap>({
    client,
    clock: systemClock,
    resource: configMaps,
    namespace,
    backoff: { firstMs: 20, maxMs: 200 },
    onRestart: (error) => errors.push(error),
    ...options,
  });
  created.onChange((change) => changes.push(change));
  return created;
}

/** Synced and watching. */
async function begin(options: Partial<InformerOptions<ConfigMap>> = {}): Promise<void> {
  informer = create(options);
  informer.start();
  await informer.synced;
  await eventually(() => expect(proxy.openWatches).toBe(1));
}

/** A change that the broken watch does not tell, seen all the same. */
async function healsFrom(breakIt: () => unknown): Promise<void> {
  await makeConfigMap(admin, namespace, "stays", "1");
  await makeConfigMap(admin, namespace, "goes", "1");
  await eventually(() => expect([text("stays"), text("goes")]).toEqual(["1", "1"]));
  const reset = proxy.fault;
  proxy.fault = (seen) => (seen.isWatch ? "Cut" : reset(seen));
  await breakIt();
  await deleteObject(admin, configMaps, namespace, "goes");
  await changeConfigMap(admin, namespace, "stays", "2");
  proxy.fault = reset;
  await eventually(() => expect([text("stays"), text("goes")]).toEqual(["2", undefined]));
  expect(informer.restarts).toBe(errors.length);
  await eventually(() => expect(proxy.openWatches).toBe(1));
  await deleteObject(admin, configMaps, namespace, "stays");
  await eventually(() => expect(text("stays")).toBeUndefined());
}

describe("a cache", () => {
  test("lists in pages and holds what is there, without managedFields", async () => {
    const names = Array.from({ length: 7 }, (_, place) => `page-${place}`);
    await Promise.all(names.map((name) => makeConfigMap(admin, namespace, name, name)));
    await begin({ pageSize: 3 });
    expect(names.map(text)).toEqual(names);
    expect(proxy.count(isList)).toBeGreaterThanOrEqual(3);
    expect([...informer.values()].every(({ metadata }) => metadata.managedFields === undefined)).toBe(true);
    await Promise.all(names.map((name) => deleteObject(admin, configMaps, namespace, name)));
    await eventually(() => expect(names.map(text).every((each) => each === undefined)).toBe(true));
  });

  test("tells each change once, in order", async () => {
    await begin();
    await makeConfigMap(admin, namespace, "told", "1");
    await changeConfigMap(admin, namespace, "told", "2");
    await deleteObject(admin, configMaps, namespace, "told");
    const told = () => changes.filter(({ object }) => object.metadata.name === "told");
    await eventually(() => expect(told()).toHaveLength(3));
    expect(told().map(({ type, object }) => `${type} ${object.data?.["text"]}`)).toEqual([
      "Added 1",
      "Changed 2",
      "Deleted 2",
    ]);
  });

  test("keeps only what its trim function leaves", async () => {
    await begin({ trim: ({ metadata }) => ({ metadata }) });
    await makeConfigMap(admin, namespace, "trimmed", "x".repeat(1_000));
    await eventually(() => expect(informer.get(namespace, "trimmed")).toBeDefined());
    expect(informer.get(namespace, "trimmed")).not.toHaveProperty("data");
    await deleteObject(admin, configMaps, namespace, "trimmed");
  });

  test("that a listener of its list stops ends at once", async () => {
    await makeConfigMap(admin, namespace, "stopper", "1");
    informer = create();
    const stopped = new Promise<void>((resolve) => informer.onChange(() => void informer.stop().then(() => resolve())));
    const beganMs = performance.now();
    informer.start();
    await stopped;
    expect(performance.now() - beganMs).toBeLessThan(5_000);
    await deleteObject(admin, configMaps, namespace, "stopper");
  });

  test("that a listener throws in goes on", async () => {
    await begin();
    informer.onChange(() => {
      throw new Error("on purpose");
    });
    await makeConfigMap(admin, namespace, "thrown", "1");
    await eventually(() => expect(text("thrown")).toBe("1"));
    await changeConfigMap(admin, namespace, "thrown", "2");
    await eventually(() => expect(text("thrown")).toBe("2"));
    expect(errors).toEqual([]);
    await deleteObject(admin, configMaps, namespace, "thrown");
  });

  test("holds an own write before the watch tells it, and never goes back to an older version", async () => {
    await begin();
    proxy.blackhole();
    const first = await makeConfigMap(admin, namespace, "own", "1");
    const second = await changeConfigMap(admin, namespace, "own", "2");
    informer.remember(second);
    informer.remember(first);
    expect(text("own")).toBe("2");
    await deleteObject(admin, configMaps, namespace, "own");
    proxy.cut();
    await eventually(() => expect(text("own")).toBeUndefined());
  });

  test("does not bring back an object that was deleted before the answer to a write of it arrived", async () => {
    await begin();
    const late = await makeConfigMap(admin, namespace, "late", "1");
    await deleteObject(admin, configMaps, namespace, "late");
    await eventually(() => expect(changes.some(({ type }) => type === "Deleted")).toBe(true));
    informer.remember(late);
    expect(text("late")).toBeUndefined();
  });

  test("that is idle is not restarted when the server ends its watch in time", async () => {
    await begin({ watchSeconds: 2, silenceMs: 4_000 });
    await eventually(() => expect(proxy.count(isWatch)).toBeGreaterThanOrEqual(3));
    expect(errors).toEqual([]);
    expect(proxy.count(isList)).toBe(1);
    await makeConfigMap(admin, namespace, "idle", "1");
    await eventually(() => expect(text("idle")).toBe("1"));
    await deleteObject(admin, configMaps, namespace, "idle");
  });
});

describe("a cache heals", () => {
  test.each([
    ["410 Gone in the middle of a watch", statusBody(410, "Expired")],
    ["a 500 in the middle of a watch", statusBody(500, "InternalError")],
  ])("from %s by listing again", async (_, status) => {
    await begin();
    await healsFrom(() => proxy.say(JSON.stringify({ type: "ERROR", object: status })));
    expect(errors[0]?.status).toBe((status as { code: number }).code);
    expect(proxy.count(isList)).toBeGreaterThanOrEqual(2);
  });

  test("from a line that is no JSON", async () => {
    await begin();
    await healsFrom(() => proxy.say("<html>"));
    expect(errors[0]?.reason).toBe("Unreadable");
    expect(proxy.count(isList)).toBeGreaterThanOrEqual(2);
  });

  test("from a connection that is cut, and goes on from where it was", async () => {
    await begin();
    await healsFrom(() => proxy.cut());
    expect(errors[0]?.reason).toBe("Unreachable");
    expect(proxy.count(isList)).toBe(1);
  });

  test.each([
    ["410 Gone", statusBody(410, "Expired")],
    ["500", statusBody(500, "InternalError")],
  ])("from a watch that is refused with %s, however often", async (_, body) => {
    await begin();
    let refusals = 0;
    await healsFrom(async () => {
      proxy.fault = (seen) =>
        seen.isWatch && (refusals += 1) > 0 ? { status: (body as { code: number }).code, body } : undefined;
      proxy.cut();
      await eventually(() => expect(refusals).toBeGreaterThanOrEqual(4));
    });
  });

  test("from a list that expires between two pages, by beginning it again", async () => {
    const names = Array.from({ length: 5 }, (_, place) => `expired-${place}`);
    await Promise.all(names.map((name) => makeConfigMap(admin, namespace, name, name)));
    let expired = 0;
    proxy.fault = (seen) =>
      seen.url.searchParams.has("continue") && (expired += 1) === 1
        ? { status: 410, body: statusBody(410, "Expired") }
        : undefined;
    await begin({ pageSize: 2 });
    expect(names.map(text)).toEqual(names);
    expect(errors.map(({ status }) => status)).toEqual([410]);
    await Promise.all(names.map((name) => deleteObject(admin, configMaps, namespace, name)));
  });

  test("from 429 with Retry-After, and asks no sooner than it was told", async () => {
    await begin();
    const refused: number[] = [];
    proxy.fault = (seen) => {
      if (!seen.isWatch || refused.length > 0) return undefined;
      refused.push(seen.atMs);
      return { status: 429, headers: { "Retry-After": "2" }, body: statusBody(429, "TooManyRequests") };
    };
    const before = proxy.count(isWatch);
    proxy.cut();
    await eventually(() => expect(proxy.count(isWatch)).toBe(before + 2));
    expect(proxy.seen.findLast(isWatch)!.atMs - refused[0]!).toBeGreaterThanOrEqual(1_990);
    await makeConfigMap(admin, namespace, "later", "1");
    await eventually(() => expect(text("later")).toBe("1"));
    await deleteObject(admin, configMaps, namespace, "later");
  });

  test("from an API server that is away for a while, also at its start", async () => {
    await proxy.close();
    informer = create();
    informer.start();
    await eventually(() => expect(errors.length).toBeGreaterThanOrEqual(1));
    await proxy.listen();
    await informer.synced;
    await eventually(() => expect(proxy.openWatches).toBe(1));
    await proxy.close();
    await makeConfigMap(admin, namespace, "away", "1");
    await proxy.listen();
    await eventually(() => expect(text("away")).toBe("1"));
    await deleteObject(admin, configMaps, namespace, "away");
  });

  test("from a watch that goes silent within 60 s: it is listed again", { timeout: 90_000 }, async () => {
    await begin();
    proxy.blackhole();
    const brokenMs = performance.now();
    await makeConfigMap(admin, namespace, "unheard", "1");
    await eventually(() => expect(text("unheard")).toBe("1"));
    expect(performance.now() - brokenMs).toBeLessThan(60_000);
    expect(errors.map(({ reason }) => reason)).toEqual(["Silent"]);
    expect(proxy.count(isList)).toBe(2);
    await deleteObject(admin, configMaps, namespace, "unheard");
  });
});
