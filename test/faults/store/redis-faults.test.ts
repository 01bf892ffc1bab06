/** A real redis-server that forgets its scripts, loses replies, runs full, stops, dies and forgets. */
import { statSync, truncateSync } from "node:fs";
import { randomUUID } from "node:crypto";
import { afterEach, describe, expect, test } from "vitest";
import { RedisStore } from "../../../src/adapters/store/redis/redis-store.ts";
import { scriptNames } from "../../../src/adapters/store/redis/scripts.ts";
import type { JournalStore } from "../../../src/ports/store.ts";
import { StoreFull, StoreUnavailable } from "../../../src/ports/store-errors.ts";
import { verifyChain } from "../../../src/core/trace/chain-check.ts";
import { body, Hand, openCommand } from "../../support/journal.ts";
import { durable, LossyProxy, RedisProcess } from "../../support/redis-process.ts";
import { modelStep, sessionOn } from "../../support/steps.ts";

const key = { node: "a" };
const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function server(settings: Readonly<Record<string, string>> = durable, tcp = false): Promise<RedisProcess> {
  const started = await RedisProcess.start(settings, tcp);
  cleanups.push(() => started.remove());
  return started;
}

async function connect(url: string, commandTimeoutMs?: number): Promise<RedisStore> {
  const store = await RedisStore.connect(url, commandTimeoutMs === undefined ? {} : { commandTimeoutMs });
  cleanups.push(() => store.close());
  return store;
}

async function opened(store: JournalStore): Promise<string> {
  const uid = randomUUID();
  await store.execute(uid, openCommand({ TotalTokens: 1_000_000 }));
  return uid;
}

/** Whole journal, checked to hold together. */
async function journal(store: JournalStore, uid: string): Promise<number> {
  const entries = await store.entries(uid, key, 0, 1_000_000);
  expect(verifyChain(uid, { ...key, entries })).toBeUndefined();
  return entries.length;
}

describe("a Redis that works", () => {
  test("loads its scripts again after SCRIPT FLUSH in the middle of a run", async () => {
    const redis = await server();
    const store = await connect(redis.url);
    const uid = await opened(store);
    const session = sessionOn(store, uid, key);
    await session.claim();
    for (let n = 0; n < 20; n += 1) {
      if (n % 5 === 0) await redis.command("SCRIPT", "FLUSH");
      await modelStep(session, n, `answer ${n}`);
    }
    expect(await journal(store, uid)).toBe(40);
  });

  test("says whether it is durable, and why not", async () => {
    const good = await connect((await server()).url);
    expect(await good.durability()).toEqual({ durable: true, reasons: [], unfit: [] });
    const bad = await connect(
      (
        await server({
          appendonly: "yes",
          appendfsync: "everysec",
          "no-appendfsync-on-rewrite": "yes",
          "maxmemory-policy": "allkeys-lru",
        })
      ).url,
    );
    const { durable: isDurable, reasons, unfit } = await bad.durability();
    expect(isDurable).toBe(false);
    expect(unfit).toEqual(["maxmemory-policy is allkeys-lru: set it to noeviction"]);
    const volatile = await (await connect((await server({ appendonly: "no", save: "" })).url)).durability();
    expect(volatile.unfit).toEqual([expect.stringMatching(/^appendonly is no and save is empty/)]);
    expect(reasons.map((reason) => reason.split(" ")[0])).toEqual([
      "appendfsync",
      "no-appendfsync-on-rewrite",
      "aof-load-truncated",
      "maxmemory-policy",
    ]);
    const closed = await server();
    await closed.command("ACL", "SETUSER", "default", "-config");
    const unknown = await (await connect(closed.url)).durability();
    expect(unknown.durable).toBe(false);
    expect(unknown.reasons[0]).toMatch(/^unknown/);
  });

  test("says how much of its room is taken", async () => {
    const redis = await server({ maxmemory: "100mb" });
    const store = await connect(redis.url);
    const before = await store.fill();
    expect(before).toBeGreaterThan(0);
    const uid = await opened(store);
    await store.putBodies(uid, [{ digest: "a".repeat(64), bytes: "x".repeat(20_000_000) }]);
    expect(await store.fill()).toBeGreaterThan(before + 0.15);
    expect(await (await connect((await server()).url)).fill()).toBe(0);
  });

  test("refuses what its user may not do as unavailable, since an operator may still grant it", async () => {
    const redis = await server();
    const store = await connect(redis.url);
    const uid = await opened(store);
    await redis.command("ACL", "SETUSER", "default", "-evalsha");
    await expect(store.execute(uid, openCommand())).rejects.toBeInstanceOf(StoreUnavailable);
  });
});

