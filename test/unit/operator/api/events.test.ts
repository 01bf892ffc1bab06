import { describe, expect, test } from "vitest";
import { systemClock } from "../../../../src/adapters/clock/system-clock.ts";
import type { KubeClient } from "../../../../src/adapters/kube/client.ts";
import { KubeError } from "../../../../src/adapters/kube/kube-error.ts";
import { MemoryStore } from "../../../../src/adapters/store/memory/memory-store.ts";
import { events } from "../../../../src/operator/api/events.ts";
import type { Runs } from "../../../../src/operator/api/runs.ts";
import type { Call } from "../../../../src/operator/api/server.ts";
import { putRun, recordedRun } from "../../../support/recorded-run.ts";

describe("events of a run that has ended", () => {
  test("go on after its last step with how it ended, and leave nothing after that", async () => {
    const run = { ...recordedRun(), key: { namespace: "default", name: "brief" } };
    const refused = () => Promise.reject(new KubeError(403, "Forbidden", "nobody watches here"));
    const store = new MemoryStore({ nowMs: () => 0 });
    await putRun(store, run);
    const handlers = events({
      client: { request: refused, watch: refused } as unknown as KubeClient,
      clock: systemClock,
      runs: { readable: async () => run } as unknown as Runs,
      store: async () => store,
    });
    const ask = async (id?: string) => {
      const gone = new AbortController();
      const headers = id === undefined ? {} : { "last-event-id": id };
      const call = { caller: { username: "a", groups: [] }, params: {}, headers, accepts: "text/event-stream" };
      const { status, body } = await handlers.events({ ...call, signal: gone.signal } as unknown as Call);
      const told: string[] = [];
      for await (const text of (body ?? []) as AsyncIterable<string>) told.push(text);
      gone.abort();
      return { status, told };
    };
    const idOf = (text = "") => /^id: (.+)$/m.exec(text)?.[1] ?? "";
    const { told } = await ask();
    const [step, status] = [told.findLast((text) => text.includes("event: step")), told.at(-2)];
    expect(status).toContain('"phase":"Succeeded"');
    const rest = await ask(idOf(step));
    expect(rest).toEqual({ status: 200, told: [told[0], status, told.at(-1)] });
    expect(rest.told.at(-1)).toMatch(/^event: end\n/);
    expect(await ask(idOf(status))).toEqual({ status: 204, told: [] });
  });
});
