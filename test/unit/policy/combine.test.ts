import fc from "fast-check";
import { expect, test } from "vitest";
import type { GovernancePolicy, PolicySpec } from "../../../src/api/types.ts";
import { checkTool } from "../../../src/core/policy/checks.ts";
import { combinePolicies, type GoverningPolicy } from "../../../src/core/policy/combine.ts";
import { executionLimits, nodeLimits } from "../../../src/core/policy/limits.ts";
import type { EffectivePolicy } from "../../../src/core/policy/types.ts";
import { units } from "../../../src/core/protocol/types.ts";

function policy(name: string, spec: PolicySpec, namespace = "team"): GovernancePolicy {
  return { apiVersion: "oao.dev/v1alpha1", kind: "GovernancePolicy", metadata: { name, namespace }, spec };
}

function combine(...policies: GovernancePolicy[]): EffectivePolicy {
  return combinePolicies(
    policies.map((one): GoverningPolicy => ({ policy: one, role: "Default" })),
    { requirePairing: false },
  );
}

test("no policy at all gives the documented defaults and no limits", () => {
  expect(combine()).toEqual({
    requirePairing: false,
    policies: [],
    limits: { execution: {}, node: {}, call: {} },
    auditLimits: { execution: {}, node: {}, call: {} },
    limitNames: {},
    rules: [],
    retry: {
      maxRetries: 3,
      retryDelayMs: 1000,
      exponentialBackoff: 2,
      maxDelayMs: 60_000,
      jitter: "Seeded",
      retryOn: ["NetworkFailure", "RateLimit", "Timeout"],
    },
    maxRestarts: 5,
    maxParallel: undefined,
    maxDurationMs: undefined,
    sameCall: undefined,
    onInDoubt: "Fail",
    onLossWindow: "Refuse",
    recording: { content: "Full", redact: [], maxBodyBytes: 8_388_608 },
  });
});

test("the smallest of all budgets of a scope and unit holds, and its name is kept", () => {
  const found = combine(
    policy("a", { maxTokens: 900, budgets: [{ name: "all", scope: "Execution", unit: "TotalTokens", limit: 700 }] }),
    policy("b", { maxTokens: 800, budgets: [{ name: "call", scope: "Call", unit: "OutputTokens", limit: 50 }] }),
  );
  expect(found.limits).toEqual({ execution: { TotalTokens: 700 }, node: {}, call: { OutputTokens: 50 } });
  expect(found.limitNames).toEqual({ "Execution/TotalTokens": "a/all", "Call/OutputTokens": "b/call" });
});

test("maxTokens and maxSteps are budgets of the whole execution", () => {
  const found = combine(policy("standard", { maxTokens: 5000, limits: { maxSteps: 200 } }));
  expect(executionLimits(found).limits).toEqual({ TotalTokens: 5000, Steps: 200 });
  expect(executionLimits(found).limitNames).toMatchObject({
    "Execution/TotalTokens": "standard/maxTokens",
    "Execution/Steps": "standard/maxSteps",
  });
  expect(found.limits.node).toEqual({});
});

test("a node's own budget tightens and never widens", () => {
  const found = combine(
    policy("p", {
      budgets: [
        { name: "n", scope: "Node", unit: "TotalTokens", limit: 100 },
        { name: "c", scope: "Node", unit: "ModelCalls", limit: 5 },
      ],
    }),
  );
  const node = {
    name: "gather",
    budget: [
      { unit: "TotalTokens" as const, limit: 40 },
      { unit: "ModelCalls" as const, limit: 50 },
      { unit: "ToolCalls" as const, limit: 2 },
    ],
  };
  const opened = nodeLimits(found, node);
  expect(opened.limits).toEqual({ TotalTokens: 40, ModelCalls: 5, ToolCalls: 2 });
  expect(opened.limitNames).toEqual({
    "Node/TotalTokens": "gather/budget",
    "Node/ModelCalls": "p/c",
    "Node/ToolCalls": "gather/budget",
  });
});

