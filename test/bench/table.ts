/** Medians with their spread, and plain tables: benchmarks print, they do not judge. */

export interface Summary {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** `median (min–max)` */
  readonly text: string;
}

/** Of at least one sample, in the samples' unit. */
export function summary(samples: readonly number[], digits = 1): Summary {
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
  const [median, min, max] = [at(0.5), at(0), at(1)];
  return { median, min, max, text: `${median.toFixed(digits)} (${min.toFixed(digits)}–${max.toFixed(digits)})` };
}

/** Value at a share (0.99 = p99) of the samples. */
export function percentile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

export function printTable(title: string, header: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = header.map((cell, column) => Math.max(cell.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd();
  process.stdout.write(
    `\n${title}\n${line(header)}\n${widths.map((width) => "-".repeat(width)).join("  ")}\n${rows.map(line).join("\n")}\n`,
  );
}
