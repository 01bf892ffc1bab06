import { describe, expect, it } from "vitest";
import type { ToolSpec } from "../../../src/api/tool.ts";
import { admit } from "../../../src/core/planner/admit.ts";
import { policy, spec } from "./builders.ts";

const good = { runId: "1", durable: true, reasons: [], unfit: [] };
const weak = { ...good, durable: false, reasons: ["appendfsync is everysec: set it to always"] };
const evicting = { ...weak, unfit: ["maxmemory-policy is allkeys-lru: set it to noeviction"] };

const tool = (name: string, effect?: ToolSpec["effect"]): ToolSpec => ({
  name,
  ...(effect === undefined ? {} : { effect }),
  http: { method: "POST", url: "https://x.example/" },
});
const base = {
  spec: spec(["a"], { tools: [tool("pay"), tool("look", "ReadOnly")] }),
  policy: policy(),
  store: good,
  fill: 0,
  requireFitStore: true,
};

describe("a run", () => {
  it("starts over a durable store with room", () => expect(admit(base)).toBeUndefined());

  it("with NonIdempotent tools waits for a store that may forget their calls, and names tool and setting", () => {
    const told = admit({ ...base, store: weak });
    expect(told?.reason).toBe("CheckpointsNotDurable");
    expect(told?.message).toMatch(
      /NonIdempotent: pay\. Set the store right \(appendfsync is everysec.*onLossWindow: Allow/,
    );
  });

  it.each([
    ["a policy allows it", { policy: policy({ onLossWindow: "Allow" }) }],
    ["no tool is NonIdempotent", { spec: spec(["a"], { tools: [tool("put", "Idempotent")] }) }],
    ["it has no tools", { spec: spec(["a"]) }],
  ] as const)("starts over such a store where %s", (_, change) => {
    expect(admit({ ...base, store: weak, ...change })).toBeUndefined();
  });

  it("waits for a store that drops journals by itself, unless that was allowed for trying", () => {
    const change = { store: evicting, spec: spec(["a"]) };
    expect(admit({ ...base, ...change })).toMatchObject({
      reason: "StoreUnfit",
      message: expect.stringMatching(/noeviction/) as string,
    });
    expect(admit({ ...base, ...change, requireFitStore: false })).toBeUndefined();
  });

  it("waits from 80 % of the store's memory on, and not before", () => {
    expect(admit({ ...base, fill: 0.799 })).toBeUndefined();
    expect(admit({ ...base, fill: 0.8 })).toMatchObject({
      reason: "StoreNearlyFull",
      message: expect.stringMatching(/80 % full/) as string,
    });
  });
});
