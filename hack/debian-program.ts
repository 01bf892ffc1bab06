import { spawnSync } from "node:child_process";
import { existsSync, rmSync, writeFileSync } from "node:fs";

/** Debian asks this program whether a freshly installed service may start; 101 is no. */
const SERVICE_POLICY = "/usr/sbin/policy-rc.d";

/**
 * The path of the first of `names` that is there, installed from the distribution's `debianPackage` if need be (as root, with
 * apt-get; a service of it is not started). Undefined, with a line on the terminal, where there is none.
 */
export function findProgram(names: readonly string[], debianPackage: string): string | undefined {
  return onPath(names) ?? (canInstall() ? install(names, debianPackage) : undefined);
}

function onPath(names: readonly string[]): string | undefined {
  const paths = names.map((name) => spawnSync("sh", ["-c", 'command -v "$0"', name], { encoding: "utf8" }));
  return paths.find(({ status }) => status === 0)?.stdout.trim();
}

function canInstall(): boolean {
  return process.getuid?.() === 0 && spawnSync("apt-get", ["--version"]).status === 0;
}

function install(names: readonly string[], debianPackage: string): string | undefined {
  console.log(`${names[0]} is missing: installing ${debianPackage} with apt-get`);
  const ownPolicy = !existsSync(SERVICE_POLICY);
  if (ownPolicy) writeFileSync(SERVICE_POLICY, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  try {
    for (const args of [
      ["update", "-q"],
      ["install", "-q", "-y", "--no-install-recommends", debianPackage],
    ]) {
      const result = spawnSync("apt-get", args, {
        stdio: ["ignore", "pipe", "pipe"],
        encoding: "utf8",
        env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
      });
      if (result.status !== 0) console.log(`apt-get ${args.join(" ")} failed:\n${result.stdout}${result.stderr}`);
    }
  } finally {
    if (ownPolicy) rmSync(SERVICE_POLICY);
  }
  return onPath(names);
}