describe("a connection", () => {
  test("that is cut after each kind of command was executed costs nothing: the resent command gets its first reply", async () => {
    const redis = await server(durable, true);
    const proxy = new LossyProxy(redis.port);
    cleanups.push(() => proxy.close());
    const store = await connect(await proxy.listen());
    const direct = await connect(redis.url);
    // Scripts are loaded before, else the lost reply would be that to a NOSCRIPT.
    const other = await opened(direct);
    const warm = new Hand(other, key);
    await warm.claim(direct);
    for (const make of [() => warm.begin(), () => warm.grow({}), () => warm.commit(), () => warm.finish()])
      await warm.run(direct, make());
    const uid = await opened(direct);
    const hand = new Hand(uid, key);
    const commands = [
      () => hand.claimCommand,
      () => hand.begin({ reserved: { TotalTokens: 10 } }),
      () => hand.grow({ TotalTokens: 5 }),
      () => hand.commit({ TotalTokens: 15 }),
      () => hand.finish(),
    ] as const;
    for (const make of commands) {
      const command = make();
      proxy.swallowReplyTo(/evalsha/i);
      await expect(store.execute(uid, command), command.op).rejects.toBeInstanceOf(StoreUnavailable);
      const before = await direct.view(uid, [key]);
      const reply = await answered(() => store.execute(uid, command));
      expect(reply, command.op).toMatchObject({ code: "OK" });
      expect(await direct.view(uid, [key])).toEqual(before);
      if (reply.code === "OK" && command.op !== "claim") hand.accepted(command, reply);
    }
    expect(proxy.swallowed).toBe(commands.length);
    expect((await direct.view(uid, [])).execution?.account.settled.TotalTokens).toBe(15);
  });

  test("that is cut at random moments of a run loses and repeats nothing", async () => {
    const redis = await server(durable, true);
    const proxy = new LossyProxy(redis.port);
    cleanups.push(() => proxy.close());
    const store = await connect(await proxy.listen());
    const uid = await opened(store);
    const session = sessionOn(store, uid, key);
    await session.claim();
    for (let n = 0; n < 30; n += 1) {
      if (n % 3 === 0) proxy.swallowReplyTo(n % 2 === 0 ? /"type":"intent"/ : /"type":"step"/);
      await modelStep(session, n, `answer ${n}`);
    }
    expect(proxy.swallowed).toBe(10);
    expect(await journal(store, uid)).toBe(60);
    expect((await store.view(uid, [])).execution?.account.settled).toMatchObject({
      ModelCalls: 30,
      TotalTokens: 30 * 356,
    });
  });

  test("to a Redis that is stopped gives up in time and goes on when it wakes", async () => {
    const redis = await server();
    const store = await connect(redis.url, 300);
    const uid = await opened(store);
    const session = sessionOn(store, uid, key);
    await session.claim();
    await modelStep(session, 0, "before");
    process.kill(redis.pid, "SIGSTOP");
    await expect(store.execute(uid, openCommand())).rejects.toBeInstanceOf(StoreUnavailable);
    const slow = modelStep(session, 1, "while it sleeps");
    await expect(store.runId()).rejects.toBeInstanceOf(StoreUnavailable);
    process.kill(redis.pid, "SIGCONT");
    await slow;
    expect(await journal(await connect(redis.url), uid)).toBe(4);
  });

  test("that is missing at the start is said with its address and without its password", async () => {
    const redis = await server(durable, true);
    await redis.stop();
    const failure = await RedisStore.connect(`redis://user:secret@127.0.0.1:${redis.port}`).catch(
      (error: unknown) => error,
    );
    expect(failure).toBeInstanceOf(StoreUnavailable);
    expect(String(failure)).toContain(`127.0.0.1:${redis.port}`);
    expect(String(failure)).not.toContain("secret");
  });

  test("watches again by itself after a restart, and tells its listeners to look", async () => {
    const redis = await server();
    const store = await connect(redis.url);
    const uid = await opened(store);
    let heard: (wake: string) => void = () => undefined;
    const next = () => new Promise<string>((resolve) => (heard = resolve));
    const first = next();
    await store.watch(uid, (wake) => heard(wake));
    expect(await first).toBe("control");
    const again = next();
    await redis.stop();
    await redis.start();
    expect(await again).toBe("control");
    const pushed = next();
    await answered(() => store.execute(uid, { op: "control", to: "Suspended", message: "" }));
    expect(await pushed).toBe("control");
  });
});

