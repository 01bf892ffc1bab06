/**
 * Bars a, a′ and i of the store alone: one durable step (begin + commit through the worker's session), on Redis with
 * appendfsync always over a unix socket and on a file, against the physical floor of the same machine in the same rounds.
 * Run: npm run bench -- store
 */
import { randomUUID } from "node:crypto";
import {
  closeSync,
  fdatasyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Redis } from "ioredis";
import { systemClock } from "../../src/adapters/clock/system-clock.ts";
import { FileStore } from "../../src/adapters/store/file/file-store.ts";
import { RedisStore } from "../../src/adapters/store/redis/redis-store.ts";
import type { JournalStore } from "../../src/ports/store.ts";
import { openCommand } from "../support/journal.ts";
import { Random } from "../support/random.ts";
import { durable, RedisProcess } from "../support/redis-process.ts";
import { modelStep, sessionOn } from "../support/steps.ts";
import { percentile, printTable, summary } from "./table.ts";

const rounds = Number(process.env["OAO_BENCH_ROUNDS"] ?? 9);
const steps = Number(process.env["OAO_BENCH_STEPS"] ?? 2_000);
const probes = 500;
const payloadBytes = 1_024;
const directory = mkdtempSync(join(tmpdir(), "oao-bench-"));
const random = new Random(7);

/** Prose-like and unlike any other: no store profits from repetition between steps. */
function payload(): string {
  let text = "";
  while (text.length < payloadBytes) text += `${random.below(2 ** 31).toString(36)} `;
  return text.slice(0, payloadBytes);
}

interface Round {
  /** Milliseconds of each step. */
  readonly steps: readonly number[];
  readonly uid: string;
}

async function run(store: JournalStore): Promise<Round> {
  const uid = randomUUID();
  await store.execute(uid, openCommand({ TotalTokens: 1e9 }));
  const session = sessionOn(store, uid, { node: "a" }, { limits: { OutputTokens: 1e9 } });
  await session.claim();
  const taken: number[] = [];
  for (let n = 0; n < steps; n += 1) {
    const text = payload();
    const started = performance.now();
    await modelStep(session, n, text);
    taken.push(performance.now() - started);
  }
  return { steps: taken, uid };
}

async function timed(count: number, work: () => unknown): Promise<number> {
  const taken: number[] = [];
  for (let n = 0; n < count; n += 1) {
    const started = performance.now();
    await work();
    taken.push(performance.now() - started);
  }
  return percentile(taken, 0.5);
}

/** One append as large as a command's share of the log, and its sync. */
async function syncFloor(): Promise<number> {
  const file = openSync(join(directory, "probe"), "a");
  const block = Buffer.alloc(1_500, 1);
  const ms = await timed(probes, () => {
    writeSync(file, block);
    fdatasyncSync(file);
  });
  closeSync(file);
  return ms;
}

async function sqliteFloor(): Promise<number> {
  const database = new DatabaseSync(join(directory, `probe-${randomUUID()}.db`));
  database.exec("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t (n INTEGER PRIMARY KEY, bytes TEXT)");
  const insert = database.prepare("INSERT INTO t (bytes) VALUES (?)");
  const text = "x".repeat(1_024);
  const ms = await timed(probes, () => insert.run(text));
  database.close();
  return ms;
}

function logBytes(redis: RedisProcess): number {
  const folder = join(redis.directory, "appendonlydir");
  return readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
}

async function rewritten(redis: RedisProcess, client: Redis): Promise<number> {
  await client.bgrewriteaof();
  while (!/aof_rewrite_in_progress:0[\s\S]*aof_rewrite_scheduled:0/.test(await client.info("persistence")))
    await systemClock.sleep(20);
  return logBytes(redis);
}

// A rewrite of the log in the middle of a round would be measured as a step.
const redis = await RedisProcess.start({ ...durable, "auto-aof-rewrite-percentage": "0" });
const client = new Redis({ path: join(redis.directory, "redis.sock") });
const redisStore = await RedisStore.connect(redis.url);
const fileStore = new FileStore(directory, systemClock);
const raw = {
  ping: [] as number[],
  sync: [] as number[],
  sqlite: [] as number[],
  redis: [] as Round[],
  file: [] as Round[],
  written: [] as number[],
};

