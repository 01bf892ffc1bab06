/** A run as a tree of its nodes: pure text, one line per node, for terminals of any size. */
import { shownSpec } from "../../core/replay/spec.ts";
import type { ItemStatus, NodeState, NodeStatus } from "../../api/status.ts";
import { canonicalNodeOrder } from "../../core/dag/spec-graph.ts";
import type { ExecutionSpec, NodeSpec } from "../../api/types.ts";
import type { LiveFigures, RunView, TokenFigures } from "./run-view.ts";
import { fit, oneLine, type Paint, saidOnce } from "./style.ts";
import { elapsed, grouped } from "../../ui/figures.ts";

export interface TreeSize {
  readonly columns: number;
  /** Undefined = as many lines as there are nodes. */
  readonly rows?: number | undefined;
}

interface Line {
  readonly prefix: string;
  readonly label: string;
  /** Where the line stands alone: `rate[3]` instead of `[3]`. */
  readonly fullLabel: string;
  readonly state: NodeState;
  readonly rest: string;
  /** Lower is shown first when not all fit. */
  readonly rank: number;
}

const glyphs: Readonly<Record<NodeState, string>> = {
  Pending: "·",
  Starting: "◌",
  Running: "●",
  Retrying: "↻",
  AwaitingApproval: "?",
  Succeeded: "✔",
  Failed: "✘",
  Skipped: "–",
  Cancelled: "■",
};
const colors: Readonly<Record<NodeState, Parameters<Paint>[0]>> = {
  Pending: "dim",
  Starting: "cyan",
  Running: "cyan",
  Retrying: "yellow",
  AwaitingApproval: "yellow",
  Succeeded: "green",
  Failed: "red",
  Skipped: "dim",
  Cancelled: "yellow",
};
/** What a person wants to see first when there is no room for all. */
const ranks: Readonly<Record<NodeState, number>> = {
  Failed: 0,
  Running: 1,
  Starting: 1,
  Retrying: 1,
  AwaitingApproval: 1,
  Pending: 3,
  Cancelled: 4,
  Succeeded: 5,
  Skipped: 6,
};
const depthMax = 12;
const labelColumnsMax = 48;

/** Lines of the tree, each at most `columns` wide, at most `rows` of them. */
export function treeLines(view: RunView, size: TreeSize, paint: Paint): string[] {
  const header = headerOf(view, size.columns, paint);
  const lines = nodeLines(view);
  const room = size.rows === undefined ? lines.length : Math.max(1, size.rows - header.length);
  const { shown, hidden } = choose(lines, room);
  const width = Math.min(labelColumnsMax, Math.max(0, ...shown.map((line) => line.prefix.length + line.label.length)));
  const body = shown.map((line) => {
    const label = line.label.padEnd(Math.max(0, width - line.prefix.length));
    const text = fit(
      `${line.prefix}${glyphs[line.state]} ${label}  ${line.state.padEnd(9)}${line.rest}`.trimEnd(),
      size.columns,
    );
    const at = line.prefix.length;
    return `${paint("dim", text.slice(0, at))}${paint(colors[line.state], text.slice(at, at + 1))}${text.slice(at + 1)}`;
  });
  return [...header, ...body, ...(hidden === "" ? [] : [paint("dim", fit(hidden, size.columns))])];
}

/** `default/market-brief  Running  3/5 nodes  1,234 of 50,000 tokens  12s` */
export function headerText(view: RunView): string {
  const { run, tokens } = view;
  const { status } = run;
  const parts = [
    `${run.key.namespace}/${run.key.name}`,
    status?.phase ?? "Pending",
    `${status?.progress ?? `0/${nodeCount(shownSpec(run.object, status))}`} nodes`,
  ];
  if (tokens !== undefined) parts.push(tokenText(tokens));
  if (status?.startedAt !== undefined)
    parts.push(
      elapsed(
        (status.completedAt === undefined ? view.nowMs : Date.parse(status.completedAt)) - Date.parse(status.startedAt),
      ),
    );
  return parts.join("  ");
}

/** `1,234 of 50,000 tokens, 519 lost` */
export function tokenText({ recorded, lost, limit }: TokenFigures): string {
  const most = limit === undefined ? "" : ` of ${grouped(limit)}`;
  return `${grouped(recorded)}${most} tokens${lost === 0 ? "" : `, ${grouped(lost)} lost`}`;
}

/** Why a run is not Succeeded, or undefined. */
export function reasonOf(view: Pick<RunView, "run">): string | undefined {
  const succeeded = view.run.status?.conditions.find((condition) => condition.type === "Succeeded");
  const stalled = view.run.status?.conditions.find(
    (condition) => condition.type === "Stalled" && condition.status === "True",
  );
  const found = succeeded?.status === "False" ? succeeded : stalled;
  if (found === undefined || found.message === "") return found?.reason;
  return saidOnce(found.reason, found.message);
}

/** Reason and message of a node or item; the message of a policy violation begins with its reason already. */
export function reasonOfRow(row: Pick<NodeStatus, "reason" | "message">): string | undefined {
  if (row.reason === undefined || row.message === undefined) return row.reason ?? row.message;
  return saidOnce(row.reason, row.message);
}

/** Undefined = no forEach, or not known yet how many items there are. */
export function itemFigures(row: NodeStatus): { readonly count: number; readonly done: number } | undefined {
  const { state, itemCount: count, itemsDone, items = [] } = row;
  if (count === undefined) return undefined;
  if (state === "Succeeded") return { count, done: count };
  return { count, done: itemsDone ?? items.filter((item) => item.state === "Succeeded").length };
}

