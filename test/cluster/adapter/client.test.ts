/** Requests to a real API server, some through a proxy that breaks them. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import type { KubeClient, KubeRequest } from "../../../src/adapters/kube/client.ts";
import { KubeError } from "../../../src/adapters/kube/kube-error.ts";
import { resourcePath } from "../../../src/adapters/kube/resources.ts";
import {
  adminClient,
  type ConfigMap,
  configMaps,
  makeConfigMap,
  makeNamespace,
  removeNamespace,
} from "./api-server.ts";
import { FaultyProxy, statusBody } from "./faulty-proxy.ts";

const admin = adminClient();
let namespace: string;
let proxy: FaultyProxy;
let client: KubeClient;

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
});
afterEach(async () => {
  client.close();
  await proxy.close();
});

const get = (name: string): KubeRequest => ({ path: resourcePath(configMaps, { namespace, name }) });
const create = (name: string): KubeRequest => ({
  method: "POST",
  path: resourcePath(configMaps, { namespace }),
  body: { metadata: { name } },
});
const failure = (request: Promise<unknown>) =>
  request.then(
    () => expect.unreachable("the request succeeded"),
    (error: unknown) => error as KubeError,
  );
/** Answers the first `times` requests with an error. */
function refuse(times: number, status: number, reason: string, headers: Record<string, string> = {}): void {
  let refused = 0;
  proxy.fault = () => ((refused += 1) <= times ? { status, headers, body: statusBody(status, reason) } : undefined);
}

test("requests share connections", async () => {
  await makeConfigMap(admin, namespace, "shared");
  for (let place = 0; place < 20; place += 1) await client.request(get("shared"));
  expect(proxy.connections).toBe(1);
});

test("what the server refuses is an error with its status, reason and message", async () => {
  const error = await failure(client.request(get("nothing")));
  expect(error).toBeInstanceOf(KubeError);
  expect(error).toMatchObject({ status: 404, reason: "NotFound" });
  expect(error.message).toContain('configmaps "nothing" not found');
  await makeConfigMap(admin, namespace, "twice");
  expect(await failure(client.request(create("twice")))).toMatchObject({ status: 409, reason: "AlreadyExists" });
});

test.each<[NonNullable<KubeRequest["patch"]>, unknown, Record<string, string>]>([
  ["Merge", { data: { b: "2" } }, { a: "1", b: "2" }],
  ["Json", [{ op: "replace", path: "/data", value: { c: "3" } }], { c: "3" }],
  ["Apply", { apiVersion: "v1", kind: "ConfigMap", data: { d: "4" } }, { a: "1", d: "4" }],
])("a patch of kind %s is sent as what it is", async (patch, body, data) => {
  const name = `patched-${patch.toLowerCase()}`;
  await client.request({ ...create(name), body: { metadata: { name }, data: { a: "1" } } });
  const query = patch === "Apply" ? { fieldManager: "oao" } : {};
  expect((await client.request<ConfigMap>({ ...get(name), method: "PATCH", patch, query, body })).data).toEqual(data);
});

test("429 is sent again, also a POST, and not before Retry-After", async () => {
  refuse(1, 429, "TooManyRequests", { "Retry-After": "1" });
  await client.request(create("throttled"));
  expect(proxy.seen).toHaveLength(2);
  expect(proxy.seen[1]!.atMs - proxy.seen[0]!.atMs).toBeGreaterThanOrEqual(990);
});

test("503 and a cut connection are tried again where a repeat is harmless", async () => {
  await makeConfigMap(admin, namespace, "repeated");
  refuse(2, 503, "ServiceUnavailable");
  await client.request(get("repeated"));
  expect(proxy.seen).toHaveLength(3);
  let cuts = 0;
  proxy.fault = () => ((cuts += 1) <= 2 ? "Cut" : undefined);
  await client.request(get("repeated"));
  expect(proxy.seen).toHaveLength(6);
});

test("a POST whose answer is lost is not sent again, unless its caller says that it may be", async () => {
  proxy.fault = () => "Cut";
  expect(await failure(client.request(create("lost")))).toMatchObject({ status: 0, reason: "Unreachable" });
  expect(proxy.seen).toHaveLength(1);
  proxy.fault = () => (proxy.seen.length <= 3 ? "Cut" : undefined);
  await client.request({ ...create("lost"), repeatable: true });
  expect(proxy.seen).toHaveLength(4);
});

test("tries end: a server that stays broken is an error", async () => {
  refuse(100, 503, "ServiceUnavailable");
  expect(await failure(client.request(get("any")))).toMatchObject({ status: 503, reason: "ServiceUnavailable" });
  expect(proxy.seen).toHaveLength(4);
});

test("an answer that does not come is a Timeout, and the next request opens another connection", async () => {
  await makeConfigMap(admin, namespace, "slow");
  await client.request(get("slow"));
  proxy.blackhole();
  await client.request({ ...get("slow"), timeoutMs: 300 });
  expect(proxy.connections).toBe(2);
  proxy.blackhole();
  const error = await failure(client.request({ ...create("silent"), timeoutMs: 300 }));
  expect(error).toMatchObject({ status: 0, reason: "Timeout" });
});

test("a caller that gives up is not kept waiting, also between tries", async () => {
  refuse(100, 429, "TooManyRequests", { "Retry-After": "9" });
  const startedMs = performance.now();
  const signal = AbortSignal.timeout(200);
  expect(await failure(client.request({ ...get("any"), signal }))).toMatchObject({ status: 0, reason: "Aborted" });
  expect(performance.now() - startedMs).toBeLessThan(5_000);
  expect(await failure(client.request({ ...get("any"), signal }))).toMatchObject({ reason: "Aborted" });
});
