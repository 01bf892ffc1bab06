// Kubernetes as one program (hack/kube), built once per source and kept outside the checkout.
import { createHash } from "node:crypto";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, renameSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const source = fileURLToPath(new URL("../kube", import.meta.url));
const version = "v1.34.4";

/** `OAO_CACHE_HOME`, else the user's cache. */
export const cacheHome =
  process.env["OAO_CACHE_HOME"] ?? join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "oao");

/** Path of the built program; builds it when it is not there (6 to 10 minutes on two cores). Throws what is missing. */
export function kubeBinary(): string {
  const hash = createHash("sha256");
  for (const file of ["go.mod", "go.sum", "main.go"]) hash.update(readFileSync(join(source, file)));
  const folder = join(cacheHome, "kube", hash.digest("hex").slice(0, 16));
  const binary = join(folder, "kube");
  if (existsSync(binary)) return binary;
  const go = ["go", "/usr/local/go/bin/go"].find((name) => spawnSync(name, ["version"]).status === 0);
  if (go === undefined) throw new Error("Go 1.24 or newer is not installed: it builds Kubernetes for the tests");
  mkdirSync(folder, { recursive: true });
  console.error(`building Kubernetes ${version}; the first time takes some minutes`);
  const [major = "", minor = ""] = version.slice(1).split(".");
  const stamp = { gitVersion: version, gitMajor: major, gitMinor: minor };
  const flags = Object.entries(stamp).map(([name, value]) => `-X k8s.io/component-base/version.${name}=${value}`);
  const part = `${binary}.${process.pid}`;
  const built = spawnSync(go, ["build", "-trimpath", "-ldflags", `-s -w ${flags.join(" ")}`, "-o", part, "."], {
    cwd: source,
    env: { ...process.env, CGO_ENABLED: "0" },
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (built.status !== 0) throw new Error("hack/kube could not be built; what Go said stands above");
  renameSync(part, binary); // two builds at once end with one whole file
  return binary;
}
