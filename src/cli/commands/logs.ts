/** oao logs: what the workers of a run said, by time. */
import { closeSync, existsSync, openSync, readdirSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import type { LocalIndex, LocalRun } from "../../adapters/local/local-index.ts";
import { type CliExitCode, cliExitCodes } from "../../api/exit-codes.ts";
import { CliError } from "../errors.ts";
import { findRun, openExistingIndex } from "../home.ts";
import { nearestNames } from "../nearest.ts";
import { hasEnded } from "../outcome.ts";
import { checkFormat } from "../render/output.ts";
import { oneLine, type Paint, painter } from "../render/style.ts";
import type { Terminal } from "../terminal.ts";

export interface LogsFlags {
  readonly namespace?: string | undefined;
  readonly node?: string | undefined;
  readonly follow?: boolean | undefined;
  readonly output?: string | undefined;
}

const pollMs = 200;

export async function logs(name: string, flags: LogsFlags, terminal: Terminal): Promise<CliExitCode> {
  const raw = checkFormat(flags.output, ["table", "jsonl"]) === "jsonl";
  const index = (await openExistingIndex(terminal)) as LocalIndex;
  const run = findRun(index, name, flags, terminal);
  checkNode(run, flags.node);
  const reader = new LogReader(join(index.home, "logs", run.uid), flags.node);
  const paint = painter(terminal.colorOut);
  const print = () => {
    const lines = reader.read();
    for (const line of lines) terminal.out(raw ? `${line.text}\n` : `${shownLine(line, paint)}\n`);
    return lines.length;
  };
  let count = print();
  while (flags.follow === true && !hasEnded(index.get(run.key)?.status)) {
    await new Promise((resolve) => setTimeout(resolve, pollMs));
    count += print();
  }
  if (flags.follow === true) count += print();
  if (count === 0) terminal.err("no worker has said anything\n");
  return cliExitCodes.succeeded;
}

function checkNode(run: LocalRun, wanted: string | undefined): void {
  const names = [...run.object.spec.nodes, ...(run.object.spec.finally ?? [])].map((node) => node.name);
  const node = wanted?.replace(/\[\d+\]$/, "");
  if (node === undefined || names.includes(node)) return;
  const near = nearestNames(node, names);
  throw new CliError(`${run.key.namespace}/${run.key.name} has no node ${node}`, [
    near.length > 0 ? `did you mean ${near.join(" or ")}?` : `its nodes: ${names.slice(0, 20).join(", ")}`,
  ]);
}

interface LogLine {
  readonly time: string;
  /** gather#1 */
  readonly source: string;
  readonly text: string;
}

/** Whole lines that are new since the last read, of all files together. */
class LogReader {
  readonly #folder: string;
  readonly #node: string | undefined;
  readonly #offsets = new Map<string, { inode: number; at: number; rest: string }>();

  constructor(folder: string, node: string | undefined) {
    this.#folder = folder;
    this.#node = node;
  }

  read(): LogLine[] {
    if (!existsSync(this.#folder)) return [];
    const files = readdirSync(this.#folder).filter((file) => this.#wanted(file));
    // A full file has become `….log.1`: it is the older half.
    const lines = files
      .sort((a, b) => (a.endsWith(".1") ? 0 : 1) - (b.endsWith(".1") ? 0 : 1) || (a < b ? -1 : 1))
      .flatMap((file) => this.#newLines(file));
    return lines.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0));
  }

  #wanted(file: string): boolean {
    const source = sourceOf(file);
    const item = source.slice(0, source.lastIndexOf("#"));
    return this.#node === undefined || item === this.#node || item.replace(/\[\d+\]$/, "") === this.#node;
  }

  #newLines(file: string): LogLine[] {
    const path = join(this.#folder, file);
    const { ino, size } = statSync(path);
    // Read on by inode: a file that was moved aside goes on where it was.
    const key = String(ino);
    const seen = this.#offsets.get(key) ?? { inode: ino, at: 0, rest: "" };
    const text = seen.rest + readFrom(path, seen.at, size);
    const lines = text.split("\n");
    this.#offsets.set(key, { inode: ino, at: size, rest: lines.pop() ?? "" });
    return lines
      .filter((line) => line !== "")
      .map((line) => ({ time: timeOf(line), source: sourceOf(file), text: line }));
  }
}

function sourceOf(file: string): string {
  return file.replace(/\.log(\.1)?$/, "");
}

function readFrom(path: string, from: number, to: number): string {
  if (to <= from) return "";
  const buffer = Buffer.alloc(to - from);
  const file = openSync(path, "r");
  try {
    const length = readSync(file, buffer, 0, buffer.length, from);
    return buffer.toString("utf8", 0, length);
  } finally {
    closeSync(file);
  }
}

function timeOf(line: string): string {
  return /"time":"([^"]+)"/.exec(line)?.[1] ?? "";
}

const known = new Set(["level", "time", "msg", "execution", "uid", "node", "attempt", "try", "pid", "hostname"]);

function shownLine({ source, text }: LogLine, paint: Paint): string {
  const fields = parse(text);
  if (fields === undefined) return `${" ".repeat(8)}  ${source}  ${oneLine(text)}`;
  const level = textOf(fields["level"], "info");
  const rest = Object.entries(fields)
    .filter(([name]) => !known.has(name))
    .map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  const time = textOf(fields["time"]).slice(11, 19);
  const shownLevel =
    level === "error" ? paint("red", "error") : level === "warn" ? paint("yellow", "warn ") : level.padEnd(5);
  return [
    paint("dim", time),
    shownLevel,
    source,
    oneLine(textOf(fields["msg"])),
    ...(rest.length === 0 ? [] : [paint("dim", oneLine(rest.join(" ")))]),
  ].join("  ");
}

function parse(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function textOf(value: unknown, absent = ""): string {
  return typeof value === "string" ? value : absent;
}
