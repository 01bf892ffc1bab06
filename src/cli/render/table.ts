import { fit } from "./style.ts";

/** For a reader with a screen: lines that are too long for it are shortened in their free texts, never in a name or a figure. */
export interface TableFit {
  /** Undefined = no screen, so nothing is shortened. */
  readonly columns: number | undefined;
  /** Places of the columns that hold free text. */
  readonly free: readonly number[];
}

/** Enough to see what a text begins with. */
const freeMin = 8;

/** Columns as kubectl prints them: upper-case heads, two spaces between, nothing at the end of a line. */
export function table(heads: readonly string[], rows: readonly (readonly string[])[], how?: TableFit): string {
  const widths = heads.map((head, column) =>
    rows.reduce((width, row) => Math.max(width, row[column]?.length ?? 0), head.length),
  );
  if (how?.columns !== undefined) narrow(widths, how.columns, how.free);
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => {
        const shown = how?.free.includes(column) === true ? fit(cell, widths[column] ?? 0) : cell;
        return column === cells.length - 1 ? shown : shown.padEnd(widths[column] ?? 0);
      })
      .join("  ")
      .trimEnd();
  return `${[heads, ...rows].map(line).join("\n")}\n`;
}

/** The widest of the free ones first, so that a short one stays whole. */
function narrow(widths: number[], columns: number, free: readonly number[]): void {
  const width = (column: number) => widths[column] ?? 0;
  let over = widths.reduce((sum, each) => sum + each + 2, -2) - columns;
  while (over > 0) {
    const widest = free.reduce((found, column) => (width(column) > width(found) ? column : found), free[0] ?? 0);
    if (free.length === 0 || width(widest) <= freeMin) return;
    widths[widest] = width(widest) - 1;
    over -= 1;
  }
}
