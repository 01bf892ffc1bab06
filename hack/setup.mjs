// Dependency-free: what makes a bare checkout runnable. Used by start.mjs and, in a checkout, by oao.mjs.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { withLock } from "./lock.mjs";

export const root = resolve(fileURLToPath(import.meta.url), "../..");
const modules = join(root, "node_modules");
const stamp = join(modules, ".oao-installed");
const packagedNode = join(modules, ".bin", process.platform === "win32" ? "node.exe" : "node");
const ownMajor = Number(process.versions.node.split(".")[0]);

/**
 * Installs the locked packages if they are missing or not those of package-lock.json, and puts their programs first on
 * PATH. Of several starts at once, one installs and the others wait. Ends the process with the reason if it cannot.
 */
export async function ensureInstalled() {
  if (ownMajor < 20) {
    fail(`Node.js ${process.versions.node} is too old to start: install Node.js 20 or newer (https://nodejs.org).`);
  }
  if (!isInstalled()) {
    await withLock(
      join(root, ".oao", "install.lock"),
      () => isInstalled() || install(),
      (owner) => say(`waiting for another start that installs the packages (pid ${owner.split(" ")[0]})`),
    );
  }
  process.env.PATH = `${join(modules, ".bin")}${delimiter}${process.env.PATH ?? ""}`;
}

/** The Node.js to run with: the one package.json pins, or this one if that is missing and this is new enough. */
export function nodeToUse() {
  const pinned = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).dependencies.node;
  if (ownMajor >= 24 && process.versions.node === pinned) return process.execPath;
  if (existsSync(packagedNode)) return packagedNode;
  if (ownMajor >= 24) {
    say(`the packaged Node.js ${pinned} is not there; going on with this one, ${process.versions.node}`);
    return process.execPath;
  }
  return fail(
    `the packaged Node.js ${pinned} is not in node_modules: npm was told not to run install scripts (ignore-scripts), and\n` +
      "the package `node` fetches its binary in one.\n" +
      "  Either:  npm rebuild node --ignore-scripts=false\n" +
      "  or:      install Node.js 24 yourself, and start again.",
  );
}

/** What the installed tree depends on: the lockfile, and the kind of machine (a checkout may be shared by several). */
function wanted() {
  const lockfile = readFileSync(join(root, "package-lock.json"));
  return `${createHash("sha256").update(lockfile).digest("hex")} ${process.platform}-${process.arch}\n`;
}

function isInstalled() {
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted()) return true;
  if (!isInstalledByNpm()) return false;
  writeFileSync(stamp, wanted());
  return true;
}

/** Someone ran `npm ci` (a CI job does): npm leaves a lockfile of what it has put there. */
function isInstalledByNpm() {
  const record = join(modules, ".package-lock.json");
  if (!existsSync(record)) return false;
  const there = packagesOf(record);
  const locked = packagesOf(join(root, "package-lock.json"));
  const isSame = (path) =>
    there[path]?.version === locked[path]?.version && there[path]?.integrity === locked[path]?.integrity;
  return (
    Object.keys(there).every(isSame) &&
    Object.keys(locked).every((path) => isSame(path) || !isNeeded(path, locked[path]))
  );
}

function packagesOf(lockfile) {
  return JSON.parse(readFileSync(lockfile, "utf8")).packages ?? {};
}

/** Optional ones are for some kind of machine; which C library this one has is not told here, so those may be missing. */
function isNeeded(path, { optional, os = [], cpu = [], libc }) {
  if (path === "") return false; // this repository
  if (optional !== true) return true;
  return libc === undefined && os.includes(process.platform) && cpu.includes(process.arch);
}

function install() {
  const why = existsSync(modules) ? "node_modules is not what package-lock.json says" : "first start";
  say(`${why}: running npm ci (the locked packages, and Node.js itself, from the npm registry)`);
  const startedMs = Date.now();
  // npm must not run on the packaged Node.js that it is about to replace.
  const path = (process.env.PATH ?? "").split(delimiter).filter((dir) => !resolve(dir).startsWith(modules));
  const result = spawnSync("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: root,
    env: { ...process.env, PATH: path.join(delimiter) },
    stdio: ["ignore", 2, 2],
    shell: process.platform === "win32",
  });
  if (result.error?.code === "ENOENT") fail("npm is not on PATH; it comes with Node.js: https://nodejs.org");
  if (result.error) fail(`npm ci could not start: ${result.error.message}`);
  if (result.status !== 0) fail(`npm ci failed (exit ${result.status ?? result.signal}); its message is above.`);
  writeFileSync(stamp, wanted());
  say(`installed in ${((Date.now() - startedMs) / 1000).toFixed(1)} s`);
}

function say(text) {
  console.error(`[oao] ${text}`);
}

/** @returns {never} */
function fail(text) {
  say(text);
  process.exit(1);
}
