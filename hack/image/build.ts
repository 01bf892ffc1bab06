// `npm run image`: the images of test clusters, built by buildah without pulling one, as archives for `cluster load-image`.
//
//   oao.test/oao:dev       hack/image/Dockerfile: operator, workers, oao
//   oao.test/samples:dev   the same with the module tools of config/samples
//   oao.test/redis:dev     Debian's Redis
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { run } from "../cluster/components.ts";
import { cacheHome } from "../cluster/go-binary.ts";
import { findProgram } from "../debian-program.ts";
import { fingerprint } from "../freshness.mjs";
import { withLock } from "../lock.mjs";
import { programPath, rootOf } from "./programs.ts";

const root = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");
const folder = join(cacheHome, "images");
const nodeBase = "oao.test/node:24";

export const images = {
  oao: "oao.test/oao:dev",
  samples: "oao.test/samples:dev",
  redis: "oao.test/redis:dev",
} as const;

const bud = ["bud", "--isolation", "chroot", "--layers=false"];

/** What a person wants in a shell there. */
const shell = ["sh", "cat", "id", "ls", "sleep"];

function buildah(...args: string[]): string {
  const storage = ["--storage-driver", "vfs", "--root", join(folder, "storage"), "--runroot", join(folder, "run")];
  return run("buildah", [...storage, ...args]);
}

/** Archives of all images, as `docker save` writes them; built when a source has changed. Throws what is missing. */
export function buildImages(): Promise<string[]> {
  mkdirSync(folder, { recursive: true });
  return withLock(join(folder, "lock"), () => {
    const archives = Object.keys(images).map((name) => join(folder, `${name}.tar`));
    const stamp = join(folder, "sources");
    const sources = sourcesDigest();
    if (archives.every((path) => existsSync(path)) && existsSync(stamp) && readFileSync(stamp, "utf8") === sources)
      return archives;
    rmSync(stamp, { force: true });
    buildAll();
    writeFileSync(stamp, sources);
    return archives;
  });
}

/** Another checkout, or a change of what an image is made of, gives another one. */
function sourcesDigest(): string {
  const hash = createHash("sha256").update(`${root} ${process.version} ${fingerprint(root)}`);
  for (const part of ["hack/image", "config/samples", "test/containers/tools"])
    for (const entry of readdirSync(join(root, part), { recursive: true, withFileTypes: true }).filter((each) =>
      each.isFile(),
    ))
      hash.update(entry.name).update(readFileSync(join(entry.parentPath, entry.name)));
  return hash.digest("hex");
}

/** Throws one line that says what the images lack here. */
export function needImageTools(): void {
  for (const name of ["buildah", "redis-server"])
    if (findProgram([name], name) === undefined) throw new Error(`images need the Debian package ${name}`);
}

function buildAll(): void {
  needImageTools();
  fromPrograms(
    nodeBase,
    "node.Dockerfile",
    { [process.execPath]: "usr/local/bin/node", ...named(shell) },
    { oao: 65_532 },
  );
  const modules = `${join(root, "node_modules")}:/build/node_modules:ro`;
  inRepository(images.oao, "Dockerfile", `NODE_IMAGE=${nodeBase}`, "-v", modules);
  inRepository(images.samples, "samples.Dockerfile", `BASE=${images.oao}`);
  fromPrograms(images.redis, "redis.Dockerfile", named([...shell, "redis-server", "redis-cli", "sha256sum", "cut"]), {
    redis: 999,
  });
  for (const [name, image] of Object.entries(images)) archive(name, image);
  buildah("rmi", "--prune", "--force"); // layers of earlier builds
}

function inRepository(image: string, dockerfile: string, argument: string, ...more: string[]): void {
  const file = join(root, "hack/image", dockerfile);
  buildah(...bud, "--pull=false", "--build-arg", argument, ...more, "-f", file, "-t", image, root);
}

function named(programs: readonly string[]): Record<string, string> {
  return Object.fromEntries(programs.map((name) => [programPath(name), `bin/${name}`]));
}

function fromPrograms(
  image: string,
  dockerfile: string,
  programs: Readonly<Record<string, string>>,
  users: Readonly<Record<string, number>>,
): void {
  const context = mkdtempSync(join(tmpdir(), "oao-image-"));
  try {
    rootOf(join(context, "files"), programs, users);
    copyFileSync(join(root, "hack/image", dockerfile), join(context, "Dockerfile"));
    buildah(...bud, "-t", image, context);
  } finally {
    rmSync(context, { recursive: true });
  }
}

function archive(name: string, image: string): void {
  const path = join(folder, `${name}.tar`);
  rmSync(`${path}.new`, { force: true });
  buildah("push", image, `docker-archive:${path}.new:${image}`);
  renameSync(`${path}.new`, path);
}

if (import.meta.main) {
  const startedMs = performance.now();
  for (const path of await buildImages())
    console.log(`${(statSync(path).size / 1e6).toFixed(0).padStart(5)} MB  ${path}`);
  console.log(`built in ${((performance.now() - startedMs) / 1000).toFixed(1)} s`);
}
