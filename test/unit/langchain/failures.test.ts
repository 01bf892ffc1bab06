import { describe, expect, test } from "vitest";
import { classify, retryAfterMs } from "../../../src/adapters/langchain/failures.ts";
import { CallFailure } from "../../../src/ports/step.ts";

const nowMs = Date.parse("2026-01-01T00:00:00Z");

describe("Retry-After", () => {
  test.each([
    [{ "retry-after": "7" }, 7_000],
    [{ "retry-after": "0.25" }, 250],
    [{ "retry-after": "Thu, 01 Jan 2026 00:00:30 GMT" }, 30_000],
    [{ "retry-after": "Wed, 31 Dec 2025 00:00:00 GMT" }, 0],
    [{ "retry-after-ms": "120", "retry-after": "7" }, 120],
    [{ "retry-after": "soon" }, undefined],
    [{ "retry-after": "-1" }, undefined],
    [{}, undefined],
  ])("%j is %s ms", (headers, expected) => {
    expect(retryAfterMs(headers, nowMs)).toBe(expected);
    expect(retryAfterMs(new Headers(headers as Record<string, string>), nowMs)).toBe(expected);
  });
});

describe("classify", () => {
  test("leaves a CallFailure as it is, also inside LangChain's wrapping", () => {
    const failure = new CallFailure("Timeout", "slow");
    const wrapped = Object.assign(new Error("wrapped", { cause: failure }), { "~brand": "MiddlewareError" });
    expect(classify(wrapped)).toBe(failure);
  });

  test("keeps no cause, since it may hold headers", () => {
    expect(classify(new Error("x", { cause: { headers: "secret" } })).cause).toBeUndefined();
  });

  test("shortens what servers send and repairs cut text", () => {
    const { message } = classify(new Error(`${"x".repeat(599)}\u{1f600}`));
    expect(message.length).toBeLessThanOrEqual(601);
    expect(message.isWellFormed()).toBe(true);
  });

  test.each([
    ["ECONNREFUSED", "NetworkFailure", false],
    ["ECONNRESET", "NetworkFailure", true],
    ["UND_ERR_SOCKET", "NetworkFailure", true],
    ["UND_ERR_HEADERS_TIMEOUT", "Timeout", true],
    ["UND_ERR_CONNECT_TIMEOUT", "Timeout", false],
  ])("%s is a %s, sent: %s", (code, failureClass, sent) => {
    const cause = Object.assign(new Error("inner"), { code });
    const several = new AggregateError([cause], "all addresses");
    expect(classify(new TypeError("fetch failed", { cause: several }))).toMatchObject({ failureClass, sent });
  });
});
