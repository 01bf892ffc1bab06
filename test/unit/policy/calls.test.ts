import fc from "fast-check";
import { expect, test } from "vitest";
import type { Json } from "../../../src/core/digest/json.ts";
import { budgetMessage, callBudgetMessage } from "../../../src/core/policy/messages.ts";
import { redactor } from "../../../src/core/policy/redact.ts";
import { retryDelayMs } from "../../../src/core/policy/retry.ts";
import type { RetryRule } from "../../../src/core/policy/types.ts";

const rule: RetryRule = {
  maxRetries: 5,
  retryDelayMs: 1000,
  exponentialBackoff: 2,
  maxDelayMs: 5000,
  jitter: "None",
  retryOn: [],
};

test("delays grow by the factor up to the longest", () => {
  expect([1, 2, 3, 4, 1000].map((retry) => retryDelayMs(rule, [], retry))).toEqual([1000, 2000, 4000, 5000, 5000]);
  expect(retryDelayMs({ ...rule, retryDelayMs: 0 }, [], 2000)).toBe(0);
});

test("Retry-After is waited for in full, but no longer than the longest delay", () => {
  expect(retryDelayMs(rule, [], 1, 3000)).toBe(3000);
  expect(retryDelayMs({ ...rule, jitter: "Seeded" }, ["u"], 1, 3000)).toBe(3000);
  expect(retryDelayMs(rule, [], 1, 90_000)).toBe(5000);
  expect(retryDelayMs(rule, [], 1, Number.POSITIVE_INFINITY)).toBe(5000);
});

test("jitter is a function of run, step and retry, and takes at most half away", () => {
  const seeded = { ...rule, jitter: "Seeded" as const };
  const delays = Array.from({ length: 50 }, (_, i) => retryDelayMs(seeded, ["uid", `step${i}`], 1));
  expect(new Set(delays).size).toBeGreaterThan(40);
  expect(retryDelayMs(seeded, ["uid", "step0"], 1)).toBe(delays[0]);
  expect(retryDelayMs(seeded, ["ui", "dstep0"], 1)).not.toBe(delays[0]);
  fc.assert(
    fc.property(fc.array(fc.string()), fc.integer({ min: 1, max: 50 }), (parts, retry) => {
      const delay = retryDelayMs(seeded, parts, retry);
      const full = retryDelayMs(rule, parts, retry);
      expect(delay).toBeGreaterThanOrEqual(full / 2);
      expect(delay).toBeLessThanOrEqual(full);
      expect(Number.isInteger(delay)).toBe(true);
    }),
    { numRuns: 200, seed: 5 },
  );
});

test.each([
  ["TotalTokens", "Max Token Limit Exceeded"],
  ["InputTokens", "Max Token Limit Exceeded"],
  ["OutputTokens", "Max Token Limit Exceeded"],
  ["ModelCalls", "Max Model Calls Exceeded"],
  ["ToolCalls", "Max Tool Calls Exceeded"],
  ["Steps", "Max Steps Exceeded"],
] as const)("a stop by %s reads %s, with budget, limit and spend", (unit, title) => {
  const refusal = { scope: "Execution" as const, unit, limit: 5000, spent: 4988, reserved: 0, need: 16 };
  expect(budgetMessage(refusal, { [`Execution/${unit}`]: "standard/b" })).toBe(
    `PolicyViolation: ${title}: budget standard/b (Execution ${unit}), limit 5000, spent 4988, needed 16 more`,
  );
});

test("a budget of one call says what the call used", () => {
  expect(callBudgetMessage("OutputTokens", 300, 301, { "Call/OutputTokens": "standard/call" })).toBe(
    "PolicyViolation: Max Token Limit Exceeded: budget standard/call (Call OutputTokens), limit 300, one call needs 301",
  );
});

test.each<[string, string[], Json, Json]>([
  ["a member", ["$.password"], { user: "u", password: "p" }, { user: "u", password: "[REDACTED]" }],
  ["a nested object as a whole", ["$.a.b"], { a: { b: { c: 1 } } }, { a: { b: "[REDACTED]" } }],
  [
    "every entry",
    ["$.items[*].token"],
    { items: [{ token: 1 }, { id: 2 }, 3] },
    { items: [{ token: "[REDACTED]" }, { id: 2 }, 3] },
  ],
  ["one entry", ["$.rows[1]"], { rows: [1, 2] }, { rows: [1, "[REDACTED]"] }],
  ["every member", ["$.secrets[*]"], { secrets: { a: 1, b: 2 } }, { secrets: { a: "[REDACTED]", b: "[REDACTED]" } }],
  [
    "nothing where the path leads nowhere",
    ["$.a.b.c", "$.x[3].y"],
    { a: { b: null }, x: [1] },
    { a: { b: null }, x: [1] },
  ],
  ["JSON in a text", ["$.password"], '{ "password": "p", "n": 1 }', '{"password":"[REDACTED]","n":1}'],
  ["not text that only looks like JSON", ["$.password"], '{ "password": ', '{ "password": '],
  ["not JSON text inside of a value", ["$.password"], { body: '{"password":1}' }, { body: '{"password":1}' }],
])("redaction hides %s", (_, paths, value, wanted) => {
  expect(redactor(paths)(value)).toEqual(wanted);
});

test("a text in which no path meets anything stays byte for byte", () => {
  expect(redactor(["$.password"])('{ "a":  12345678901234567890 }')).toBe('{ "a":  12345678901234567890 }');
});

test("secret values are masked in every text and in names", () => {
  const mask = (text: string) => text.replaceAll("hunter2", "[SECRET]");
  expect(redactor([], mask)({ a: ["x hunter2 y"], hunter2: 1 })).toEqual({ a: ["x [SECRET] y"], "[SECRET]": 1 });
});

test("names such as __proto__ are members like any other", () => {
  const value = JSON.parse('{"__proto__":{"password":1},"a":{"__proto__":2}}') as Json;
  const hidden = redactor(["$.__proto__.password", "$.a.x"])(value);
  expect(JSON.stringify(hidden)).toBe('{"__proto__":{"password":"[REDACTED]"},"a":{"__proto__":2}}');
  expect(({} as { password?: unknown }).password).toBeUndefined();
});

test("a path that the schema would refuse is an error, not a path that hides nothing", () => {
  expect(() => redactor(["$..password"])).toThrow("no redaction path");
  expect(() => redactor(["$"])).toThrow("no redaction path");
});

test("redaction leaves its input alone and changes nothing the second time", () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 4 }), (given) => {
      const value = { a: { b: given }, list: [given] } as Json;
      const before = JSON.stringify(value);
      const redact = redactor(["$.a.b", "$.list[*]"]);
      const once = redact(value);
      expect(JSON.stringify(value)).toBe(before);
      expect(once).toEqual({ a: { b: "[REDACTED]" }, list: ["[REDACTED]"] });
      expect(redact(once)).toEqual(once);
    }),
    { numRuns: 100, seed: 9 },
  );
});
