/** Lines that workers wrote, as people read them. */
import { shownSpec } from "../../core/replay/spec.ts";
import type { StoredExecution } from "../../ports/cluster.ts";
import { CliError } from "../errors.ts";
import { nearestNames } from "../nearest.ts";
import type { Terminal } from "../terminal.ts";
import { oneLine, type Paint, painter } from "./style.ts";

export interface LogLine {
  readonly time: string;
  /** gather#1 */
  readonly source: string;
  readonly text: string;
}

export function printLine(line: LogLine, raw: boolean, terminal: Terminal): void {
  if (raw) terminal.body(`${line.text}\n`);
  else terminal.out(`${shownLine(line, painter(terminal.colorOut))}\n`);
}

/** `item` is `gather` or `rate[3]`; `wanted` one of them, or a node with all its items. Undefined = every node. */
export function isOfNode(item: string, wanted: string | undefined): boolean {
  return wanted === undefined || item === wanted || item.replace(/\[\d+\]$/, "") === wanted;
}

/** Throws CliError with the nearest names. */
export function checkNode(run: StoredExecution, wanted: string | undefined): void {
  const spec = shownSpec(run.object, run.status);
  const names = [...spec.nodes, ...(spec.finally ?? [])].map((node) => node.name);
  const node = wanted?.replace(/\[\d+\]$/, "");
  if (node === undefined || names.includes(node)) return;
  const near = nearestNames(node, names);
  throw new CliError(`${run.key.namespace}/${run.key.name} has no node ${node}`, [
    near.length > 0 ? `did you mean ${near.join(" or ")}?` : `its nodes: ${names.slice(0, 20).join(", ")}`,
  ]);
}

export function timeOf(line: string): string {
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
