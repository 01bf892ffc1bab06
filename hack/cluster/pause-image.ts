// The image that holds a pod's namespaces, made of one static program.
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { run } from "./components.ts";
import { goBinary } from "./go-binary.ts";
import { pauseImage } from "./node-files.ts";

/** Path of its archive, as `docker save` writes them. */
export function pauseArchive(): string {
  const binary = goBinary({ name: "pause", notice: "building the pause image" });
  const archive = `${binary}.tar`;
  if (existsSync(archive)) return archive;
  const work = mkdtempSync(join(dirname(binary), "image-"));
  try {
    mkdirSync(join(work, "root"));
    copyFileSync(binary, join(work, "root", "pause"));
    run("tar", ["-cf", join(work, "layer.tar"), "--owner=0", "--group=0", "-C", join(work, "root"), "pause"]);
    const layer = createHash("sha256")
      .update(readFileSync(join(work, "layer.tar")))
      .digest("hex");
    const config = {
      architecture: process.arch === "x64" ? "amd64" : process.arch,
      os: "linux",
      config: { Entrypoint: ["/pause"] },
      rootfs: { type: "layers", diff_ids: [`sha256:${layer}`] },
    };
    writeFileSync(join(work, "config.json"), JSON.stringify(config));
    const manifest = [{ Config: "config.json", RepoTags: [pauseImage], Layers: ["layer.tar"] }];
    writeFileSync(join(work, "manifest.json"), JSON.stringify(manifest));
    const files = ["manifest.json", "config.json", "layer.tar"];
    run("tar", ["-cf", join(work, "image.tar"), "-C", work, ...files]);
    renameSync(join(work, "image.tar"), archive);
  } finally {
    rmSync(work, { recursive: true });
  }
  return archive;
}
