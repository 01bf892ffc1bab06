// Folders of a control group in every hierarchy of this machine: one with version 2, one per controller with version 1.
import { existsSync, readdirSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";

export function cgroupFolders(id: string): string[] {
  const mounts = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  const roots = mounts.flatMap((line) => {
    const [before = "", after = ""] = line.split(" - ");
    const type = after.split(" ")[0] ?? "";
    const at = before.split(" ")[4] ?? "";
    return type === "cgroup" || (type === "cgroup2" && existsSync(join(at, "cgroup.controllers"))) ? [at] : [];
  });
  return [...new Set(roots)].map((root) => join(root, id));
}

/** Removes the group with those below it; they must hold no process. Repeat: no-op. */
export function removeCgroup(folder: string): void {
  if (!existsSync(folder)) return;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) removeCgroup(join(folder, entry.name));
  }
  rmdirSync(folder);
}

/** Of the group and those below it. */
export function processesOf(folder: string): number[] {
  if (!existsSync(folder)) return [];
  const own = readFileSync(join(folder, "cgroup.procs"), "utf8").split("\n").filter(Boolean).map(Number);
  const below = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return [...own, ...below.flatMap(({ name }) => processesOf(join(folder, name)))];
}