describe("a full Redis", () => {
  test("applies a script as a whole or not at all, and still renews leases, releases and cancels", async () => {
    const redis = await server();
    const store = await connect(redis.url);
    const uid = await opened(store);
    const hand = new Hand(uid, key);
    await hand.claim(store);
    await hand.run(store, hand.begin({ reserved: { TotalTokens: 10 } }));
    const before = await state(store, uid);
    await redis.command("CONFIG", "SET", "maxmemory", "1");
    const refused = [
      openCommand(),
      { ...hand.claimCommand, attempt: 2, claimId: "n" },
      hand.begin(),
      hand.grow({}),
      hand.commit({}, { bodies: [body("x".repeat(10_000))], entries: 5 }),
      hand.finish(),
      hand.heal([], { length: 1, head: hand.head }),
    ] as const;
    for (const command of refused)
      await expect(store.execute(uid, command), command.op).rejects.toBeInstanceOf(StoreFull);
    expect(await state(store, uid)).toEqual(before);
    expect(
      await store.execute(uid, { op: "heartbeat", ...key, attempt: 1, claimId: "claim-1", live: "{}", leaseTtlMs: 5 }),
    ).toMatchObject({ code: "OK" });
    expect(await store.execute(uid, { op: "control", to: "Cancelled", message: "full" })).toMatchObject({ code: "OK" });
    expect(await store.execute(uid, { op: "release", ...key, attempt: 1 })).toMatchObject({ code: "OK" });
    await store.dropBodies(uid, []);
    await redis.command("CONFIG", "SET", "maxmemory", "0");
    expect((await store.view(uid, [])).execution).toMatchObject({
      control: { state: "Cancelled" },
      account: { lost: { TotalTokens: 10 } },
    });
  });

  test("that fills up at every possible command leaves each journal whole, and the run goes on when there is room", async () => {
    const redis = await server();
    const store = await connect(redis.url);
    const uid = await opened(store);
    const session = sessionOn(store, uid, key);
    await session.claim();
    for (let n = 0; n < 6; n += 1) {
      await redis.command("CONFIG", "SET", "maxmemory", "1");
      const step = modelStep(session, n, "y".repeat(2_000));
      await expect(store.putBodies(uid, [body("no room")])).rejects.toBeInstanceOf(StoreFull);
      expect(await journal(store, uid)).toBe(2 * n);
      await redis.command("CONFIG", "SET", "maxmemory", "0");
      await step;
    }
    expect(await journal(store, uid)).toBe(12);
  });
});

