// `npm test [-- suite… | vitest arguments]`: every suite that can run on this machine (see test/vitest.config.ts), or the named
// ones. Builds first what is stale and gets a Redis server if there is none. The very last line is the sum over all suites.
//
// A test file with `redis` in its path needs redis-server; the suite cluster needs that too, and a Kubernetes that Go builds the
// first time (minutes); ui needs a Chromium; containers needs root and container programs of the distribution, or the cluster of
// KUBECONFIG; helm needs Helm and Lua, and a file with `fuzz` in its path needs Schemathesis, which Python's pip installs. What is
// not there and cannot be got is skipped by name. Under CI=true a skip counts as a failure.
import { spawnSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { kubeBinary } from "./cluster/kube-binary.ts";
import { needPrograms } from "./cluster/node.ts";
import { findChromium } from "./chromium.ts";
import { findProgram } from "./debian-program.ts";
import { helmBinary } from "./helm.ts";
import { needImageTools } from "./image/build.ts";
import { schemathesisProgram } from "./schemathesis.ts";

/** The part of vitest's JSON report that is read here. */
interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly assertionResults: readonly unknown[];
  }[];
}

interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

const root = fileURLToPath(new URL("..", import.meta.url));
const isCi = process.env["CI"] === "true";
const seed = process.env["OAO_SEED"] ?? String(randomInt(2 ** 31));

const present = readdirSync(join(root, "test"), { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && !["bench", "support"].includes(entry.name))
  .map((entry) => entry.name);
const args = process.argv.slice(2);
const suites = args.filter((arg) => present.includes(arg));
const vitestArgs = args.filter((arg) => !present.includes(arg));
const onlyUnit = suites.length === 1 && suites[0] === "unit";

if (!onlyUnit) buildIfStale();
const wanted = suites.length > 0 ? suites : present;
const needRedis = filesOf(wanted, "redis");
const redis =
  needRedis.length > 0 || wanted.includes("cluster")
    ? findProgram(["redis-server", "valkey-server"], "redis-server")
    : undefined;
const needFuzzer = filesOf(wanted, "fuzz");
const noFuzzer = needFuzzer.length === 0 ? undefined : reasonOf(schemathesisProgram);
const skippedFiles = new Map([
  ...(redis === undefined ? needRedis : []).map(
    (file) => [file, "no redis-server, and it could not be installed"] as const,
  ),
  ...(noFuzzer === undefined ? [] : needFuzzer).map((file) => [file, noFuzzer ?? ""] as const),
]);
const skippedSuites = new Map(
  wanted.flatMap((suite) => {
    const why = whyNot(suite);
    return why === undefined ? [] : [[suite, why] as const];
  }),
);
const toRun = wanted.filter((suite) => !skippedSuites.has(suite));

console.log(`seed ${seed} (OAO_SEED=${seed} repeats this run)`);
const counts = runVitest();
if (counts.failed > 0) console.log(`\nThe seed of this run was ${seed}: OAO_SEED=${seed} npm test`);
for (const [file, why] of skippedFiles) console.log(`skipped: ${file} (${why})`);
for (const [suite, why] of skippedSuites) console.log(`skipped: the suite ${suite} (${why})`);
const skipped = counts.skipped + skippedFiles.size + skippedSuites.size;
if (isCi && skipped > 0) console.log("CI=true: nothing may be skipped, so this run has failed");
console.log(`${counts.passed} passed, ${counts.failed} failed, ${skipped} skipped`);
process.exitCode = counts.failed > 0 || (isCi && skipped > 0) ? 1 : 0;

function buildIfStale(): void {
  const built = spawnSync("node", ["hack/build.ts", "--if-stale"], { cwd: root, stdio: "inherit" });
  if (built.status === 0) return;
  console.log("the build failed, so no test was run\n0 passed, 1 failed, 0 skipped");
  process.exit(1);
}

/** Gets what a suite needs; why that is not possible, or undefined. */
function whyNot(suite: string): string | undefined {
  try {
    if (suite === "cluster") {
      if (redis === undefined) return "no redis-server, and it could not be installed";
      kubeBinary();
      helmBinary();
    }
    if (suite === "ui" && findChromium() === "") return "no Chromium, and it could not be installed";
    if (suite === "containers") {
      if ((process.env["KUBECONFIG"] ?? "") === "") {
        needPrograms();
        needImageTools();
      }
      kubeBinary();
      helmBinary();
    }
    if (suite === "helm") {
      helmBinary();
      const lua = findProgram(["lua5.4", "lua5.1", "lua", "luajit"], "lua5.4");
      if (lua === undefined) return "no Lua, and it could not be installed";
    }
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Why it cannot be had; undefined = it is there. */
function reasonOf(get: () => unknown): string | undefined {
  try {
    get();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Tests with this word in their path. */
function filesOf(folders: readonly string[], word: string): string[] {
  return folders
    .flatMap((folder) =>
      readdirSync(join(root, "test", folder), { recursive: true }).map((name) => `test/${folder}/${name}`),
    )
    .filter((path) => path.endsWith(".test.ts") && path.includes(word));
}

function runVitest(): Counts {
  const folder = mkdtempSync(join(tmpdir(), "oao-test-"));
  const outputFile = join(folder, "report.json");
  const result = spawnSync(
    "vitest",
    [
      "run",
      "--config=test/vitest.config.ts",
      "--passWithNoTests",
      "--reporter=default",
      "--reporter=json",
      `--outputFile.json=${outputFile}`,
      ...toRun.map((suite) => `--project=${suite}`),
      ...[...skippedFiles.keys()].map((file) => `--exclude=${file}`),
      ...vitestArgs,
    ],
    {
      cwd: root,
      stdio: "inherit",
      env: {
        ...process.env,
        OAO_SEED: seed,
        OAO_REDIS_SERVER: redis ?? "",
        OAO_CHROMIUM: toRun.includes("ui") ? findChromium() : "",
      },
    },
  );
  const counts = existsSync(outputFile) ? count(JSON.parse(readFileSync(outputFile, "utf8"))) : undefined;
  rmSync(folder, { recursive: true });
  const { passed, failed, skipped } = counts ?? { passed: 0, failed: 0, skipped: 0 };
  // An error outside any test (a file that does not load, a rejection no one awaited) fails the run as well.
  return { passed, failed: result.status === 0 ? failed : Math.max(failed, 1), skipped };
}

function count(report: Report): Counts {
  const notLoaded = report.testResults.filter(
    ({ status, assertionResults }) => status === "failed" && assertionResults.length === 0,
  );
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + notLoaded.length,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}
