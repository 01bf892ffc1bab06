import { describe, expect, test } from "vitest";
import { Problem } from "../../../../src/operator/api/problems.ts";
import { RateLimit } from "../../../../src/operator/api/rate-limit.ts";
import { Turns } from "../../../../src/operator/api/turns.ts";

describe("the rate of a caller", () => {
  test("is a burst, then even; others have their own", () => {
    let nowMs = 0;
    const limit = new RateLimit({ perSecond: 2, burst: 3 }, () => nowMs);
    const taken = () => [1, 2, 3].map(() => limit.take("a"));
    expect(taken()).toEqual([undefined, undefined, undefined]);
    expect(limit.take("a")).toBe(500);
    expect(limit.look("a")).toBe(500);
    expect(limit.take("b")).toBeUndefined();
    nowMs = 500;
    expect(limit.look("a")).toBeUndefined();
    expect([limit.take("a"), limit.take("a")]).toEqual([undefined, 500]);
    nowMs = 60_000;
    expect([...taken(), limit.take("a")]).toEqual([undefined, undefined, undefined, 500]);
  });
});

describe("turns", () => {
  const never = new AbortController().signal;
  const settled = async (promise: Promise<unknown>) =>
    Promise.race([promise.then(() => true), new Promise((resolve) => setImmediate(() => resolve(false)))]);

  test("go round, and one caller never has them all", async () => {
    const turns = new Turns({ atOnce: 2, perCaller: 1, waiting: 10 });
    const first = await turns.take("a", never);
    const second = turns.take("a", never);
    expect(await settled(second)).toBe(false);
    const other = await turns.take("b", never);
    const third = turns.take("c", never);
    expect(await settled(third)).toBe(false);
    other();
    other();
    expect(await settled(third)).toBe(true);
    expect(await settled(second)).toBe(false);
    first();
    expect(await settled(second)).toBe(true);
  });

  test("are not waited for by more than the limit, nor after the caller has gone", async () => {
    const turns = new Turns({ atOnce: 1, perCaller: 1, waiting: 1 });
    const release = await turns.take("a", never);
    const leaving = new AbortController();
    const left = turns.take("b", leaving.signal);
    await expect(turns.take("c", never)).rejects.toThrow(Problem);
    leaving.abort();
    await expect(left).rejects.toThrow("nobody waits");
    const next = turns.take("c", never);
    release();
    expect(await settled(next)).toBe(true);
  });
});