for (let round = 0; round < rounds; round += 1) {
  raw.sync.push(await syncFloor());
  raw.ping.push(await timed(probes, () => client.ping()));
  const before = logBytes(redis);
  raw.redis.push(await run(redisStore));
  raw.written.push(logBytes(redis) - before);
  raw.file.push(await run(fileStore));
  raw.sqlite.push(await sqliteFloor());
}

const memory = Number(/used_memory:(\d+)/.exec(await client.info("memory"))?.[1]);
const compact = await rewritten(redis, client);
await fileStore.close();
const fileBytes = raw.file.map(({ uid }) => statSync(join(directory, `${uid}.db`)).size);
const stepMs = (list: readonly Round[]): number[] => list.map((round) => percentile(round.steps, 0.5));
const growth = (list: readonly Round[]): number[] =>
  list.map((round) => percentile(round.steps.slice(-50), 0.5) / percentile(round.steps.slice(0, 50), 0.5));
const floorRedis = raw.ping.map((ping, round) => ping + (raw.sync[round] ?? 0));
const ratio = (list: readonly Round[], floor: readonly number[]): number[] =>
  stepMs(list).map((ms, round) => ms / 2 / (floor[round] ?? Number.NaN));
const paid = steps * payloadBytes;

printTable(
  `Floors, milliseconds: median of ${rounds} rounds (spread)`,
  ["probe", "ms"],
  [
    ["fdatasync of 1.5 KB", summary(raw.sync, 3).text],
    ["Redis PING, unix socket", summary(raw.ping, 3).text],
    ["PING + fdatasync", summary(floorRedis, 3).text],
    ["node:sqlite FULL, one insert", summary(raw.sqlite, 3).text],
  ],
);
printTable(
  `Bar a: a durable step (begin + commit), ${steps} steps of ${payloadBytes} bytes, ${rounds} rounds`,
  ["store", "ms a step", "p99", "ms a command", "x floor (aim 1.5)", "last 50 / first 50 (aim 1.10)"],
  [
    [
      "redis, fsync always",
      summary(stepMs(raw.redis), 3).text,
      percentile(
        raw.redis.flatMap((round) => round.steps),
        0.99,
      ).toFixed(3),
      summary(
        stepMs(raw.redis).map((ms) => ms / 2),
        3,
      ).text,
      summary(ratio(raw.redis, floorRedis), 2).text,
      summary(growth(raw.redis), 2).text,
    ],
    [
      "file, synchronous FULL",
      summary(stepMs(raw.file), 3).text,
      percentile(
        raw.file.flatMap((round) => round.steps),
        0.99,
      ).toFixed(3),
      summary(
        stepMs(raw.file).map((ms) => ms / 2),
        3,
      ).text,
      summary(ratio(raw.file, raw.sqlite), 2).text,
      summary(growth(raw.file), 2).text,
    ],
  ],
);
printTable(
  "Bar a′: stored bytes ÷ payload bytes (aim 1.3, bar 3)",
  ["store", "ratio"],
  [
    ["redis, memory", (memory / rounds / paid).toFixed(2)],
    ["redis, log after a rewrite", (compact / rounds / paid).toFixed(2)],
    [
      "redis, log as written before",
      summary(
        raw.written.map((bytes) => bytes / paid),
        2,
      ).text,
    ],
    [
      "file",
      summary(
        fileBytes.map((bytes) => bytes / paid),
        2,
      ).text,
    ],
  ],
);

const folder = process.env["OAO_BENCH_JSON"];
if (folder !== undefined) {
  mkdirSync(folder, { recursive: true });
  writeFileSync(
    join(folder, "store.json"),
    JSON.stringify({ steps, payloadBytes, rounds, ...raw, memory, compact, fileBytes }),
  );
}
client.disconnect();
await redisStore.close();
await redis.remove();
rmSync(directory, { recursive: true });
