// `npm run format [-- files]`: writes the one format of this repository into the files (all of them when none is named).
import { spawnSync } from "node:child_process";

const files = process.argv.slice(2);
const result = spawnSync("biome", ["format", "--write", ...(files.length > 0 ? files : ["."])], { stdio: "inherit" });
process.exitCode = result.status ?? 1;
