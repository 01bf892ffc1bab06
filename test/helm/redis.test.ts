/** The embedded Redis as the chart starts it: same script, same settings, a real server. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll, expect, test } from "vitest";
import { RedisStore } from "../../src/adapters/store/redis/redis-store.ts";
import { type Manifest, render } from "./chart.ts";

const password = "0123456789abcdef";
const folder = mkdtempSync(join(tmpdir(), "oao-chart-redis-"));
let server: ChildProcess;
let port: number;

const url = (user: string, secret: string): string => `redis://${user}:${secret}@127.0.0.1:${port}/0`;

beforeAll(async () => {
  port = await freePort();
  const { data } = render().find(
    ({ kind, metadata }: Manifest) => kind === "ConfigMap" && metadata.name === "oao-redis",
  );
  // Only where the test's server listens and writes differs.
  const config = data["redis.conf"].replace("port 6379", `port ${port}`).replace("dir /data", `dir ${folder}`);
  writeFileSync(join(folder, "redis.conf"), config.replace("bind * -::*", "bind 127.0.0.1"));
  writeFileSync(join(folder, "password"), password);
  writeFileSync(join(folder, "start.sh"), data["redis-start.sh"]);
  await start();
});

async function start(): Promise<void> {
  server = spawn("sh", [join(folder, "start.sh"), join(folder, "redis.conf"), join(folder, "password")], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let said = "";
  await new Promise<void>((resolve, reject) => {
    server.once("exit", (code) => reject(new Error(`redis ended with ${code}: ${said}`)));
    server.stdout?.on("data", (chunk: Buffer) => {
      said += chunk.toString();
      if (said.includes("Ready to accept connections") || said.includes("ready to accept connections")) resolve();
    });
  });
}

afterAll(async () => {
  if (server.exitCode === null) {
    const ended = once(server, "exit");
    server.kill("SIGKILL");
    await ended;
  }
  rmSync(folder, { recursive: true });
});

test("keeps what it acknowledged, and lets the operator see that it does", async () => {
  const store = await RedisStore.connect(url("operator", password));
  expect(await store.durability()).toEqual({ durable: true, reasons: [], unfit: [] });
  expect(await store.runId()).toMatch(/^\w{40}$/);
  await store.close();
});

test("has them again after it was killed, what scripts wrote included", async () => {
  const store = await RedisStore.connect(url("operator", password));
  const uid = randomUUID();
  await store.putBodies(uid, [{ digest: "a".repeat(64), bytes: "kept" }]);
  const command = { op: "open", snapshot: "a".repeat(64), limits: {}, auditLimits: {} } as const;
  expect(await store.execute(uid, command)).toMatchObject({ code: "OK" });
  await store.close();
  const ended = once(server, "exit");
  server.kill("SIGKILL");
  await ended;
  await start();
  const again = await RedisStore.connect(url("operator", password));
  expect((await again.view(uid, [])).execution?.snapshot).toBe("a".repeat(64));
  expect((await again.bodies(uid, ["a".repeat(64)])).get("a".repeat(64))).toBe("kept");
  await again.close();
});

test("lets nobody in without the operator's password", async () => {
  await expect(RedisStore.connect(`redis://127.0.0.1:${port}/0`)).rejects.toThrow(/NOAUTH/);
  await expect(RedisStore.connect(url("operator", "guess"))).rejects.toThrow(/WRONGPASS/);
});

test("lets the operator keep journals and users, and nothing else", async () => {
  const redis = new Redis(url("operator", password), { maxRetriesPerRequest: 0 });
  const keys = "oao:{u}:";
  expect(await redis.hset(`${keys}run`, "a", "1")).toBe(1);
  const sha = await redis.script("LOAD", `return redis.call('HGET', KEYS[1], 'a')`);
  expect(await redis.evalsha(String(sha), 1, `${keys}run`)).toBe("1");
  expect(await redis.publish(`${keys}wake`, "control")).toBe(0);
  expect(await redis.call("ACL", "SETUSER", "oao-u", "on", ">pw", `~${keys}*`, "+hget")).toBe("OK");
  const worker = new Redis(url("oao-u", "pw"), { maxRetriesPerRequest: 0, enableReadyCheck: false });
  expect(await worker.hget(`${keys}run`, "a")).toBe("1");
  await expect(worker.hget("oao:{v}:run", "a")).rejects.toThrow(/NOPERM|No permissions/i);
  worker.disconnect();
  expect(await redis.call("ACL", "DELUSER", "oao-u")).toBe(1);
  const refused = [
    ["SET", "other", "1"],
    ["KEYS", "*"],
    ["FLUSHALL"],
    ["CONFIG", "SET", "appendonly", "no"],
    ["SHUTDOWN"],
    ["SCRIPT", "FLUSH"],
  ];
  for (const [name = "", ...args] of refused) await expect(redis.call(name, ...args)).rejects.toThrow(/NOPERM/);
  redis.disconnect();
});

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  probe.close();
  await once(probe, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}
