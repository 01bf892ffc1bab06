// `npm run bench [-- name…] [--json FOLDER]`: every benchmark of test/bench, or the named ones, one after the other, each in a
// process of its own. A benchmark is a file whose head says how it is run; raw numbers go to FOLDER as <name>.json.
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { findChromium } from "./chromium.ts";
import { findProgram } from "./debian-program.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = join(root, "test", "bench");

const { values, positionals } = parseArgs({ allowPositionals: true, options: { json: { type: "string" } } });
const known = readdirSync(folder)
  .filter((file) => file.endsWith(".ts"))
  .map((file) => file.slice(0, -".ts".length))
  .filter((name) => readFileSync(join(folder, `${name}.ts`), "utf8").includes(`Run: npm run bench -- ${name}`));
const unknown = positionals.filter((name) => !known.includes(name));
if (unknown.length > 0) {
  console.error(`no benchmark ${unknown.join(", ")}; there are ${known.join(", ")}`);
  process.exit(2);
}

const built = spawnSync("node", ["hack/build.ts", "--if-stale"], { cwd: root, stdio: "inherit" });
if (built.status !== 0) process.exit(1);
const names = positionals.length > 0 ? positionals : known;
const env = {
  ...process.env,
  OAO_CHROMIUM: names.includes("page") ? findChromium() : "",
  OAO_REDIS_SERVER: findProgram(["redis-server", "valkey-server"], "redis-server") ?? "",
  ...(values.json === undefined ? {} : { OAO_BENCH_JSON: resolve(values.json) }),
};
for (const name of names) {
  console.log(`\n== ${name}`);
  const { status } = spawnSync("node", [join(folder, `${name}.ts`)], { cwd: root, stdio: "inherit", env });
  if (status !== 0) process.exitCode = 1;
}
