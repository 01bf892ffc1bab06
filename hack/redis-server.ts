import { spawnSync } from "node:child_process";
import { existsSync, rmSync, writeFileSync } from "node:fs";

/** Debian asks this program whether a freshly installed service may start; 101 is no. */
const SERVICE_POLICY = "/usr/sbin/policy-rc.d";

/**
 * The path of redis-server, installed from the distribution if need be (as root, with apt-get; its service is not started).
 * Undefined, with a line on the terminal, where there is none.
 */
export function findRedisServer(): string | undefined {
  return onPath() ?? (canInstall() ? install() : undefined);
}

function onPath(): string | undefined {
  const found = spawnSync("sh", ["-c", "command -v redis-server || command -v valkey-server"], { encoding: "utf8" });
  return found.status === 0 ? found.stdout.trim() : undefined;
}

function canInstall(): boolean {
  return process.getuid?.() === 0 && spawnSync("apt-get", ["--version"]).status === 0;
}

function install(): string | undefined {
  console.log("redis-server is missing: installing it with apt-get");
  const ownPolicy = !existsSync(SERVICE_POLICY);
  if (ownPolicy) writeFileSync(SERVICE_POLICY, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  try {
    for (const args of [
      ["update", "-q"],
      ["install", "-q", "-y", "--no-install-recommends", "redis-server"],
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
  return onPath();
}
