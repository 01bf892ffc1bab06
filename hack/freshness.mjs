import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

/** What a bundle is made of, relative to the root. */
const INPUTS = ["src", "hack/build.ts", "hack/freshness.mjs", "package-lock.json"];

/** A digest over path, size and change time of everything a bundle is made of: milliseconds, and no file is read. */
export function fingerprint(root) {
  const hash = createHash("sha256");
  const add = (path) => {
    const { mtimeMs, size } = statSync(join(root, path));
    hash.update(`${path}\0${mtimeMs}\0${size}\n`);
  };
  for (const input of INPUTS) {
    if (!statSync(join(root, input), { throwIfNoEntry: false })?.isDirectory()) add(input);
    else for (const path of files(root, input)) add(path);
  }
  return hash.digest("hex");
}

/** Whether dist/ was built from exactly the present sources. */
export function isFresh(root) {
  try {
    return JSON.parse(readFileSync(join(root, "dist/build.json"), "utf8")).fingerprint === fingerprint(root);
  } catch (error) {
    if (error.code === "ENOENT") return false;
    throw error;
  }
}

function files(root, folder) {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .sort();
}
