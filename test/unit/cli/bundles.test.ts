import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { MemoryStore } from "../../../src/adapters/store/memory/memory-store.ts";
import type { ExecutionSpec } from "../../../src/api/types.ts";
import { checkBundle, openBundle } from "../../../src/cli/bundles.ts";
import { canonicalJson, sha256Hex } from "../../../src/core/digest/digest.ts";
import { executionHash } from "../../../src/core/hash/execution-hash.ts";
import { BundleWriter } from "../../../src/core/trace/bundle.ts";
import type { RecordPart } from "../../../src/core/trace/record-part.ts";
import { RecordCheck } from "../../../src/core/trace/verify.ts";
import { readJournals, readRecord } from "../../../src/host/journals.ts";
import { recordParts } from "../../../src/host/record-parts.ts";
import { baseSeed, Random } from "../../support/random.ts";
import { putRun, type RecordedRun, recordedRun } from "../../support/recorded-run.ts";

const folder = mkdtempSync(join(tmpdir(), "oao-bundles-"));
const file = join(folder, "run.jsonl");
afterAll(() => rmSync(folder, { recursive: true }));

async function partsOf(run: RecordedRun): Promise<RecordPart[]> {
  const store = new MemoryStore({ nowMs: () => 0 });
  await putRun(store, run);
  const parts: RecordPart[] = [];
  for await (const part of recordParts(await readRecord(store, run))) parts.push(part);
  return parts;
}
function textOf(parts: readonly RecordPart[]): string {
  const writer = new BundleWriter();
  return parts.map((part) => writer.line(part)).join("") + writer.end();
}
async function check(content: string | Buffer) {
  writeFileSync(file, content);
  return checkBundle(file);
}
const problemsOf = async (content: string | Buffer) =>
  (await check(content)).problems.map(({ where, why }) => `${where}: ${why}`);

describe("a bundle", () => {
  test("holds the whole record, and is the same text each time", async () => {
    const run = recordedRun();
    const text = textOf(await partsOf(run));
    expect(textOf(await partsOf(recordedRun()))).toBe(text);
    const { report, problems } = await check(text);
    expect(problems).toEqual([]);
    const entries = run.journals.reduce((sum, each) => sum + each.entries.length, 0);
    expect(report).toMatchObject({
      items: 3,
      entries,
      steps: 5,
      bodies: run.bodies.size,
      traceHash: run.status.traceHash,
    });
    const bundle = await openBundle(file);
    const { record } = bundle;
    expect(await readJournals(record)).toEqual(run.journals.map((journal) => ({ ...journal, uid: run.uid })));
    expect(await record.bodies([...run.bodies.keys(), "0".repeat(64)])).toEqual(run.bodies);
    expect(record.spec).toEqual(run.object.spec);
    await bundle.close();
  });

  test("has lines of a documented form", async () => {
    const lines = textOf(await partsOf(recordedRun({ steps: 1 }))).split("\n");
    expect(lines[0]).toMatch(
      /^\{"bundle":1,"content":"Full","execution":\{"apiVersion":"oao\.dev\/v1alpha1",.*\},"type":"run"\}$/,
    );
    expect(lines[1]).toBe('{"item":null,"node":"talk","run":null,"type":"item"}');
    expect(lines[2]).toMatch(/^\{"bytes":"\{\\"at\\":.*","hash":"[0-9a-f]{64}","type":"entry"\}$/);
    expect(lines.filter((line) => line.includes('"type":"item"'))[1]).toBe(
      '{"item":0,"node":"rate","run":null,"type":"item"}',
    );
    expect(lines.at(-3)).toMatch(/^\{"bytes":".*","digest":"[0-9a-f]{64}","type":"body"\}$/);
    expect(lines.at(-2)).toMatch(
      /^\{"digest":"sha256:[0-9a-f]{64}","lines":\d+,"run":"sha256:[0-9a-f]{64}","type":"end"\}$/,
    );
    expect(lines.at(-1)).toBe("");
  });

  test("of a run of which only digests are kept says so and holds", async () => {
    const text = textOf(await partsOf(recordedRun({ content: "DigestOnly" })));
    expect(await check(text)).toMatchObject({ problems: [], report: { content: "DigestOnly", bodies: 1 } });
  });

  test.skipIf(spawnSync("python3", ["--version"]).status !== 0)(
    "is checked in the same way by a second implementation, in Python, that knows only the documentation",
    async () => {
      const run = recordedRun();
      const text = textOf(await partsOf(run));
      const byPython = (content: string) => {
        writeFileSync(file, content);
        const program = fileURLToPath(new URL("verify_bundle.py", import.meta.url));
        return spawnSync("python3", ["-B", program, file], { encoding: "utf8" });
      };
      expect(byPython(text)).toMatchObject({
        status: 0,
        stdout: `${run.status.journalHead} ${run.status.traceHash}\n`,
        stderr: "",
      });
      expect(byPython(text.replace("answer 1", "answer 9")).status).toBe(1);
    },
  );

  test("of another format is told as that", async () => {
    const text = textOf(await partsOf(recordedRun())).replace('"bundle":1', '"bundle":2');
    expect(await problemsOf(text)).toEqual(["line 1: the bundle has format 2; this version reads format 1"]);
  });
});

