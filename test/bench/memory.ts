/** What a process has in memory, as Linux tells it. */
import type { ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";

/** Bytes: what is its own (not files), and all of it at its highest. */
export function memoryOf(pid: number): { readonly own: number; readonly peak: number } {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const kib = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1] ?? Number.NaN);
  return { own: kib("RssAnon") * 1_024, peak: kib("VmHWM") * 1_024 };
}

/** MiB at its highest; resolves when it has ended. Linux forgets the figure with the process, so it is looked at often. */
export function peakMiBOf(child: ChildProcess): Promise<number> {
  let peak = 0;
  const look = () => {
    const now = memoryOrNone(child.pid ?? 0);
    if (now > peak) peak = now;
  };
  look();
  if (child.exitCode !== null) return Promise.resolve(peak / 1_048_576);
  const looking = setInterval(look, 5);
  return new Promise((resolve) =>
    child.once("exit", () => {
      clearInterval(looking);
      resolve(peak / 1_048_576);
    }),
  );
}

/** NaN = it has just ended. */
function memoryOrNone(pid: number): number {
  try {
    return memoryOf(pid).peak;
  } catch {
    return Number.NaN;
  }
}
