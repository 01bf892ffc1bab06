import { expect, test } from "vitest";
import { isNewer, type ObjectMeta } from "../../../src/adapters/kube/resources.ts";
import { storedExecution, storedPolicy, trimExecution } from "../../../src/adapters/kube/stored.ts";
import type { ExecutionStatus } from "../../../src/api/status.ts";
import type { PolicySpec } from "../../../src/api/types.ts";

const metadata: ObjectMeta = { name: "brief", namespace: "team-a", uid: "u", resourceVersion: "9", generation: 2 };
const spec = { task: "a long text", policyRef: { name: "p" }, nodes: [{ name: "a" }] };
const status = (more: Partial<ExecutionStatus>) =>
  ({ phase: "Succeeded", observedGeneration: 2, ...more }) as ExecutionStatus;

test("a run is held by whom the annotation of its own UID names: a copy of a manifest gives nothing away", () => {
  const heldBy = (annotations: Record<string, string>) =>
    storedExecution({
      metadata: { name: "r", namespace: "team-a", uid: "u1", resourceVersion: "1", annotations },
      spec: { task: "t", nodes: [] },
    }).heldBy;
  expect(heldBy({ "oao.dev/held-by": "u1 oao-system/oao" })).toBe("oao-system/oao");
  expect([heldBy({ "oao.dev/held-by": "u0 oao-system/oao" }), heldBy({}), heldBy({ "oao.dev/held-by": "" })]).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
});

test("a run that is over keeps its status and lets go of its texts", () => {
  const over = status({ completedAt: "2026-01-01T00:00:00Z", sealed: true });
  const trimmed = trimExecution({ metadata, spec, status: over });
  expect(trimmed.spec).toEqual({ task: "", policyRef: { name: "p" }, nodes: [] });
  expect(trimmed.status).toEqual(over);
});

test.each<[string, Partial<ExecutionStatus>]>([
  ["that is not sealed", { completedAt: "2026-01-01T00:00:00Z" }],
  [
    "whose spec changed after it was observed",
    { completedAt: "2026-01-01T00:00:00Z", sealed: true, observedGeneration: 1 },
  ],
])("a run %s keeps all of its spec", (_, more) => {
  expect(trimExecution({ metadata, spec, status: status(more) }).spec).toEqual(spec);
});

test("kubectl's copy of an object is not kept", () => {
  const annotations = { "kubectl.kubernetes.io/last-applied-configuration": "{…}", mine: "1" };
  expect(trimExecution({ metadata: { ...metadata, annotations }, spec }).metadata.annotations).toEqual({ mine: "1" });
});

test("a status that only the schema's defaults made is no status", () => {
  const defaults = { observedGeneration: -1 } as ExecutionStatus;
  expect(storedExecution({ metadata, spec, status: defaults }).status).toBeUndefined();
});

test.each<[string, unknown, RegExp]>([
  ["valid", { maxTokens: 5 }, /^$/],
  ["without a rule", {}, /rule/],
  ["with a field of another version", { maxTokens: 5, maxDollars: 1 }, /maxDollars/],
  ["with a value of another type", { maxTokens: "many" }, /maxTokens/],
  ["without a spec", undefined, /spec/],
])("a policy %s says so", (_, policySpec, problem) => {
  expect(storedPolicy({ metadata, spec: policySpec as PolicySpec }).problem ?? "").toMatch(problem);
});

test("versions are compared as numbers of any length", () => {
  expect(isNewer("10", "9")).toBe(true);
  expect(isNewer("9", "10")).toBe(false);
  expect(isNewer("9", "9")).toBe(false);
  expect(isNewer("92233720368547758090", "92233720368547758089")).toBe(true);
});