function headerOf(view: RunView, columns: number, paint: Paint): string[] {
  const reason = reasonOf(view);
  return [
    paint("bold", fit(headerText(view), columns)),
    ...(reason === undefined ? [] : [paint("red", fit(oneLine(reason), columns))]),
  ];
}

function nodeCount(spec: ExecutionSpec): number {
  return spec.nodes.length + (spec.finally?.length ?? 0);
}

function choose(lines: readonly Line[], room: number): { shown: readonly Line[]; hidden: string } {
  if (lines.length <= room) return { shown: lines, hidden: "" };
  const kept = lines
    .map((line, place) => ({ line, place }))
    .sort((a, b) => a.line.rank - b.line.rank || a.place - b.place)
    .slice(0, Math.max(0, room - 1));
  const shown = kept.map(({ line }) => ({ ...line, prefix: "", label: line.fullLabel }));
  const left = lines.length - kept.length;
  const counts = new Map<NodeState, number>();
  const places = new Set(kept.map(({ place }) => place));
  for (const [place, line] of lines.entries())
    if (!places.has(place)) counts.set(line.state, (counts.get(line.state) ?? 0) + 1);
  return {
    shown,
    hidden: `… and ${left} more: ${[...counts].map(([state, count]) => `${count} ${state}`).join(", ")}`,
  };
}

/** Depth first below the dependency that ends last; without recursion, since a DAG may be a chain of 1,000. */
function nodeLines(view: RunView): Line[] {
  const spec = shownSpec(view.run.object, view.run.status);
  const nodes: readonly NodeSpec[] = [...spec.nodes, ...(spec.finally ?? [])];
  const byName = new Map(nodes.map((node) => [node.name, node]));
  const rows = new Map((view.run.status?.nodes ?? []).map((row) => [row.name, row]));
  const order = canonicalNodeOrder(spec);
  const place = new Map(order.map((name, index) => [name, index]));
  const children = new Map<string, string[]>();
  for (const name of order) {
    const parent = lastOf(byName.get(name)?.dependsOn ?? [], place);
    children.set(parent ?? "", [...(children.get(parent ?? "") ?? []), name]);
  }
  const lines: Line[] = [];
  const open = (children.get("") ?? []).map((name) => ({ name, above: "", last: true, depth: 0 })).toReversed();
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { name, above, last, depth } = next;
    const branch = depth === 0 ? "" : `${above}${last ? "└─ " : "├─ "}`;
    lines.push(...linesOfNode(view, name, rows.get(name), branch));
    const below = children.get(name) ?? [];
    const indent = depth === 0 ? "" : depth >= depthMax ? above : `${above}${last ? "   " : "│  "}`;
    for (const [index, child] of [...below.entries()].toReversed()) {
      open.push({ name: child, above: indent, last: index === below.length - 1, depth: depth + 1 });
    }
  }
  return lines;
}

function lastOf(dependsOn: readonly string[], place: ReadonlyMap<string, number>): string | undefined {
  return dependsOn
    .filter((name) => place.has(name))
    .reduce<string | undefined>(
      (last, name) => (last === undefined || (place.get(name) ?? 0) > (place.get(last) ?? 0) ? name : last),
      undefined,
    );
}

function linesOfNode(view: RunView, name: string, row: NodeStatus | undefined, prefix: string): Line[] {
  const state = row?.state ?? "Pending";
  const own = {
    prefix,
    label: name,
    fullLabel: name,
    state,
    rest: `${itemCounts(row)}${details(view, row, view.live.get(name))}`,
    rank: ranks[state],
  };
  const items = (row?.items ?? []).filter((item) => !["Pending", "Succeeded"].includes(item.state));
  const inner = `${prefix.replaceAll("├─ ", "│  ").replaceAll("└─ ", "   ")}  `;
  return [
    own,
    ...items.map((item): Line => {
      const fullLabel = `${name}[${item.index}]`;
      return {
        prefix: inner,
        label: `[${item.index}]`,
        fullLabel,
        state: item.state,
        rest: details(view, item, view.live.get(fullLabel)),
        rank: ranks[item.state],
      };
    }),
  ];
}

function itemCounts(row: NodeStatus | undefined): string {
  const items = row && itemFigures(row);
  return items === undefined ? "" : `  ${items.done}/${items.count} items`;
}

function details(view: RunView, row: NodeStatus | ItemStatus | undefined, live: LiveFigures | undefined): string {
  if (row === undefined) return "";
  const parts: string[] = [];
  if ((row.attempt ?? 0) > 1) parts.push(`attempt ${row.attempt}`);
  if ((row.try ?? 1) > 1) parts.push(`try ${row.try}`);
  const steps = live?.steps ?? row.steps;
  if (steps !== undefined && steps > 0) parts.push(`${steps} ${steps === 1 ? "step" : "steps"}`);
  if (live !== undefined && live.tokens > 0) parts.push(`${grouped(live.tokens)} tokens`);
  if (row.startedAt !== undefined)
    parts.push(
      elapsed((row.completedAt === undefined ? view.nowMs : Date.parse(row.completedAt)) - Date.parse(row.startedAt)),
    );
  if (live?.tool !== undefined) parts.push(`▸ ${oneLine(live.tool)}`);
  else if (live?.writing !== undefined) parts.push(`▸ writing, ${grouped(live.writing)} tokens`);
  const reason = reasonOfRow(row);
  if (row.state !== "Succeeded" && reason !== undefined) parts.push(oneLine(reason));
  return parts.length === 0 ? "" : `  ${parts.join("  ")}`;
}
