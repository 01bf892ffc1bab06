/** What is given where a run or a file may stand: which of the two it is, and what a file is that cannot be read as one. */
import { closeSync, existsSync, openSync, readSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { CliError } from "./errors.ts";

/** A run's name is a DNS label, with its namespace before it or not: all else can only be a file. */
export function isBundlePath(text: string): boolean {
  return !/^[\w-]+(\/[\w-]+)?$/.test(text);
}

/** A file where there is one, or where its name ends like a manifest's. */
export function isManifestName(name: string, cwd: string): boolean {
  const path = resolve(cwd, name);
  return name === "-" || /\.(ya?ml|json)$/i.test(name) || (existsSync(path) && statSync(path).isFile());
}

const packers = [
  { magic: "1f8b", format: "gzip", unpack: "gunzip -c", ending: /\.gz$/i },
  { magic: "28b52ffd", format: "zstd", unpack: "zstd -dc", ending: /\.zst$/i },
] as const;

/** Throws CliError for bytes that a program must unpack first. `begin`: the first four or more. */
export function checkUnpacked(path: string, begin: Uint8Array): void {
  const hex = Buffer.from(begin.subarray(0, 4)).toString("hex");
  const found = packers.find(({ magic }) => hex.startsWith(magic));
  if (found === undefined) return;
  const plain = found.ending.test(path) ? path.replace(found.ending, "") : `${path}.out`;
  throw new CliError(`${path} is compressed with ${found.format}, and is read as it was written`, [
    `unpack it first: ${found.unpack} ${path} > ${plain}, then give ${plain}`,
  ]);
}

const anew = "write one: oao export NAME -O FILE";

/** Throws CliError for what cannot be a bundle, whatever is in it. */
export function checkBundleFile(path: string): void {
  if (path === "-") throw new CliError("a bundle is read more than once, so not from stdin", ["give a file"]);
  if (!existsSync(path)) throw new CliError(`there is no file ${path}`, [anew]);
  const stat = statSync(path);
  if (stat.isDirectory()) throw new CliError(`${path} is a folder`, ["give the bundle in it, a file"]);
  if (!stat.isFile())
    throw new CliError(`${path} is no file: a bundle is read more than once`, ["write what it says into a file first"]);
  checkUnpacked(path, beginOf(path));
}

function beginOf(path: string): Uint8Array {
  const begin = Buffer.alloc(4);
  let file: number | undefined;
  try {
    file = openSync(path, "r");
    return begin.subarray(0, readSync(file, begin, 0, 4, 0));
  } catch (error) {
    throw new CliError(`cannot read ${path}: ${(error as Error).message}`, [`may you read it? ls -l ${path}`]);
  } finally {
    if (file !== undefined) closeSync(file);
  }
}
