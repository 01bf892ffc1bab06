import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

/** Suites are the folders of test/ that vitest runs; each is one project. A folder that is not there is simply absent. */
const SUITES = ["unit", "conformance", "golden", "faults", "cli", "ui", "simulation", "helm", "cluster", "containers"];

/** Suites that start many processes run one file after the other, so that they do not starve each other. */
const ONE_AT_A_TIME = new Set(["faults", "cli", "ui", "cluster", "containers"]);

const globalSetups: Readonly<Record<string, string[]>> = {
  cli: ["test/cli/build.ts"],
  ui: ["test/cli/build.ts"],
  cluster: ["test/cluster/setup.ts"],
  containers: ["test/containers/setup.ts"],
};

const root = fileURLToPath(new URL("..", import.meta.url));

export default defineConfig({
  root,
  test: {
    projects: SUITES.filter((suite) => existsSync(new URL(suite, import.meta.url))).map((suite) => ({
      root,
      test: {
        name: suite,
        include: [`test/${suite}/**/*.test.ts`],
        environment: "node",
        pool: "forks",
        fileParallelism: !ONE_AT_A_TIME.has(suite),
        // The built program is what people run, and it starts five times as fast as its sources.
        globalSetup: globalSetups[suite] ?? [],
        testTimeout: suite === "unit" ? 60_000 : 300_000,
        // No shorter than tests wait for what must come (patienceMs): that wait fails with its cause.
        hookTimeout: 300_000,
        expect: { poll: { timeout: 20_000 } },
        retry: 0,
        sequence: { groupOrder: SUITES.indexOf(suite) },
      },
    })),
  },
});