test("an Audit policy stops and changes nothing: its limits are only watched", () => {
  const found = combine(
    policy("watch", {
      enforcement: "Audit",
      maxTokens: 10,
      limits: { maxParallel: 1, maxDurationSeconds: 1, loopDetection: { sameCall: 2 } },
      retry: { maxRetries: 0 },
      infrastructure: { maxRestarts: 0 },
      onInDoubt: "Fail",
      recording: { content: "DigestOnly", redact: ["$.password"] },
    }),
  );
  expect(found.limits.execution).toEqual({});
  expect(found.auditLimits.execution).toEqual({ TotalTokens: 10 });
  expect(found.limitNames).toEqual({ "Audit/Execution/TotalTokens": "watch/maxTokens" });
  expect(found.sameCall).toEqual({ limit: 2, enforcement: "Audit" });
  expect(found).toMatchObject({ maxParallel: undefined, maxDurationMs: undefined, maxRestarts: 5 });
  expect(found.retry.maxRetries).toBe(3);
  expect(found.recording).toMatchObject({ content: "Full", redact: ["$.password"] });
});

test("the strictest of retry, doubt, recording and loop detection holds", () => {
  const found = combine(
    policy("a", {
      retry: {
        maxRetries: 5,
        retryDelaySeconds: 1,
        exponentialBackoff: 2,
        maxDelaySeconds: 30,
        jitter: "None",
        retryOn: ["Timeout", "RateLimit"],
      },
      onInDoubt: "Retry",
      onLossWindow: "Allow",
      recording: { redact: ["$.b", "$.a"], maxBodyBytes: 4096 },
      limits: { loopDetection: { sameCall: 9 } },
    }),
    policy("b", {
      retry: {
        maxRetries: 1,
        retryDelaySeconds: 4,
        exponentialBackoff: 3,
        maxDelaySeconds: 60,
        jitter: "Seeded",
        retryOn: ["RateLimit", "ToolFailure"],
      },
      onInDoubt: "Fail",
      onLossWindow: "Refuse",
      recording: { content: "DigestOnly", redact: ["$.b", "$.c"], maxBodyBytes: 9000 },
      limits: { loopDetection: { sameCall: 4 } },
    }),
  );
  expect(found.retry).toEqual({
    maxRetries: 1,
    retryDelayMs: 4000,
    exponentialBackoff: 3,
    maxDelayMs: 30_000,
    jitter: "Seeded",
    retryOn: ["RateLimit"],
  });
  expect([found.onInDoubt, found.onLossWindow]).toEqual(["Fail", "Refuse"]);
  expect(found.recording).toEqual({ content: "DigestOnly", redact: ["$.a", "$.b", "$.c"], maxBodyBytes: 4096 });
  expect(found.sameCall).toEqual({ limit: 4, enforcement: "Enforce" });
});

test("a policy that is both default and referenced counts once", () => {
  const twice = policy("standard", { maxTokens: 5 });
  expect(combine(twice, twice).policies).toEqual([{ namespace: "team", name: "standard" }]);
  expect(combine(twice, policy("standard", { maxTokens: 5 }, "oao-system")).policies).toHaveLength(2);
});

