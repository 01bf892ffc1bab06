import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ExecutionStatus } from "../../../src/api/status.ts";
import { frontOf, lookAgainMs, Slots } from "../../../src/host/slots.ts";
import type { StoredExecution } from "../../../src/ports/cluster.ts";

type Phase = "New" | "Queued" | "Open" | "Waiting";

function run(name: string, createdAtMs: number, phase: Phase): StoredExecution {
  const status = {
    New: undefined,
    Queued: { phase: "Queued" },
    Waiting: { phase: "Pending" },
    Open: { phase: "Running", snapshot: "s" },
  }[phase] as ExecutionStatus | undefined;
  const key = { namespace: "team-a", name };
  return {
    key,
    uid: name,
    resourceVersion: "1",
    generation: 1,
    createdAtMs,
    object: { apiVersion: "oao.dev/v1alpha1", kind: "Execution", metadata: key, spec: { task: "t", nodes: [] } },
    status,
  };
}

describe("a turn", () => {
  it("is the oldest one's, and the others are told their place", () => {
    const runs = [run("open", 0, "Open"), run("b", 2, "Queued"), run("a", 1, "Queued"), run("c", 3, "New")];
    const slots = new Slots();
    const [, b, a, c] = runs as [StoredExecution, StoredExecution, StoredExecution, StoredExecution];
    expect(slots.take(c, 2, runs)).toEqual({ place: 3, waiting: 3, running: 1 });
    expect(slots.take(b, 2, runs)).toEqual({ place: 2, waiting: 3, running: 1 });
    expect(slots.take(a, 2, runs)).toBeUndefined();
    // No cache shows it yet: it counts all the same, and asking again takes no second slot.
    expect(slots.take(b, 2, runs)).toEqual({ place: 1, waiting: 2, running: 2 });
    expect(slots.take(a, 2, runs)).toBeUndefined();
  });

  it("of a run that could not be opened goes to the next", () => {
    const runs = [run("a", 1, "New"), run("b", 2, "Queued")] as const;
    const slots = new Slots();
    expect(slots.take(runs[0], 1, runs)).toBeUndefined();
    expect(slots.take(runs[1], 1, runs)).toMatchObject({ place: 1 });
    slots.give(runs[0]);
    const waits = [run("a", 1, "Waiting"), runs[1]] as const;
    expect(slots.take(runs[1], 1, waits)).toBeUndefined();
  });

  it("may have come for the oldest sixteen of a long queue; the farther back, the rarer a look", () => {
    const runs = Array.from({ length: 40 }, (_, i) => run(`r${i}`, 100 - i, i % 2 === 0 ? "Queued" : "Open"));
    expect(frontOf(runs).map(({ uid }) => uid)).toEqual(Array.from({ length: 16 }, (_, i) => `r${38 - 2 * i}`));
    expect(lookAgainMs({ place: 1, waiting: 1, running: 1 })).toBe(2_000);
    expect(lookAgainMs({ place: 5_000, waiting: 1, running: 1 })).toBe(300_000);
  });
});

it("maxConcurrentExecutions is never passed, and no run takes a slot that an older one waits for, whatever a stale cache shows", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 3 }),
      fc.array(fc.record({ who: fc.nat(7), does: fc.constantFrom("ask", "ask", "end", "see") }), { maxLength: 120 }),
      (limit, events) => {
        const slots = new Slots();
        const truth = new Map<string, Phase | "Over">(Array.from({ length: 8 }, (_, i) => [`r${i}`, "New"]));
        // What the cache shows lags behind until somebody sees.
        let cache = new Map(truth);
        const count = (phases: readonly string[], before = 8) =>
          [...truth.values()].slice(0, before).filter((phase) => phases.includes(phase)).length;
        const shown = () => [...cache].flatMap(([name, phase], i) => (phase === "Over" ? [] : [run(name, i, phase)]));
        for (const { who, does } of events) {
          const name = `r${who}`;
          if (does === "see") cache = new Map(truth);
          if (does === "end" && truth.get(name) === "Open") {
            truth.set(name, "Over");
            cache.set(name, "Over"); // the host itself wrote it
          }
          const asks = truth.get(name) === "New" || truth.get(name) === "Queued";
          const seen = shown().find(({ uid }) => uid === name);
          if (does !== "ask" || !asks || seen === undefined) continue;
          const place = slots.take(seen, limit, shown());
          truth.set(name, place === undefined ? "Open" : "Queued");
          const taken = count(["Open"]) + count(["New", "Queued"], who);
          expect(place === undefined ? taken <= limit : taken >= limit).toBe(true);
        }
        expect(count(["Open"])).toBeLessThanOrEqual(limit);
      },
    ),
    { numRuns: 2_000 },
  );
});
