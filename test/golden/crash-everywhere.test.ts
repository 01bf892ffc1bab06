/**
 * J3, J4, J7: crash at every command of a recorded run, before and after it takes effect, resume, and compare.
 */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../../src/adapters/clock/system-clock.ts";
import { MemoryStore } from "../../src/adapters/store/memory/memory-store.ts";
import { type MockModel, startMockModel } from "../../src/cli/mock-model/server.ts";
import { type Finished, type JournalEntry } from "../../src/core/steps/format.ts";
import type { JournalStore } from "../../src/ports/store.ts";
import { openPolicy } from "../support/policies.ts";
import { attemptNode, journalOf, openTestRun, orderFor, stepsOf, type TestRun } from "../support/run-worker.ts";
import { atCommand, crashingStore, type Crash } from "./crashing-store.ts";
import { type Shape, shapes } from "./shapes.ts";

let toolServer: Server;
let toolUrl: string;
const toolCalls: { query: string; key: string }[] = [];

beforeAll(async () => {
  toolServer = createServer((request, response) => {
    const query = new URL(request.url ?? "/", "http://tool").searchParams.get("q") ?? "";
    toolCalls.push({ query, key: String(request.headers["idempotency-key"]) });
    response.writeHead(query === "broken" ? 404 : 200, { "content-type": "application/json" });
    response.end(
      JSON.stringify(query === "broken" ? { error: "no index" } : { hits: [`${query} one`, `${query} two`] }),
    );
  });
  await new Promise<void>((resolve) => toolServer.listen(0, "127.0.0.1", resolve));
  toolUrl = `http://127.0.0.1:${(toolServer.address() as AddressInfo).port}`;
});

afterAll(() => {
  toolServer.closeAllConnections();
  toolServer.close();
});

/** Chance and time stand still, so that a fresh run records the same values as the undisturbed one. */
const clock = {
  ...systemClock,
  nowMs: () => 1_700_000_000_000,
  random: () => 0.42,
  uuid: () => "00000000-0000-4000-8000-000000000000",
};

interface Ended {
  readonly finished: Finished;
  readonly entries: JournalEntry[];
  readonly settledTokens: number;
  readonly lostTokens: number;
  readonly settledSteps: number;
  /** Sum over recorded steps, and over recorded steps and repeats. */
  readonly stepTokens: number;
  readonly callTokens: number;
}

async function readEnd(store: JournalStore, run: TestRun): Promise<Ended> {
  const { execution, items } = await store.view(run.uid, [{ node: "n" }]);
  const entries = await journalOf(store, run.uid, "n");
  const tokens = (types: readonly string[]) =>
    entries.reduce(
      (sum, entry) => sum + (types.includes(entry.type) && "usage" in entry ? (entry.usage?.counted.total ?? 0) : 0),
      0,
    );
  return {
    finished: JSON.parse(items[0]?.finished ?? "null") as Finished,
    entries,
    stepTokens: tokens(["step"]),
    callTokens: tokens(["step", "repeat"]),
    settledTokens: execution?.account.settled.TotalTokens ?? -1,
    lostTokens: execution?.account.lost.TotalTokens ?? -1,
    settledSteps: execution?.account.settled.Steps ?? -1,
  };
}

/** What makes two runs the same: every step by place, content and outcome. */
function outline(entries: readonly JournalEntry[]) {
  return stepsOf(entries)
    .map(({ path, kind, name, requestDigest, occurrence, outcome }) => ({
      path: path.join("."),
      kind,
      name,
      requestDigest,
      occurrence,
      outcome,
    }))
    .sort((a, b) => a.path.localeCompare(b.path));
}

