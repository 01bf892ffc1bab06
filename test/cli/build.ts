/** Once per run of the suite: dist/ as these sources make it. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

export function setup(): void {
  const build = fileURLToPath(new URL("../../hack/build.ts", import.meta.url));
  const { status } = spawnSync(process.execPath, [build, "--if-stale", "--quiet"], { stdio: "inherit" });
  if (status !== 0) throw new Error("the build failed, so there is no program to test");
}
