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
  for (const name of groupsBelow(folder)) removeCgroup(join(folder, name));
  unlessGone(() => rmdirSync(folder), undefined);
}

/** Of the group and those below it. */
export function processesOf(folder: string): number[] {
  const text = unlessGone(() => readFileSync(join(folder, "cgroup.procs"), "utf8"), "");
  const own = text.split("\n").filter(Boolean).map(Number);
  return [...own, ...groupsBelow(folder).flatMap((name) => processesOf(join(folder, name)))];
}

function groupsBelow(folder: string): string[] {
  const entries = unlessGone(() => readdirSync(folder, { withFileTypes: true }), []);
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
}

/** A runtime that is ending takes its groups away under our hands: the kernel says ENOENT then, or ENODEV of an open file. */
function unlessGone<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch (error) {
    if (["ENOENT", "ENODEV"].includes((error as NodeJS.ErrnoException).code ?? "")) return otherwise;
    throw error;
  }
}