async function crashAndResume(shape: Shape, mock: MockModel, crash: Crash) {
  mock.reset();
  toolCalls.length = 0;
  const inner = new MemoryStore({ nowMs: () => Date.now() });
  const run = await openTestRun(inner, shape.spec({ model: mock.baseURL, tool: toolUrl }));
  const terminate = new AbortController();
  const { store, crashed } = crashingStore(inner, crash, () => terminate.abort("crashed"));
  const first = await attemptNode(store, orderFor(run, "n", 1), { terminate: terminate.signal, clock });
  if (!crashed()) return { crashed: false as const, first, inner, run };
  const recorded = stepsOf(await journalOf(inner, run.uid, "n"));
  const before = {
    model: mock.calls().length,
    tool: toolCalls.length,
    keys: new Set(toolCalls.map((call) => call.key)),
  };
  const second = await attemptNode(inner, orderFor(run, "n", 2), { clock });
  return { crashed: true as const, first, second, recorded, before, inner, run };
}

/** Calls in flight end by themselves, and only commands tell of the control state. */
const quiet = { suspendGraceMs: 600_000, heartbeatIntervalMs: 600_000, leaseTtlMs: 6_000_000 };

describe.each(shapes)("$name", (shape) => {
  let mock: MockModel;
  beforeAll(async () => {
    mock = await startMockModel({ script: shape.script });
  });
  afterAll(() => mock.close());

  it.each(["Before", "After"] as const)(
    "a crash %s any command ends as the undisturbed run, repeats no committed call, charges none twice",
    async (when) => {
      mock.reset();
      const store = new MemoryStore({ nowMs: () => Date.now() });
      const run = await openTestRun(store, shape.spec({ model: mock.baseURL, tool: toolUrl }));
      const counted = crashingStore(store, { at: Number.POSITIVE_INFINITY, when: "Before" }, () => undefined);
      expect(await attemptNode(counted.store, orderFor(run, "n", 1), { clock })).toBe("done");
      const undisturbed = await readEnd(store, run);
      const commands = counted.commands();
      expect(commands).toBeGreaterThan(3);
      expect(undisturbed.lostTokens).toBe(0);

      for (let at = 0; at < commands; at += 1) {
        const place = `crash ${when} command ${at}`;
        // The mock's `times` rules and the tool server start afresh in each round.
        const round = await crashAndResume(shape, mock, { at, when });
        expect(round.crashed, place).toBe(true);
        if (!round.crashed) continue;
        expect(round.first, place).not.toBe("done");
        expect(round.second, place).toBe("done");
        const end = await readEnd(round.inner, round.run);
        expect(end.finished.outcome, place).toBe("Succeeded");
        expect(outline(end.entries), place).toEqual(outline(undisturbed.entries));
        // J4: what was recorded before the crash is in the end the very same entry, and was not asked again.
        const intentsAfter = end.entries
          .filter((entry) => entry.type === "intent" && entry.attempt === 2)
          .map((entry) => (entry.type === "intent" ? entry.path.join(".") : ""));
        for (const step of round.recorded) expect(intentsAfter, place).not.toContain(step.path.join("."));
        const retries = end.entries.filter((entry) => entry.type === "repeat").length;
        const modelSteps = stepsOf(end.entries).filter((step) => step.kind === "model").length;
        const inDoubt = mock.calls().length - modelSteps - retries;
        expect(inDoubt, place).toBeGreaterThanOrEqual(0);
        expect(inDoubt, place).toBeLessThanOrEqual(1);
        // No double charge: recorded tokens are the undisturbed run's; what the dead call held stands beside them.
        expect(end.stepTokens, place).toBe(undisturbed.stepTokens);
        expect(end.settledTokens, place).toBe(end.callTokens);
        expect(end.settledSteps, place).toBe(undisturbed.settledSteps);
        expect(end.entries[0]?.type, place).toBe("start");
        // The same idempotency key for the call that was made again.
        expect(new Set(toolCalls.map((call) => call.key)).size, place).toBe(
          new Set(
            stepsOf(end.entries)
              .filter((step) => step.name === "search")
              .map((step) => `${step.requestDigest}/${step.occurrence}`),
          ).size,
        );
      }
    },
  );

  it("a suspension at any command loses no token, asks the model for nothing twice, and ends as the undisturbed run", async () => {
    mock.reset();
    const store = new MemoryStore({ nowMs: () => Date.now() });
    const run = await openTestRun(store, shape.spec({ model: mock.baseURL, tool: toolUrl }));
    const counted = atCommand(store, Number.POSITIVE_INFINITY, async () => undefined);
    expect(await attemptNode(counted.store, orderFor(run, "n", 1), { clock, ...quiet })).toBe("done");
    const undisturbed = await readEnd(store, run);
    const calls = mock.calls().length;

    for (let at = 1; at < counted.commands(); at += 1) {
      const place = `suspended at command ${at}`;
      mock.reset();
      const inner = new MemoryStore({ nowMs: () => Date.now() });
      const other = await openTestRun(inner, shape.spec({ model: mock.baseURL, tool: toolUrl }));
      const suspended = atCommand(inner, at, () =>
        inner.execute(other.uid, { op: "control", to: "Suspended", message: "suspended" }),
      );
      const first = await attemptNode(suspended.store, orderFor(other, "n", 1), { clock, ...quiet });
      await inner.execute(other.uid, { op: "control", to: "Running", message: "" });
      const exits = [first];
      if (first !== "done") exits.push(await attemptNode(inner, orderFor(other, "n", 2), { clock, ...quiet }));
      expect([["done"], ["stopped", "done"]], place).toContainEqual(exits);
      const end = await readEnd(inner, other);
      expect(outline(end.entries), place).toEqual(outline(undisturbed.entries));
      expect(end.stepTokens, place).toBe(undisturbed.stepTokens);
      expect(end.lostTokens, place).toBe(0);
      expect(mock.calls().length, place).toBe(calls);
    }
  });
});

