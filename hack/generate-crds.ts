// `npm run crds`: writes crds/*.yaml from the schemas in src/api, and the copies that the chart carries of what a cluster has
// once (Helm and Flux read nothing outside a chart's folder). With --check it only compares, and fails on a difference.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";
import { renderCrds } from "../src/api/crds.ts";

const root = fileURLToPath(new URL("../", import.meta.url));
const isCheck = process.argv.includes("--check");
const crds = renderCrds();

/** A base for kustomize, which reads files below its own folder only. */
const base = stringify({
  apiVersion: "kustomize.config.k8s.io/v1beta1",
  kind: "Kustomization",
  resources: Object.keys(crds).sort(),
});

/** Folder → every YAML file in it. */
const folders: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "crds/": crds,
  "charts/oao/files/crds/": { ...crds, "kustomization.yaml": base },
  "charts/oao/files/shared/": {
    "approvals.yaml": readFileSync(`${root}config/admission/approvals.yaml`, "utf8"),
    "requested-by.yaml": readFileSync(`${root}config/admission/requested-by.yaml`, "utf8"),
    "users.yaml": readFileSync(`${root}config/rbac/users.yaml`, "utf8"),
  },
};

for (const [folder, wanted] of Object.entries(folders)) {
  mkdirSync(root + folder, { recursive: true });
  const present = new Map(
    readdirSync(root + folder)
      .filter((name) => name.endsWith(".yaml"))
      .map((name) => [name, readFileSync(root + folder + name, "utf8")]),
  );
  const changed = Object.keys(wanted).filter((name) => present.get(name) !== wanted[name]);
  const surplus = [...present.keys()].filter((name) => !(name in wanted));
  if (isCheck) {
    for (const name of changed) console.log(`${folder}${name} is not what its source says`);
    for (const name of surplus) console.log(`${folder}${name} comes from no source`);
    if (changed.length + surplus.length > 0) process.exitCode = 1;
    continue;
  }
  for (const name of changed) writeFileSync(root + folder + name, wanted[name] ?? "");
  for (const name of surplus) rmSync(root + folder + name);
  console.log(`${folder}: ${Object.keys(wanted).length} files, ${changed.length} written, ${surplus.length} removed`);
}
