/** Calls that may have taken effect: what becomes of them is the policy's to say, or a person's. */
import { afterEach, describe, expect, it } from "vitest";
import { MemoryStore } from "../../../src/adapters/store/memory/memory-store.ts";
import type { Answer } from "../../../src/core/planner/types.ts";
import type { Finished, IntentEntry } from "../../../src/core/steps/format.ts";
import { doubtRequest } from "../../../src/core/steps/identity.ts";
import { openPolicy } from "../../support/policies.ts";
import { attemptNode, journalOf, openTestRun, orderFor, stepsOf } from "../../support/run-worker.ts";
import { startToolServer, toolNode } from "../../support/tool-server.ts";

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function toolServer(answer: Parameters<typeof startToolServer>[0]) {
  const server = await startToolServer(answer);
  closing.push(server.close);
  return server;
}

describe("a NonIdempotent call in doubt under onInDoubt: Ask", () => {
  const uncertain = [
    ["after a crash", { status: 200, body: {}, hang: true }],
    ["after an answer that leaves doubt", { status: 503, body: {} }],
  ] as const;
  const asked = async (first: (typeof uncertain)[number][1]) => {
    let hangs = 0;
    const server = await toolServer((count) => {
      if (count === 1) return first;
      return count === hangs ? { status: 200, body: {}, hang: true } : { status: 200, body: { ok: true } };
    });
    const hangAt = (count: number) => {
      hangs = count;
    };
    const store = new MemoryStore({ nowMs: () => Date.now() });
    const spec = toolNode(server.url, { effect: "NonIdempotent" });
    const opened = await openTestRun(store, spec, openPolicy({ onInDoubt: "Ask" }));
    const terminate = new AbortController();
    const attempt = attemptNode(store, orderFor(opened, "n", 1), { terminate: terminate.signal });
    await expect.poll(() => server.seen.length).toBe(1);
    if ("hang" in first) terminate.abort("killed");
    await attempt;
    const [intent] = (await journalOf(store, opened.uid, "n")).filter((entry) => entry.type === "intent");
    const request = doubtRequest({ node: "n" }, intent as IntentEntry);
    const answer = (decision: Answer["decision"]) => ({
      answers: { [request]: { decision, by: "alice", proven: true, decidedAt: "2026-01-01T00:00:00.000Z" } },
    });
    return { server, store, opened, answer, hangAt };
  };
  const finishedOf = async (store: MemoryStore, uid: string) =>
    JSON.parse((await store.view(uid, [{ node: "n" }])).items[0]?.finished ?? "null") as Finished | null;

  it.each(uncertain)(
    "%s is made neither again nor given up: its worker leaves to have a person decide",
    async (_, first) => {
      const { server, store, opened } = await asked(first);
      expect(await attemptNode(store, orderFor(opened, "n", 2))).toBe("waiting");
      expect(await attemptNode(store, orderFor(opened, "n", 3))).toBe("waiting");
      expect(server.seen.length).toBe(1);
      expect(await finishedOf(store, opened.uid)).toBeNull();
    },
  );

  it.each(uncertain)("%s is made again once approved, and the answer is a recorded step", async (_, first) => {
    const { server, store, opened, answer } = await asked(first);
    expect(await attemptNode(store, orderFor(opened, "n", 2, answer("Approved")))).toBe("done");
    expect(new Set(server.seen.map((call) => call.key)).size).toBe(1);
    expect(server.seen.length).toBe(2);
    expect(stepsOf(await journalOf(store, opened.uid, "n"))).toMatchObject([
      { kind: "approval", path: [0, 1, 0, 1], outcome: "Ok", attempt: 2 },
      { kind: "tool", path: [0, 1], outcome: "Ok", attempt: 2 },
    ]);
  });

  it.each(uncertain)("%s is not made again once rejected: the node fails, and says who decided", async (_, first) => {
    const { server, store, opened, answer } = await asked(first);
    expect(await attemptNode(store, orderFor(opened, "n", 2, answer("Rejected")))).toBe("failed");
    expect(server.seen.length).toBe(1);
    expect(await finishedOf(store, opened.uid)).toMatchObject({
      final: true,
      error: {
        class: "InDoubt",
        message: expect.stringContaining("alice decided that it is not called again") as string,
      },
    });
  });

  it("that is in doubt again after it was approved is asked about again: an answer is for one call", async () => {
    const { server, store, opened, answer, hangAt } = await asked(uncertain[1][1]);
    const terminate = new AbortController();
    hangAt(2);
    const second = attemptNode(store, orderFor(opened, "n", 2, answer("Approved")), { terminate: terminate.signal });
    await expect.poll(() => server.seen.length).toBe(2);
    terminate.abort("killed");
    await second;
    expect(await attemptNode(store, orderFor(opened, "n", 3, answer("Approved")))).toBe("waiting");
    expect(server.seen.length).toBe(2);
  });
});

describe("a NonIdempotent call in doubt under onInDoubt: Retry", () => {
  it.each([
    {
      predecessorMayLive: true,
      waits: "is made again only after the time limit of the first, whose end nobody has seen",
    },
    { predecessorMayLive: false, waits: "is made again at once after a worker that was seen to end" },
  ])("$waits", async ({ predecessorMayLive }) => {
    const timeoutSeconds = 3;
    const calledAtMs: number[] = [];
    const server = await toolServer((count) => {
      calledAtMs.push(Date.now());
      return count === 1 ? { status: 200, body: {}, hang: true } : { status: 200, body: { ok: true } };
    });
    const store = new MemoryStore({ nowMs: () => Date.now() });
    const spec = toolNode(server.url, { effect: "NonIdempotent", timeoutSeconds });
    const opened = await openTestRun(store, spec, openPolicy({ onInDoubt: "Retry" }));
    const terminate = new AbortController();
    const first = attemptNode(store, orderFor(opened, "n", 1), { terminate: terminate.signal });
    await expect.poll(() => server.seen.length).toBe(1);
    terminate.abort("killed");
    expect(await first).toBe("stopped");
    const order = orderFor(opened, "n", 2, predecessorMayLive ? { predecessorMayLive } : {});
    expect(await attemptNode(store, order)).toBe("done");
    const [intent] = (await journalOf(store, opened.uid, "n")).filter((entry) => entry.type === "intent");
    const overAtMs = (intent?.type === "intent" ? intent.deadlineMs : undefined) ?? Number.NaN;
    expect((calledAtMs[1] ?? 0) >= overAtMs).toBe(predecessorMayLive);
  });
});
