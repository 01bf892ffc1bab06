/** The bundle of a fork of a fork holds all that it reads of other runs, and can be told from one that was changed. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { checkBundle, openBundle } from "../../src/cli/bundles.ts";
import { sha256Hex } from "../../src/core/digest/digest.ts";
import { BundleWriter } from "../../src/core/trace/bundle.ts";
import type { RecordPart } from "../../src/core/trace/record-part.ts";
import { readEnd, readJournals } from "../../src/host/journals.ts";
import { recordParts } from "../../src/host/record-parts.ts";
import type { EndedRun } from "../support/replay-world.ts";
import { reusing } from "./edited-record.ts";
import { littleShape } from "./replay-little.ts";
import { type Recorded, recordShape } from "./replay-recorded.ts";

const folder = mkdtempSync(join(tmpdir(), "oao-fork-"));
const file = join(folder, "run.jsonl");
let recorded: Recorded;
let fork: EndedRun;
let parts: RecordPart[];
beforeAll(async () => {
  recorded = await recordShape(littleShape);
  const { world } = recorded;
  const first = await world.replay("parent", { from: { node: "tell", step: 1 } });
  const changed = { agents: [{ name: "plain", model: "m", systemPrompt: "Be quick." }] };
  fork = await world.replay(first.name, { from: { node: "gather", step: 7 } }, changed);
  parts = [];
  for await (const part of recordParts(fork.record)) parts.push(part);
});
afterAll(async () => {
  await recorded.close();
  rmSync(folder, { recursive: true });
});

async function problemsOf(changed: readonly RecordPart[]): Promise<string[]> {
  const writer = new BundleWriter();
  writeFileSync(file, changed.map((part) => writer.line(part)).join("") + writer.end());
  return (await checkBundle(file)).problems.map(({ where, why }) => `${where}: ${why}`);
}
const isBody = (part: RecordPart) => part.kind === "body";

it("is read as the run itself is, without any other", async () => {
  expect(fork.status.phase).toBe("Succeeded");
  expect(await problemsOf(parts)).toEqual([]);
  const bundle = await openBundle(file);
  const { record, report } = bundle;
  expect(record.snapshot).toEqual(fork.record.snapshot);
  expect(record.spec.agents).toContainEqual({ name: "plain", model: "m", systemPrompt: "Be quick." });
  expect(report.traceHash).toBe(fork.status.traceHash);
  expect(await readEnd(record)).toEqual(await readEnd(fork.record));
  expect(await readJournals(record)).toEqual(await readJournals(fork.record));
  await bundle.close();
});

it("says what it lacks, be it what its snapshot is a change of", async () => {
  // Snapshots of the fork, of the one that it replays, and of that one's parent come first.
  const bodies = parts.filter(isBody);
  expect(bodies[0]?.body.digest).toBe(fork.status.snapshot?.replace(/^sha256:/, ""));
  for (const left of bodies)
    expect(await problemsOf(parts.filter((part) => part !== left))).toContainEqual(
      expect.stringMatching(new RegExp(`^body sha256:${left.body.digest}: it is missing; .* refers to it$`)),
    );
});

it.each([0, 1, 2])("is not taken for what it was with another snapshot, digests and all: %i", async (place) => {
  const chosen = parts.filter(isBody)[place];
  const edited = parts.map((part): RecordPart => {
    if (part.kind !== "body" || part !== chosen) return part;
    const bytes = part.body.bytes.replace(/"uid":"[^"]*"/, '"uid":"00000000-0000-4000-8000-000000000000"');
    expect(bytes).not.toBe(part.body.bytes);
    return { kind: "body", body: { digest: sha256Hex(bytes), bytes } };
  });
  const problems = await problemsOf(edited);
  expect(problems).toContainEqual(
    `body sha256:${chosen?.body.digest}: it is missing; ${place === 0 ? "the status" : `body sha256:${parts.filter(isBody)[place - 1]?.body.digest}`} refers to it`,
  );
});

it("whose snapshots come in another order is told", async () => {
  const [first, second, third] = parts.filter(isBody);
  const order = [second, third, first].filter((part) => part !== undefined);
  const moved = parts.flatMap((part) => (part === first ? order : part === second || part === third ? [] : [part]));
  expect(await problemsOf(moved)).toContainEqual(
    expect.stringMatching(/^body sha256:.*: (it is missing|nothing refers)/),
  );
});

it("of which a journal is said to be another run's, or is put before the one that is meant, is told", async () => {
  const { uid } = recorded.parent;
  const isGather = (part: RecordPart) => part.kind === "item" && part.key.node === "gather" && part.run === uid;
  const at = parts.findIndex(isGather);
  const [found] = parts.slice(at);
  expect(found).toBeDefined();
  const moved = parts.map((part) => (isGather(part) && part.kind === "item" ? { ...part, run: "0".repeat(36) } : part));
  const toldOf = (of: string) =>
    expect.stringMatching(
      new RegExp(`^node gather of run .*: it reuses steps of run ${of}, whose journal does not stand before it$`),
    );
  expect(await problemsOf(moved)).toContainEqual(toldOf(uid));
  // With the one that is meant left where readers look for it, and a made-up one where they do not.
  const end = parts.findIndex((part, index) => index > at && part.kind === "item");
  const copy = parts
    .slice(at, end)
    .map((part) => (isGather(part) && part.kind === "item" ? { ...part, run: "0".repeat(36) } : part));
  expect(await problemsOf(parts.toSpliced(end, 0, ...copy))).toContainEqual(toldOf(uid));
});

it("whose journals reuse each other in a circle is told, and never followed", async () => {
  const { uid } = recorded.parent;
  const at = parts.findIndex((part) => part.kind === "item" && part.key.node === "gather" && part.run === uid);
  const [entry] = reusing(uid, { node: "gather" }, uid);
  const item = parts[at];
  const length = parts.slice(at + 1).findIndex(({ kind }) => kind !== "entry");
  const circle = [item, { kind: "entry", hash: entry?.hash ?? "", bytes: entry?.bytes ?? "" }] as RecordPart[];
  const problems = await problemsOf(parts.toSpliced(at, length + 1, ...circle));
  expect(problems).toContainEqual(expect.stringContaining(`node gather of run ${uid}: it reuses steps of run ${uid}`));
  await expect(openBundle(file)).rejects.toThrow("is not what was recorded");
});
