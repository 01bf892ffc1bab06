/** oao logs: what the workers of a run said, by time. */
import { closeSync, existsSync, openSync, readdirSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import type { LocalIndex } from "../../adapters/local/local-index.ts";
import type { LocalRun } from "../../adapters/local/local-run.ts";
import { type CliExitCode, cliExitCodes } from "../../api/exit-codes.ts";
import { withRun } from "../cluster/locate.ts";
import type { PlaceFlags } from "../cluster/place.ts";
import { hasEnded } from "../outcome.ts";
import { checkFormat } from "../render/output.ts";
import { checkNode, isOfNode, type LogLine, printLine, timeOf } from "../render/log-lines.ts";
import type { Terminal } from "../terminal.ts";

export interface LogsFlags extends PlaceFlags {
  readonly node?: string | undefined;
  readonly follow?: boolean | undefined;
  readonly output?: string | undefined;
}

const pollMs = 200;

export async function logs(name: string, flags: LogsFlags, terminal: Terminal): Promise<CliExitCode> {
  const raw = checkFormat(flags.output, ["table", "jsonl"]) === "jsonl";
  return withRun(name, flags, terminal, {
    local: (index, run) => logsHere(index, run, flags, raw, terminal),
    cluster: async (cluster, run) => {
      checkNode(run, flags.node);
      const options = { node: flags.node, follow: flags.follow === true, raw };
      return (await import("../cluster/logs.ts")).logs(cluster, run, options, terminal);
    },
  });
}

async function logsHere(
  index: LocalIndex,
  run: LocalRun,
  flags: LogsFlags,
  raw: boolean,
  terminal: Terminal,
): Promise<CliExitCode> {
  checkNode(run, flags.node);
  const reader = new LogReader(join(index.home, "logs", run.uid), flags.node);
  const print = () => {
    const lines = reader.read();
    for (const line of lines) printLine(line, raw, terminal);
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
    return isOfNode(item, this.#node);
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
