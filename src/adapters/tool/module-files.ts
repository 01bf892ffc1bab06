/** Where a module tool's code is, and the digest of it. */
import { readFile, realpath, stat } from "node:fs/promises";
import { dirname, isAbsolute, posix, relative, resolve, sep } from "node:path";
import { digestJson, sha256Hex } from "../../core/digest/digest.ts";
import { InvalidTool } from "./invalid-tool.ts";

const EXTENSIONS = /\.(js|mjs|ts|mts)$/;

/** What is wrong with a path whatever files there are. Throws InvalidTool for `module.path`: absolute, upwards, no ESM file. */
export function checkModulePath(tool: string, baseDir: string, path: string): void {
  const refuse = (problem: string) => new InvalidTool(tool, "module.path", `${path} ${problem}`);
  if (isAbsolute(path) || /^[a-z][a-z0-9+.-]*:/i.test(path)) throw refuse(`must be relative to ${baseDir}`);
  if (path.split(/[/\\]/).includes("..")) throw refuse("must not hold '..'");
  if (!EXTENSIONS.test(path)) throw refuse("must be an ESM file: .js, .mjs, .ts or .mts");
}

/** Real path of a module below `baseDir`. Throws InvalidTool for `module.path`: as above, outside (also by a link), absent. */
export async function locateModule(tool: string, baseDir: string, path: string): Promise<string> {
  checkModulePath(tool, baseDir, path);
  const refuse = (problem: string) => new InvalidTool(tool, "module.path", `${path} ${problem}`);
  const base = await realpath(baseDir);
  const file = await realpath(resolve(base, path)).catch(() => undefined);
  if (file === undefined)
    throw refuse(`does not exist in ${baseDir}; paths are relative to the manifest's folder (in the image: to /app)`);
  if (!isInside(base, file)) throw refuse(`leads out of ${baseDir} by a link`);
  if (!(await stat(file)).isFile()) throw refuse("is no file");
  return file;
}

/**
 * Digest of the file and of every local file it imports by a relative path written as text, directly or through others, wherever the
 * folder is. Not seen: packages, computed specifiers, files read at run time.
 */
export async function digestModule(file: string): Promise<string> {
  const root = dirname(file);
  const contents = new Map<string, string>();
  const open = [file];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const name = relative(root, next).split(sep).join(posix.sep);
    if (contents.has(name)) continue;
    // A specifier in a comment may name a file that is not there; an import that is real fails when the module is loaded.
    const bytes = await readFile(next).catch(() => undefined);
    if (bytes === undefined) continue;
    contents.set(name, sha256Hex(bytes));
    if (EXTENSIONS.test(next))
      open.push(...importsOf(bytes.toString("utf8")).map((specifier) => resolve(dirname(next), specifier)));
  }
  return digestJson(Object.fromEntries(contents));
}

function importsOf(source: string): string[] {
  return [...source.matchAll(/\b(?:from|import)\s*\(?\s*(["'])(\.{1,2}\/[^"'\n]+)\1/g)].map((match) =>
    (match[2] ?? "").replace(/[?#].*/, ""),
  );
}

function isInside(folder: string, file: string): boolean {
  const path = relative(folder, file);
  return path !== "" && !isAbsolute(path) && path !== ".." && !path.startsWith(`..${sep}`);
}
