/** Leader election between clients of a real API server. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { systemClock } from "../../../src/adapters/clock/system-clock.ts";
import type { KubeClient } from "../../../src/adapters/kube/client.ts";
import { runAsLeader } from "../../../src/adapters/kube/lease.ts";
import { resourcePath, resources } from "../../../src/adapters/kube/resources.ts";
import { eventually } from "../../support/patience.ts";
import { adminClient, makeNamespace, removeNamespace } from "./api-server.ts";
import { FaultyProxy } from "./faulty-proxy.ts";

const leaseMs = 3_000;
const admin = adminClient();
let namespace: string;

beforeAll(async () => {
  namespace = await makeNamespace(admin);
});
afterAll(async () => {
  await removeNamespace(admin, namespace);
  admin.close();
});

/** A process that wants to lead. */
class Candidate {
  beganMs: number | undefined;
  endedMs: number | undefined;
  readonly #stop = new AbortController();
  readonly #begun = Promise.withResolvers<void>();
  readonly outcome: Promise<"Stopped" | "Lost">;

  constructor(name: string, identity: string, client: KubeClient = admin) {
    const options = { client, clock: systemClock, namespace, name, identity, leaseMs };
    this.outcome = runAsLeader(options, (signal) => this.#lead(signal), this.#stop.signal);
  }

  stop(): Promise<"Stopped" | "Lost"> {
    this.#stop.abort();
    return this.outcome;
  }

  async begun(): Promise<void> {
    await this.#begun.promise;
  }

  async #lead(signal: AbortSignal): Promise<void> {
    this.beganMs = performance.now();
    this.#begun.resolve();
    await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    this.endedMs = performance.now();
  }
}

test("one of several leads, and it goes on leading for longer than a lease", async () => {
  const candidates = ["a", "b", "c"].map((identity) => new Candidate("one", identity));
  await eventually(() => expect(candidates.some(({ beganMs }) => beganMs !== undefined)).toBe(true));
  await systemClock.sleep(leaseMs * 2); // the time itself is what is tested
  expect(candidates.filter(({ beganMs }) => beganMs !== undefined)).toHaveLength(1);
  expect(candidates.filter(({ endedMs }) => endedMs !== undefined)).toHaveLength(0);
  const followers = candidates.filter(({ beganMs }) => beganMs === undefined);
  await Promise.all(followers.map((each) => each.stop()));
  await Promise.all(candidates.map((each) => each.stop()));
});

test("a leader that stops gives the lease back, and a standby leads within a second", async () => {
  const first = new Candidate("stop", "first");
  await first.begun();
  const standby = new Candidate("stop", "standby");
  expect(await first.stop()).toBe("Stopped");
  const stoppedMs = performance.now();
  await standby.begun();
  expect(standby.beganMs! - stoppedMs).toBeLessThan(1_000);
  expect(await standby.stop()).toBe("Stopped");
});

test("a leader that is cut off stops before a standby begins, and the standby begins within the lease time and 2 s", async () => {
  const proxy = new FaultyProxy();
  await proxy.listen();
  const client = proxy.client();
  const first = new Candidate("cut", "first", client);
  await first.begun();
  const standby = new Candidate("cut", "standby");
  const cutMs = performance.now();
  await proxy.close();
  expect(await first.outcome).toBe("Lost");
  await standby.begun();
  expect(first.endedMs!).toBeLessThan(standby.beganMs!);
  expect(standby.beganMs! - cutMs).toBeLessThan(leaseMs + 2_000);
  await standby.stop();
  client.close();
});

test("a leader whose lease was taken from it stops", async () => {
  const first = new Candidate("taken", "first");
  await first.begun();
  const path = resourcePath(resources.leases, { namespace, name: "taken" });
  await admin.request({ method: "PATCH", patch: "Merge", path, body: { spec: { holderIdentity: "thief" } } });
  expect(await first.outcome).toBe("Lost");
});

test("a leader whose lease object was deleted makes it again and goes on", async () => {
  const first = new Candidate("deleted", "first");
  await first.begun();
  const path = resourcePath(resources.leases, { namespace, name: "deleted" });
  await admin.request({ method: "DELETE", path });
  await eventually(() => admin.request({ path }), 100);
  expect(first.endedMs).toBeUndefined();
  expect(await first.stop()).toBe("Stopped");
});