describe("a Redis that dies", () => {
  test("with appendfsync always forgets nothing that it acknowledged, however often it is killed", async () => {
    const redis = await server();
    const store = await connect(redis.url);
    const uid = await opened(store);
    const session = sessionOn(store, uid, key);
    await session.claim();
    const runIds = new Set<string>();
    let acknowledged = 0;
    for (let kill = 0; kill < 6; kill += 1) {
      runIds.add(await answered(() => store.runId()));
      const work = (async () => {
        for (let n = 0; n < 25; n += 1, acknowledged += 1)
          await modelStep(session, acknowledged, `answer ${acknowledged}`);
      })();
      for (let turn = 0; turn < kill * 3; turn += 1) await store.runId().catch(() => undefined);
      await redis.stop("SIGKILL");
      const written = 2 * acknowledged;
      await redis.start();
      expect((await answered(() => store.view(uid, [key]))).items[0]?.length).toBeGreaterThanOrEqual(written);
      await work;
    }
    expect(runIds.size).toBe(6);
    expect(await journal(store, uid)).toBe(2 * acknowledged);
    expect((await store.view(uid, [])).execution?.account.settled.ModelCalls).toBe(acknowledged);
  });

  test("and comes back with an earlier log is healed from the worker's kept tail", async () => {
    const { store, uid, rollBack, redis } = await everysec();
    const session = sessionOn(store, uid, key);
    await session.claim();
    for (let n = 0; n < 5; n += 1) await modelStep(session, n, `answer ${n}`);
    await rollBack.keep();
    for (let n = 5; n < 12; n += 1) await modelStep(session, n, `answer ${n}`);
    const runId = await store.runId();
    await rollBack.restore();
    const forgotten = await answered(() => store.view(uid, [key]));
    expect(forgotten.items[0]?.length).toBe(10);
    expect(await store.runId()).not.toBe(runId);
    await modelStep(session, 12, "answer 12");
    expect(await journal(store, uid)).toBe(26);
    expect((await store.view(uid, [])).execution?.account.settled).toMatchObject({
      ModelCalls: 13,
      TotalTokens: 13 * 356,
    });
    expect(await redis.command("PING")).toBe("+PONG");
  });

  test("and comes back from before the claim is claimed again and healed", async () => {
    const { store, uid, rollBack } = await everysec();
    await rollBack.keep();
    const session = sessionOn(store, uid, key);
    await session.claim();
    for (let n = 0; n < 4; n += 1) await modelStep(session, n, `answer ${n}`);
    await rollBack.restore();
    expect((await answered(() => store.view(uid, [key]))).items[0]).toBeUndefined();
    await modelStep(session, 4, "answer 4");
    expect(await journal(store, uid)).toBe(10);
  });

  test("and comes back from before the run, or has lost more than the worker kept, ends in DURABILITY_LOST", async () => {
    const { store, uid, rollBack } = await everysec();
    const first = sessionOn(store, uid, key);
    await first.claim();
    await modelStep(first, 0, "answer 0");
    await rollBack.keep();
    await modelStep(first, 1, "answer 1");
    const second = sessionOn(store, uid, key, { attempt: 2 });
    await second.claim();
    await modelStep(second, 2, "answer 2");
    const status = (await store.view(uid, [key])).items[0];
    await rollBack.restore();
    await answered(() => store.view(uid, [key]));
    await expect(modelStep(second, 3, "answer 3")).rejects.toMatchObject({ code: "OAO_DURABILITY_LOST" });
    const third = sessionOn(store, uid, key, {
      attempt: 3,
      known: { length: status?.length ?? 0, head: status?.head ?? "" },
    });
    await expect(third.claim()).rejects.toMatchObject({ code: "OAO_DURABILITY_LOST" });
  });

  test("and is given a log that was cut short refuses to load it, or is healed when told to load it", async () => {
    const { store, uid, redis } = await everysec({ "aof-load-truncated": "yes" });
    const session = sessionOn(store, uid, key);
    await session.claim();
    for (let n = 0; n < 6; n += 1) await modelStep(session, n, `answer ${n}`);
    await redis.stop("SIGKILL");
    const log = redis.logFiles().at(-1) ?? "";
    truncateSync(log, statSync(log).size - 4_000);
    await redis.start();
    expect((await answered(() => store.view(uid, [key]))).items[0]?.length).toBeLessThan(12);
    await modelStep(session, 6, "answer 6");
    expect(await journal(store, uid)).toBe(14);
  });
});

test("every script says its keys, arguments and replies", async () => {
  const { readFileSync } = await import("node:fs");
  for (const name of scriptNames) {
    const text = readFileSync(
      new URL(`../../../src/adapters/store/redis/scripts/${name}.lua`, import.meta.url),
      "utf8",
    );
    expect(text, name).toMatch(/^-- /);
    expect(text, name).toMatch(/KEYS/);
  }
});

/** Sends again until there is an answer, as the session does. */
async function answered<T>(ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

async function state(store: JournalStore, uid: string): Promise<unknown> {
  return [await store.view(uid, [key]), await store.nodeAccount(uid, key.node), await store.entries(uid, key, 0, 100)];
}

/** A Redis whose log can be put back to an earlier moment, as a crash under everysec does. */
async function everysec(settings: Readonly<Record<string, string>> = {}) {
  const redis = await server({ appendonly: "yes", appendfsync: "everysec", ...settings });
  const store = await connect(redis.url);
  const uid = await opened(store);
  const rollBack = {
    keep: () => redis.keepLog(),
    restore: async () => {
      await redis.rollBack();
      await redis.start();
    },
  };
  return { redis, store, uid, rollBack };
}
