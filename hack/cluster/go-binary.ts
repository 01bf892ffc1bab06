// Programs for test clusters that Go builds: once per source, kept outside the checkout.
import { createHash } from "node:crypto";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** `OAO_CACHE_HOME`, else the user's cache. */
export const cacheHome =
  process.env["OAO_CACHE_HOME"] ?? join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "oao");

export interface GoProgram {
  /** Also the folder below hack/ with its module. */
  readonly name: string;
  /** What a person who waits for the first build should know. */
  readonly notice: string;
  /** `-X` values. */
  readonly stamp?: Readonly<Record<string, string>>;
}

/** Path of the built static program; builds it when it is not there. Throws what is missing. */
export function goBinary({ name, notice, stamp = {} }: GoProgram): string {
  const source = fileURLToPath(new URL(`../${name}`, import.meta.url));
  const hash = createHash("sha256");
  for (const file of readdirSync(source).toSorted()) hash.update(readFileSync(join(source, file)));
  const folder = join(cacheHome, name, hash.digest("hex").slice(0, 16));
  const binary = join(folder, name);
  if (existsSync(binary)) return binary;
  const go = ["go", "/usr/local/go/bin/go"].find((each) => spawnSync(each, ["version"]).status === 0);
  if (go === undefined) throw new Error("Go 1.24 or newer is not installed: it builds Kubernetes for the tests");
  mkdirSync(folder, { recursive: true });
  console.error(notice);
  const flags = Object.entries(stamp).map(([variable, value]) => `-X ${variable}=${value}`);
  const part = `${binary}.${process.pid}`;
  const built = spawnSync(go, ["build", "-trimpath", "-ldflags", `-s -w ${flags.join(" ")}`, "-o", part, "."], {
    cwd: source,
    env: { ...process.env, CGO_ENABLED: "0" },
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (built.status !== 0) throw new Error(`hack/${name} could not be built; what Go said stands above`);
  renameSync(part, binary); // two builds at once end with one whole file
  return binary;
}
