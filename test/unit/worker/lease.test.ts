import { describe, expect, test } from "vitest";
import { Lease } from "../../../src/worker/lease.ts";

describe("a lease", () => {
  let nowMs = 0;
  const lease = (ttlMs: number) => new Lease(ttlMs, 1_000, { monotonicMs: () => nowMs });

  test("is as long as it is set while only the worker's own code runs", () => {
    expect(lease(120_000).ttlMs).toBe(120_000);
  });

  test("covers a module's call and a little more, also one that is longer than a lease", () => {
    const held = lease(10_000);
    const ended = held.lend(60_000);
    expect(held.ttlMs).toBe(63_000);
    nowMs += 59_000;
    expect(held.ttlMs).toBe(5_000);
    ended();
    expect(held.ttlMs).toBe(10_000);
  });

  test("ends soon after a call that never ends, however long it is set", () => {
    const held = lease(120_000);
    held.lend(2_000);
    expect(held.ttlMs).toBe(5_000);
    nowMs += 60_000;
    expect(held.ttlMs).toBe(5_000);
  });

  test("covers the longest of several calls", () => {
    const held = lease(10_000);
    const long = held.lend(30_000);
    held.lend(20_000);
    expect(held.ttlMs).toBe(33_000);
    long();
    expect(held.ttlMs).toBe(23_000);
  });

  test("that is set shorter than a margin stays so", () => {
    const held = lease(1_000);
    held.lend(1);
    nowMs += 10_000;
    expect(held.ttlMs).toBe(1_000);
  });
});
