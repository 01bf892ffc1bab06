// A root file system made of this machine's own programs: the base of images where nothing can be pulled.
import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdirSync, realpathSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** Copies each program (path here → path in the image) with the libraries it loads, and makes /tmp, /etc/passwd and /etc/group. */
export function rootOf(
  folder: string,
  programs: Readonly<Record<string, string>>,
  users: Readonly<Record<string, number>>,
): void {
  for (const [from, to] of Object.entries(programs)) {
    copyInto(folder, from, to);
    for (const library of librariesOf(from)) copyInto(folder, library, library);
  }
  mkdirSync(join(folder, "etc"), { recursive: true });
  const lines = Object.entries({ root: 0, ...users });
  const passwd = lines.map(([name, id]) => `${name}:x:${id}:${id}:${name}:/tmp:/bin/sh\n`).join("");
  writeFileSync(join(folder, "etc/passwd"), passwd);
  writeFileSync(join(folder, "etc/group"), lines.map(([name, id]) => `${name}:x:${id}:\n`).join(""));
  mkdirSync(join(folder, "tmp"), { recursive: true });
  chmodSync(join(folder, "tmp"), 0o1777);
}

/** Debian's program of this name, for an image. */
export function programPath(name: string): string {
  const folders = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];
  const found = folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
  if (found === undefined) throw new Error(`${name} is not installed on this machine`);
  return found;
}

function copyInto(folder: string, from: string, to: string): void {
  const target = join(folder, to);
  mkdirSync(dirname(target), { recursive: true });
  if (!existsSync(target)) copyFileSync(realpathSync(from), target);
}

/** What ldd names; nothing for a static program. */
function librariesOf(program: string): string[] {
  const { stdout } = spawnSync("ldd", [program], { encoding: "utf8" });
  return [...stdout.matchAll(/(\/\S+) \(0x/g)].flatMap(([, path]) => path ?? []);
}
