/** `oao diff` as people read it. */
import { type Difference, shortened } from "../../core/digest/json-diff.ts";
import type { PlacedStep, StepPair } from "../../core/trace/align.ts";
import { isDrawnAnew } from "../../core/trace/diff.ts";
import { oneLine, type Paint } from "./style.ts";
import { table } from "./table.ts";
import { elapsed } from "../../ui/figures.ts";

export interface ShownPair {
  readonly pair: StepPair;
  readonly differences: readonly Difference[];
  /** There are more than are shown. */
  readonly isCut: boolean;
}

const marks = { Same: "=", Changed: "~", OnlyA: "-", OnlyB: "+" } as const;
const colors = { Same: "dim", Changed: "yellow", OnlyA: "red", OnlyB: "green" } as const;
/** As many equal steps in a row are shown one by one; more are one line. */
const samesShown = 3;

export interface DiffTextOptions {
  /** Equal steps are not put together, and what a provider makes anew is shown. */
  readonly isWhole: boolean;
  /** Columns of the terminal. */
  readonly width: number;
}

/** One line per step, and below one that changed its differences. */
export function diffText(pairs: readonly ShownPair[], options: DiffTextOptions, paint: Paint): string {
  const rows = options.isWhole ? pairs.map((pair) => [pair]) : folded(pairs);
  const [head = "", ...lines] = table(
    ["", "STEP", "NODE", "KIND", "NAME", "TOKENS", "TIME", ""],
    rows.map((row) => cells(row)),
  )
    .trimEnd()
    .split("\n");
  const shown = rows.flatMap((row, index) => {
    const [first] = row;
    if (first === undefined) return [];
    return [paint(colors[first.pair.verdict], lines[index] ?? ""), ...detailLines(first, options, paint)];
  });
  return `${[head, ...shown].join("\n")}\n`;
}

/** Rows of one pair each, and of many equal ones. */
function folded(pairs: readonly ShownPair[]): ShownPair[][] {
  const rows: ShownPair[][] = [];
  let sames: ShownPair[] = [];
  const close = () => {
    if (sames.length > samesShown) rows.push(sames);
    else rows.push(...sames.map((pair) => [pair]));
    sames = [];
  };
  for (const shown of pairs) {
    if (shown.pair.verdict === "Same") sames.push(shown);
    else {
      close();
      rows.push([shown]);
    }
  }
  close();
  return rows;
}

function cells(row: readonly ShownPair[]): string[] {
  const [first, last] = [row[0]?.pair, row.at(-1)?.pair];
  if (first === undefined || last === undefined) return [];
  if (row.length > 1) {
    const numbers = `${first.a?.number ?? ""}-${last.a?.number ?? ""}`;
    return [marks.Same, numbers, "", "", "", "", "", `${row.length} steps are the same`];
  }
  const { a, b, verdict, node } = first;
  const entry = (a ?? b)?.call.entry;
  return [
    marks[verdict],
    both(a?.number, b?.number, String),
    oneLine(node),
    oneLine(entry?.kind ?? ""),
    oneLine(entry?.name ?? ""),
    both(tokensOf(a), tokensOf(b), String),
    both(a && timeOf(a), b && timeOf(b), elapsed),
    notes[verdict],
  ];
}

const notes = { Same: "", Changed: "", OnlyA: "only in the first", OnlyB: "only in the second" } as const;

/** `3`, or `3 → 4` where they differ, as texts. */
function both<T>(a: T | undefined, b: T | undefined, text: (value: T) => string): string {
  const shown = [a, b].flatMap((value) => (value === undefined ? [] : [text(value)]));
  return [...new Set(shown)].join(" → ");
}

/** What the provider reported, as the canonical trace has it; not what was counted against budgets, which `oao trace` shows. */
export function tokensOf(step: PlacedStep | undefined): number | undefined {
  return step?.call.entry.usage?.total;
}

/** Milliseconds. */
export function timeOf({ call: { entry } }: PlacedStep): number {
  return Date.parse(entry.completedAt) - Date.parse(entry.startedAt);
}

function detailLines(
  { pair, differences, isCut }: ShownPair,
  { isWhole, width }: DiffTextOptions,
  paint: Paint,
): string[] {
  const told = isWhole ? differences : differences.filter((each) => !isDrawnAnew(each));
  const lines = told.flatMap((difference) => {
    const { a, b } = shortened(difference, Math.max(20, width - 8));
    return [
      `    ${oneLine(difference.path)}`,
      paint("red", `      - ${oneLine(a)}`),
      paint("green", `      + ${oneLine(b)}`),
    ];
  });
  const since = pair.request?.since;
  if (since !== undefined) lines.push(`    its request holds what differs since step ${since}`);
  if (told.length < differences.length)
    lines.push(
      paint(
        "dim",
        `    ${told.length === 0 ? "only" : "and"} in ids and metadata that the provider makes anew (--all)`,
      ),
    );
  if (isCut) lines.push("    and more: oao diff -o json");
  return lines;
}