const limit = fc.integer({ min: 1, max: 9 });
const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
const globs = fc.subarray(["a*", "b", "*"]);
const specs = fc.record({
  enforcement: fc.constantFrom("Enforce" as const, "Audit" as const),
  maxTokens: maybe(limit),
  budgets: fc.array(
    fc.record({
      name: fc.constantFrom("x", "y"),
      scope: fc.constantFrom("Call" as const, "Node" as const, "Execution" as const),
      unit: fc.constantFrom("TotalTokens" as const, "OutputTokens" as const, "ToolCalls" as const),
      limit,
    }),
    { maxLength: 4 },
  ),
  tools: fc.record({ allow: maybe(globs), deny: maybe(globs) }),
  retry: maybe(
    fc.record({
      maxRetries: limit,
      retryDelaySeconds: limit,
      exponentialBackoff: limit,
      maxDelaySeconds: limit,
      jitter: fc.constantFrom("None" as const, "Seeded" as const),
      retryOn: fc.subarray(["ToolFailure" as const, "NetworkFailure" as const, "Timeout" as const]),
    }),
  ),
  limits: fc.record({ maxSteps: maybe(limit), maxParallel: maybe(limit), maxDurationSeconds: maybe(limit) }),
  onInDoubt: maybe(fc.constantFrom("Fail" as const, "Retry" as const)),
  onLossWindow: maybe(fc.constantFrom("Refuse" as const, "Allow" as const)),
  recording: fc.record({
    content: maybe(fc.constantFrom("Full" as const, "DigestOnly" as const)),
    redact: fc.subarray(["$.a", "$.b"]),
  }),
});
const policyList = fc
  .array(fc.tuple(fc.constantFrom("p", "q", "r"), specs), { maxLength: 4 })
  .map((list) => list.map(([name, spec]) => policy(name, spec)));

test("combining does not depend on the order of the policies", () => {
  fc.assert(
    fc.property(
      policyList.chain((list) => fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length }))),
      ([list, shuffled]) => {
        expect(combine(...shuffled)).toEqual(combine(...list));
      },
    ),
    { numRuns: 300, seed: 1 },
  );
});

/** What `after` allows that `before` did not, of everything that some policy of `stated` speaks of. */
function widened(before: EffectivePolicy, after: EffectivePolicy, stated: readonly PolicySpec[]): string[] {
  const wider: string[] = [];
  const check = (what: string, holds: boolean) => {
    if (!holds) wider.push(what);
  };
  for (const which of ["limits", "auditLimits"] as const) {
    for (const scope of ["execution", "node", "call"] as const) {
      for (const unit of units) {
        const was = before[which][scope][unit];
        check(`${which}.${scope}.${unit}`, was === undefined || (after[which][scope][unit] ?? Infinity) <= was);
      }
    }
  }
  const atMost = (was: number | undefined, is: number | undefined) => was === undefined || (is ?? Infinity) <= was;
  check("maxParallel", atMost(before.maxParallel, after.maxParallel));
  check("maxDurationMs", atMost(before.maxDurationMs, after.maxDurationMs));
  check(
    "redact",
    before.recording.redact.every((path) => after.recording.redact.includes(path)),
  );
  check("content", before.recording.content === "Full" || after.recording.content === "DigestOnly");
  check("onInDoubt", !stated.some((spec) => spec.onInDoubt === "Fail") || after.onInDoubt === "Fail");
  check("onLossWindow", !stated.some((spec) => spec.onLossWindow === "Refuse") || after.onLossWindow === "Refuse");
  if (!stated.some((spec) => spec.retry !== undefined)) return wider;
  check("maxRetries", after.retry.maxRetries <= before.retry.maxRetries);
  check("maxDelay", after.retry.maxDelayMs <= before.retry.maxDelayMs);
  check("retryDelay", after.retry.retryDelayMs >= before.retry.retryDelayMs);
  check(
    "retryOn",
    after.retry.retryOn.every((failure) => before.retry.retryOn.includes(failure)),
  );
  return wider;
}

test("adding a policy never widens what the others say", () => {
  fc.assert(
    fc.property(policyList, specs, (list, extra) => {
      const stated = list.map((one) => one.spec).filter((spec) => spec.enforcement !== "Audit");
      expect(widened(combine(...list), combine(...list, policy("z", extra)), stated)).toEqual([]);
    }),
    { numRuns: 300, seed: 2 },
  );
});

test("adding a policy never allows a tool that was refused", () => {
  fc.assert(
    fc.property(policyList, specs, fc.constantFrom("a", "ab", "b", "c"), (list, extra, tool) => {
      const refusals = (...policies: GovernancePolicy[]) => checkTool(combine(...policies), { tool }).length;
      expect(refusals(...list, policy("z", extra))).toBeGreaterThanOrEqual(refusals(...list));
    }),
    { numRuns: 300, seed: 4 },
  );
});