describe("an agent that a Call budget cuts in its second answer", () => {
  let mock: MockModel;
  beforeAll(async () => {
    mock = await startMockModel({
      script: {
        rules: [
          { match: { turn: 0 }, reply: { toolCalls: [{ name: "search", arguments: { q: "x" } }] } },
          { reply: { tokens: 5_000, ignoreMaxTokens: true } },
        ],
      },
    });
  });
  afterAll(() => mock.close());

  it.each(["Before", "After"] as const)(
    "is Violated with the same words and one Cut step after a crash %s any command",
    async (when) => {
      const policy = openPolicy({ limits: { execution: {}, node: {}, call: { OutputTokens: 300 } } });
      const spec = shapes[1]?.spec({ model: mock.baseURL, tool: toolUrl });
      if (spec === undefined) throw new Error("there is no such shape");
      for (let at = 0, crashed = true; crashed; at += 1) {
        const place = `crash ${when} command ${at}`;
        const inner = new MemoryStore({ nowMs: () => Date.now() });
        const run = await openTestRun(inner, spec, policy);
        const terminate = new AbortController();
        const crash = crashingStore(inner, { at, when }, () => terminate.abort("crashed"));
        const first = await attemptNode(crash.store, orderFor(run, "n", 1), { terminate: terminate.signal, clock });
        crashed = crash.crashed();
        // Once the violation is durable there is nothing to resume.
        const second = crashed ? await attemptNode(inner, orderFor(run, "n", 2), { clock }) : first;
        expect(["failed", "stopped"], place).toContain(second);
        const { execution } = await inner.view(run.uid, []);
        expect(execution?.control, place).toMatchObject({
          state: "Violated",
          message:
            "PolicyViolation: Max Token Limit Exceeded: budget of scope Call, unit OutputTokens, limit 300, one call needs 301",
        });
        const end = await readEnd(inner, run);
        expect(
          stepsOf(end.entries).map((step) => `${step.kind} ${step.outcome}`),
          place,
        ).toEqual(["model Ok", "tool Ok", "model Cut"]);
        expect(end.settledTokens, place).toBe(end.callTokens);
      }
    },
  );
});