describe("a tampered bundle", () => {
  test("of which git made CR LF lines is told what did it, and how it is kept from it", async () => {
    const text = textOf(await partsOf(recordedRun()));
    expect(await problemsOf(text.replaceAll("\n", "\r\n"))).toEqual([
      "line 1: it ends in CR LF: git may have changed it on checkout (.gitattributes: *.jsonl -text)",
    ]);
  });

  const seed = baseSeed();
  /** What may be named for a change in this line: the line, or what stands in it. */
  function namesOf(lines: readonly string[], at: number, changed: string): RegExp {
    const line = lines[at] ?? "";
    if (at === 0) return /^(line 1|entry 0 of node|the snapshot|status\.|body)/;
    if (line.includes('"type":"body"')) {
      const digest = /"digest":"([^"]*)"/.exec(changed)?.[1] ?? "-";
      return new RegExp(`^(line ${at + 1}:|body sha256:${digest.replaceAll(/\W/g, ".")}:)`);
    }
    if (line.includes('"type":"entry"')) {
      const item = lines.slice(0, at).findLastIndex((each) => each.includes('"type":"item"'));
      const { node, item: index } = JSON.parse(lines[item] ?? "") as { node: string; item: number | null };
      const name = index === null ? node : `${node}\\[${index}\\]`;
      return new RegExp(`^(line ${at + 1}:|entry ${at - item - 1} of node ${name}:)`);
    }
    if (line.includes('"type":"item"')) return new RegExp(`^(line ${at + 1}:|entry 0 of node |node )`);
    return new RegExp(`^line ${at + 1}:`);
  }

  test(`is found out at every sampled byte, and the line or entry is named (seed ${seed})`, async () => {
    const random = new Random(seed);
    const whole = Buffer.from(textOf(await partsOf(recordedRun({ steps: 2 }))));
    const lines = whole.toString().split("\n");
    const ends = lines.map((_, index) => Buffer.byteLength(`${lines.slice(0, index + 1).join("\n")}\n`));
    let kinds = 0;
    for (let at = random.below(7); at < whole.length; at += 7) {
      const changed = Buffer.from(whole);
      changed[at] = (whole[at] ?? 0) ^ (1 << random.below(8));
      const place = ends.findIndex((end) => at < end);
      const problems = await problemsOf(changed);
      const changedLine = changed.subarray(ends[place - 1] ?? 0, ends[place]).toString();
      expect(problems[0] ?? "none", `byte ${at}, bit of ${JSON.stringify(changedLine.slice(0, 200))}`).toMatch(
        namesOf(lines, place, changedLine),
      );
      kinds += 1;
    }
    expect(kinds).toBeGreaterThan(500);
  }, 60_000);

  test(`is found out when it is cut, lengthened, or has lines removed, doubled or swapped (seed ${seed})`, async () => {
    const random = new Random(seed);
    const text = textOf(await partsOf(recordedRun({ steps: 2 })));
    const lines = text.trimEnd().split("\n");
    const joined = (some: readonly string[]) => some.map((line) => `${line}\n`).join("");
    for (let at = random.below(40); at < text.length; at += 97)
      expect(await problemsOf(text.slice(0, at)), `cut at ${at}`).not.toEqual([]);
    for (const at of lines.keys()) {
      expect(await problemsOf(joined(lines.toSpliced(at, 1))), `without line ${at + 1}`).not.toEqual([]);
      expect(await problemsOf(joined(lines.toSpliced(at, 0, lines[at] ?? ""))), `line ${at + 1} twice`).not.toEqual([]);
      const other = (at + 1) % lines.length;
      const swapped = lines.with(at, lines[other] ?? "").with(other, lines[at] ?? "");
      expect(await problemsOf(joined(swapped)), `lines ${at + 1} and ${other + 1} swapped`).not.toEqual([]);
    }
    expect(await problemsOf(`${text}\n`)).not.toEqual([]);
    expect(await problemsOf(text + joined(lines.slice(0, 1)))).not.toEqual([]);
    expect(await problemsOf("")).toEqual(["line 1: the file ends before the bundle does"]);
  });

  /** As someone would who makes the lines and the last one anew. */
  const forged = async (change: (parts: RecordPart[]) => RecordPart[]) =>
    problemsOf(textOf(change(await partsOf(recordedRun()))));

  test("is found out by its anchors when its own digests were made anew", async () => {
    expect(await forged((parts) => parts)).toEqual([]);
    const isLastOfTalk = (part: RecordPart) => part.kind === "entry" && part.bytes.includes('"type":"finish"');
    expect(await forged((parts) => parts.toSpliced(parts.findIndex(isLastOfTalk), 1))).toEqual([
      expect.stringMatching(/^body sha256:.*nothing refers to it$/),
    ]);
    expect(
      await forged((parts) => {
        const at = parts.findIndex((part) => part.kind === "item" && part.key.item === 1);
        const next = parts.findIndex((part, index) => index > at && part.kind === "body");
        return parts.toSpliced(at, next - at);
      }),
    ).toEqual(expect.arrayContaining([expect.stringContaining("nothing refers to it")]));
    expect(
      await forged((parts) =>
        parts.map((part) =>
          part.kind === "run"
            ? { ...part, execution: { ...part.execution, status: { ...part.execution.status, traceHash: "sha256:0" } } }
            : part,
        ),
      ),
    ).toEqual([expect.stringMatching(/^status\.traceHash: /)]);
    expect(
      await forged((parts) =>
        parts.map((part) =>
          part.kind === "run"
            ? {
                ...part,
                execution: { ...part.execution, status: { ...part.execution.status, journalHead: "sha256:0" } },
              }
            : part,
        ),
      ),
    ).toEqual([expect.stringMatching(/^status\.journalHead: /)]);
    expect(await forged((parts) => parts.filter((part) => part.kind !== "body"))).toContainEqual(
      expect.stringMatching(/^body sha256:.* it is missing; entry \d+ of node talk refers to it$/),
    );
  });

  type Said = Extract<RecordPart, { kind: "run" }>["execution"];
  const none = `sha256:${"0".repeat(64)}` as const;
  test.each<[what: string, told: string, change: (said: Said) => Said]>([
    [
      "prompt",
      "line 1, spec: it is not that of the snapshot: agents",
      (said) => ({ ...said, spec: { ...said.spec, agents: [{ name: "a", model: "main", systemPrompt: "Lie." }] } }),
    ],
    [
      "deadline",
      "line 1, spec: it is not that of the snapshot: activeDeadlineSeconds",
      (said) => ({ ...said, spec: { ...said.spec, activeDeadlineSeconds: 9 } }),
    ],
    [
      "executionHash",
      "status.executionHash: ",
      (said) => ({ ...said, status: { ...said.status, executionHash: none } }),
    ],
    [
      "part of it",
      "status.hashParts.tools: ",
      (said) => {
        const hashParts = { ...said.status.hashParts, tools: none } as Said["status"]["hashParts"];
        return { ...said, status: { ...said.status, hashParts } } as Said;
      },
    ],
    [
      "end of a node",
      "status.nodes[rate]: it says Succeeded, and the journal of rate[2] does not",
      (said) => {
        const nodes = said.status.nodes.map((row) => (row.name === "rate" ? { ...row, itemCount: 3 } : row));
        return { ...said, status: { ...said.status, nodes } };
      },
    ],
    [
      "end of the run",
      "status.phase: it says Succeeded, and node talk is Failed",
      (said) => {
        const nodes = said.status.nodes.map((row) =>
          row.name === "talk" ? { ...row, state: "Failed" as const } : row,
        );
        return { ...said, status: { ...said.status, nodes } };
      },
    ],
    [
      "way past a node",
      "status.nodes[talk]: it says Skipped, and there is a journal of it",
      (said) => {
        const nodes = said.status.nodes.map((row) =>
          row.name === "talk" ? { ...row, state: "Skipped" as const } : row,
        );
        return { ...said, status: { ...said.status, nodes } };
      },
    ],
    [
      "number of steps",
      "status.steps: it says 7, and 5 are recorded",
      (said) => ({ ...said, status: { ...said.status, steps: 7 } }),
    ],
  ])("is found out by its snapshot and journals when line 1 tells another %s", async (_, told, change) => {
    const problems = await forged((parts) =>
      parts.map((part) => (part.kind === "run" ? { ...part, execution: change(part.execution) } : part)),
    );
    expect(problems).toEqual([expect.stringContaining(told)]);
  });

  test("is found out by its start entries when snapshot, spec and hashes were all made anew", async () => {
    const spec = { ...recordedRun().object.spec, task: "Another." } as ExecutionSpec;
    const problems = await forged((parts) => {
      const isSnapshot = (part: RecordPart) => part.kind === "body" && part.body.bytes.includes('"recording":');
      const held = parts.find(isSnapshot);
      const bytes = canonicalJson({ ...(JSON.parse(held?.kind === "body" ? held.body.bytes : "") as object), spec });
      const snapshot = sha256Hex(bytes);
      return parts.map((part): RecordPart => {
        if (isSnapshot(part)) return { kind: "body", body: { digest: snapshot, bytes } };
        if (part.kind !== "run") return part;
        const status = { ...part.execution.status, ...executionHash(spec, []), snapshot };
        return { ...part, execution: { ...part.execution, spec, status } };
      });
    });
    expect(problems).toEqual(["status.snapshot: it is not the snapshot that entry 0 of node talk names"]);
  });

  test("that a worker filled with what is no entry is told, never thrown", async () => {
    const run = recordedRun();
    const check = new RecordCheck();
    for (const part of await partsOf(run)) {
      if (part.kind !== "entry") check.part(part);
      else
        check.part({ ...part, bytes: canonicalJson({ ...(JSON.parse(part.bytes) as object), path: null, input: 3 }) });
    }
    expect(check.end().problems.length).toBeGreaterThan(0);
  });
});
