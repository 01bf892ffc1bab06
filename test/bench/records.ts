/**
 * What a person waits for who reads the record of a long run: oao diff, verify, export, import, trace, each a process of its own,
 * with its peak of memory. Run: npm run bench -- records. Sizes: OAO_BENCH_STEPS (10000).
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { MemoryStore } from "../../src/adapters/store/memory/memory-store.ts";
import { BundleWriter } from "../../src/core/trace/bundle.ts";
import { readRecord } from "../../src/host/journals.ts";
import { recordParts } from "../../src/host/record-parts.ts";
import { putRun, recordedRun, type RecordedRunOptions } from "../support/recorded-run.ts";
import { peakMiBOf } from "./memory.ts";
import { printTable } from "./table.ts";

const program = fileURLToPath(new URL("../../dist/cli.js", import.meta.url));
const most = Number(process.env["OAO_BENCH_STEPS"] ?? 10_000);
const folder = mkdtempSync(join(tmpdir(), "oao-records-"));

async function writeBundle(file: string, options: RecordedRunOptions): Promise<void> {
  const store = new MemoryStore({ nowMs: () => 0 });
  const run = recordedRun(options);
  await putRun(store, run);
  const writer = new BundleWriter();
  const lines: string[] = [];
  for await (const part of recordParts(await readRecord(store, run))) lines.push(writer.line(part));
  writeFileSync(join(folder, file), lines.join("") + writer.end());
}

interface Measured {
  readonly ms: number;
  readonly peakMiB: number;
}

/** Throws unless it ends with `code`: what failed early has measured nothing. */
async function oao(args: readonly string[], code: number): Promise<Measured> {
  const startedMs = performance.now();
  const child = spawn(process.execPath, [program, ...args], {
    cwd: folder,
    env: { PATH: process.env["PATH"] ?? "", HOME: folder, OAO_HOME: join(folder, ".oao") },
    stdio: ["ignore", "ignore", "inherit"],
  });
  const closed = once(child, "close") as Promise<[number | null]>;
  const peakMiB = await peakMiBOf(child);
  const [exit] = await closed;
  if (exit !== code) throw new Error(`oao ${args.join(" ")} ended with ${exit}, not ${code}`);
  return { ms: performance.now() - startedMs, peakMiB };
}

try {
  const rows: string[][] = [];
  for (const steps of [Math.round(most / 10), most]) {
    const uid = (last: number) => `3f0c7a52-0000-4000-8000-${String(steps * 10 + last).padStart(12, "0")}`;
    const named = (last: number) => ({ steps, name: `run-${steps}-${last}`, uid: uid(last) });
    const [a, same, ends, all] = [1, 2, 3, 4].map((last) => `${steps}-${last}.jsonl`) as [
      string,
      string,
      string,
      string,
    ];
    await writeBundle(a, named(1));
    await writeBundle(same, named(2));
    await writeBundle(ends, { ...named(3), answer: (step) => `answer ${step === steps - 1 ? "otherwise" : step}` });
    await writeBundle(all, { ...named(4), answer: (step) => `another answer ${step}` });
    const name = `run-${steps}-1`;
    // The record is made up, so it cannot be replayed.
    const work: readonly (readonly [string, readonly string[], number])[] = [
      ["import", ["import", a], 0],
      ["verify --no-replay, bundle", ["verify", "--no-replay", a], 0],
      ["verify --no-replay, run", ["verify", "--no-replay", name], 0],
      ["export", ["export", name], 0],
      ["diff, the same", ["diff", name, same], 0],
      ["diff, the last step changed", ["diff", name, ends], 1],
      ["diff, every step changed", ["diff", name, all], 1],
      ["diff -o json, every step changed", ["diff", name, all, "-o", "json"], 1],
      ["trace --canonical", ["trace", name, "--canonical"], 0],
    ];
    for (const [what, args, code] of work) {
      const { ms, peakMiB } = await oao(args, code);
      rows.push([what, String(steps), `${(ms / 1_000).toFixed(2)} s`, `${peakMiB.toFixed(0)} MiB`]);
    }
    rows.push([
      "size of the bundle",
      String(steps),
      "",
      `${(statSync(join(folder, a)).size / 1_048_576).toFixed(1)} MiB`,
    ]);
  }
  printTable("records", ["what", "steps", "time", "memory at most"], rows);
  console.log(`load ${loadavg()[0]?.toFixed(1)}`);
} finally {
  rmSync(folder, { recursive: true });
}
