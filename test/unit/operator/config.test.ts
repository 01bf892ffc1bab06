import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { readOperatorConfig } from "../../../src/operator/config.ts";

const folder = mkdtempSync(join(tmpdir(), "oao-config-"));
afterAll(() => rmSync(folder, { recursive: true }));

const whole = {
  OAO_STORE: "redis://operator:pw@redis:6379/0",
  OAO_STORE_USER_KEY: "0123456789abcdef",
  OAO_POD_NAMESPACE: "oao-system",
  OAO_IDENTITY: "oao-0",
  OAO_WORKER_IMAGE: "oao-worker:1",
};
const file = (name: string, text: string) => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
const floor = (spec: string) =>
  `apiVersion: oao.dev/v1alpha1\nkind: GovernancePolicy\nmetadata: { name: floor }\nspec: ${spec}\n`;

test("pods get the store's address without the operator's credentials", () => {
  expect(readOperatorConfig(whole).workerStoreUrl).toBe("redis://redis:6379/0");
});

test("resources of worker pods are quantities, and 1Gi of memory at most where nobody says", () => {
  const read = (text?: string) => readOperatorConfig({ ...whole, OAO_WORKER_RESOURCES: text }).workerResources;
  expect(read().limits).toEqual({ memory: "1Gi" });
  expect(read('{"requests":{"cpu":2},"limits":{"memory":"3Gi"}}')).toEqual({
    requests: { cpu: "2" },
    limits: { memory: "3Gi" },
  });
  expect(() => read('{"limits":{"memory":"a lot"}}')).toThrow(/memory is "a lot"/);
  expect(() => read("1Gi")).toThrow(/OAO_WORKER_RESOURCES is no JSON object/);
});

test("every setting that is missing or unreadable is named at once", () => {
  expect(() => readOperatorConfig({ OAO_METRICS_PORT: "x", OAO_STORE_USER_KEY: "short" })).toThrow(
    /OAO_STORE is not set[^]*OAO_STORE_USER_KEY must have 16[^]*OAO_POD_NAMESPACE[^]*OAO_IDENTITY[^]*OAO_WORKER_IMAGE[^]*OAO_METRICS_PORT/,
  );
});

test("a floor policy that cannot be read is no floor: the operator does not start", () => {
  const start = (path: string) => () => readOperatorConfig({ ...whole, OAO_FLOOR_POLICY: path });
  expect(start(join(folder, "absent.yaml"))).toThrow(/OAO_FLOOR_POLICY names a file that cannot be read/);
  expect(start(file("typo.yaml", floor("{ maxTokenz: 5 }")))).toThrow(/maxTokenz/);
  expect(start(file("none.yaml", "# nothing\n"))).toThrow(/OAO_FLOOR_POLICY/);
  const { floorPolicies } = readOperatorConfig({
    ...whole,
    OAO_FLOOR_POLICY: file("good.yaml", floor("{ maxTokens: 5 }")),
  });
  expect(floorPolicies).toMatchObject([{ metadata: { name: "floor" }, spec: { maxTokens: 5 } }]);
});

test("tools never connect to the API server", () => {
  expect(readOperatorConfig({ ...whole, KUBERNETES_SERVICE_HOST: "10.96.0.1" }).denyCidrs).toEqual(["10.96.0.1/32"]);
  expect(readOperatorConfig({ ...whole, KUBERNETES_SERVICE_HOST: "fd00::1" }).denyCidrs).toEqual(["fd00::1/128"]);
});
