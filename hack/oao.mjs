#!/usr/bin/env node
// The `oao` program. Runs dist/cli.js under Node.js 24: in this process if it is new enough, else under the one that the
// package brings along. In a checkout it installs and builds first whatever is missing or older than the sources.
import { spawnSync } from "node:child_process";
import { existsSync, realpathSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { relaunch } from "./relaunch.mjs";

const self = realpathSync(fileURLToPath(import.meta.url));
const root = dirname(dirname(self));
const isCheckout = existsSync(join(root, "src/cli/main.ts"));
const isNewEnough = Number(process.versions.node.split(".")[0]) >= 24;

if (isNewEnough && !isCheckout) await runHere();
else if (isNewEnough) await buildAndRunHere();
else await relaunchUnder24();

async function runHere() {
  const cli = join(root, "dist/cli.js");
  process.argv[1] = self;
  await import(pathToFileURL(cli).href);
}

async function buildAndRunHere() {
  const { ensureInstalled } = await import("./setup.mjs");
  await ensureInstalled();
  const { isFresh } = await import("./freshness.mjs");
  if (!isFresh(root)) {
    const built = spawnSync(process.execPath, [join(root, "hack/build.ts"), "--if-stale", "--quiet"], {
      stdio: ["ignore", 2, 2],
    });
    if (built.status !== 0) process.exit(1);
  }
  await runHere();
}

async function relaunchUnder24() {
  const args = [self, ...process.argv.slice(2)];
  if (!isCheckout) return relaunch(packagedNode(), args);
  const { ensureInstalled, nodeToUse } = await import("./setup.mjs");
  await ensureInstalled();
  relaunch(nodeToUse(), args);
}

/** The binary of the package `node`, a dependency of the installed package. */
function packagedNode() {
  try {
    const manifest = createRequire(self).resolve("node/package.json");
    const binary = join(dirname(manifest), "bin", process.platform === "win32" ? "node.exe" : "node");
    if (existsSync(binary)) return binary;
  } catch (error) {
    if (error.code !== "MODULE_NOT_FOUND") throw error;
  }
  console.error(
    `oao needs Node.js 24; this is ${process.versions.node}, and the one that the package brings along is missing\n` +
      "(npm was told not to run install scripts?).\n" +
      "  Either:  npm rebuild node --ignore-scripts=false\n" +
      "  or:      install Node.js 24.",
  );
  process.exit(1);
}
