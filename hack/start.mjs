// `node hack/start.mjs <task> [arguments]`: runs a task of this repository from a bare checkout. Needs Node.js 20 and npm,
// nothing else: it installs the locked dependencies when they are missing or out of date, then runs the task under the
// Node.js that package.json pins, whatever the system has.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { withLock } from "./lock.mjs";
import { relaunch } from "./relaunch.mjs";

const root = resolve(fileURLToPath(import.meta.url), "../..");
const modules = join(root, "node_modules");
const stamp = join(modules, ".oao-installed");
const packagedNode = join(modules, ".bin", process.platform === "win32" ? "node.exe" : "node");

const [task, ...args] = process.argv.slice(2);
if (task === undefined) fail("say which task to run, for example: node hack/start.mjs hack/check.ts");
if (Number(process.versions.node.split(".")[0]) < 20) {
  fail(`Node.js ${process.versions.node} is too old to start: install Node.js 20 or newer (https://nodejs.org).`);
}

if (!isInstalled()) {
  await withLock(
    join(root, ".oao", "install.lock"),
    () => isInstalled() || install(),
    (owner) => say(`waiting for another start that installs the dependencies (pid ${owner.split(" ")[0]})`),
  );
}
process.env.PATH = `${join(modules, ".bin")}${delimiter}${process.env.PATH ?? ""}`;
relaunch(nodeToUse(), [resolve(root, task), ...args]);

/** What the installed tree depends on: the lockfile, and the machine it was installed for (a checkout may be shared). */
function wanted() {
  const hash = createHash("sha256")
    .update(readFileSync(join(root, "package-lock.json")))
    .digest("hex");
  return `${hash} ${process.platform}-${process.arch}\n`;
}

function isInstalled() {
  return existsSync(stamp) && readFileSync(stamp, "utf8") === wanted();
}

function install() {
  const why = existsSync(modules) ? "the installed packages are not those of package-lock.json" : "first start";
  say(`${why}: npm ci (Node.js packages from the npm registry into node_modules, about half a minute)`);
  const startedMs = Date.now();
  // npm must not run on the packaged Node.js that it is about to replace.
  const path = (process.env.PATH ?? "").split(delimiter).filter((dir) => !resolve(dir).startsWith(modules));
  const result = spawnSync("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: root,
    env: { ...process.env, PATH: path.join(delimiter) },
    stdio: ["ignore", 2, 2],
    shell: process.platform === "win32",
  });
  if (result.error?.code === "ENOENT")
    fail("npm is not on PATH: it comes with Node.js (https://nodejs.org), install it.");
  if (result.error) fail(`npm ci could not start: ${result.error.message}`);
  if (result.status !== 0) fail(`npm ci failed (exit ${result.status ?? result.signal}): its message is above.`);
  writeFileSync(stamp, wanted());
  say(`installed in ${((Date.now() - startedMs) / 1000).toFixed(1)} s`);
}

function nodeToUse() {
  const pinned = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).dependencies.node;
  if (versionOf(packagedNode) === `v${pinned}`) return packagedNode;
  if (Number(process.versions.node.split(".")[0]) >= 24) {
    say(`the packaged Node.js ${pinned} is not there; going on with this one, ${process.versions.node}`);
    return process.execPath;
  }
  return fail(
    `the packaged Node.js ${pinned} is not in node_modules: npm was told not to run install scripts (ignore-scripts), and ` +
      "the package `node` fetches its binary in one.\nEither:  npm rebuild node --ignore-scripts=false\n" +
      "or:      install Node.js 24 yourself and start again.",
  );
}

function versionOf(binary) {
  return spawnSync(binary, ["--version"], { encoding: "utf8" }).stdout?.trim();
}

function say(text) {
  console.error(`[oao] ${text}`);
}

function fail(text) {
  say(text);
  process.exit(1);
}
