// `npm run crds`: writes crds/*.yaml from the schemas in src/api. With --check it only compares, and fails on a difference.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { renderCrds } from "../src/api/crds.ts";

const folder = fileURLToPath(new URL("../crds/", import.meta.url));
mkdirSync(folder, { recursive: true });

const wanted = renderCrds();
const present = new Map(
  readdirSync(folder)
    .filter((name) => name.endsWith(".yaml"))
    .map((name) => [name, readFileSync(folder + name, "utf8")]),
);
const changed = Object.keys(wanted).filter((name) => present.get(name) !== wanted[name]);
const surplus = [...present.keys()].filter((name) => !(name in wanted));

if (process.argv.includes("--check")) {
  for (const name of changed) console.log(`crds/${name} is not what src/api says`);
  for (const name of surplus) console.log(`crds/${name} comes from no schema in src/api`);
  process.exitCode = changed.length + surplus.length === 0 ? 0 : 1;
} else {
  for (const name of changed) writeFileSync(folder + name, wanted[name] ?? "");
  for (const name of surplus) rmSync(folder + name);
  console.log(`crds/: ${Object.keys(wanted).length} files, ${changed.length} written, ${surplus.length} removed`);
}
