// Schemathesis, which fuzzes an API from its OpenAPI document: at one version, in a Python environment kept in ~/.cache/oao.
// OAO_SCHEMATHESIS names another one.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

const version = "4.32.5";

/** Path of the program; installed the first time. Throws where that is not possible. */
export function schemathesisProgram(): string {
  const given = process.env["OAO_SCHEMATHESIS"];
  if (given !== undefined && given !== "") return given;
  const folder = join(homedir(), ".cache", "oao", "schemathesis");
  const mark = join(folder, `${version}.ready`);
  const program = join(folder, version, "bin", "schemathesis");
  if (existsSync(mark)) return program;
  // An environment knows its own path, so it is made where it stays; the mark says that it is whole.
  const place = join(folder, version);
  rmSync(place, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  run("python3", ["-m", "venv", place]);
  run(join(place, "bin", "pip"), ["install", "--quiet", "--disable-pip-version-check", `schemathesis==${version}`]);
  mkdirSync(`${mark}.new`, { recursive: true });
  renameSync(`${mark}.new`, mark);
  return program;
}

function run(command: string, args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} failed: ${error?.message ?? stderr.trim()}`);
}
