// `npm run check [-- part…]`: everything that can be said about the sources without running them. The parts run at once;
// each prints its time, and the findings of the red ones follow in the order of the list.
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

interface Part {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  /** What to do about a finding, where that is not the finding itself. */
  readonly hint?: string;
}

const root = fileURLToPath(new URL("..", import.meta.url));

const PARTS: readonly Part[] = [
  { name: "format", command: ["biome", "format", "."], hint: "npm run format" },
  { name: "types", command: ["tsc", "--noEmit"] },
  { name: "lint", command: ["oxlint", "--deny-warnings", "--report-unused-disable-directives"] },
  { name: "page types", command: ["tsc", "--noEmit", "--project", "test/ui"] },
  { name: "dead code", command: ["knip", "--no-progress", "--no-config-hints"] },
  { name: "layering", command: ["node", "hack/check-layering.ts"] },
  { name: "crds", command: ["node", "hack/generate-crds.ts", "--check"], hint: "npm run crds" },
  { name: "docs", command: ["node", "hack/generate-docs.ts", "--check"], hint: "npm run docs" },
];

interface Outcome {
  readonly part: Part;
  readonly ok: boolean;
  readonly output: string;
}

function run(part: Part): Promise<Outcome> {
  const startedMs = performance.now();
  const [program, ...args] = part.command;
  const child = spawn(program, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  child.stdout.on("data", (data: Buffer) => (output += data.toString()));
  child.stderr.on("data", (data: Buffer) => (output += data.toString()));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => {
      const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
      console.log(`${code === 0 ? "ok    " : "FAILED"} ${part.name.padEnd(10)} ${seconds.padStart(5)} s`);
      resolve({ part, ok: code === 0, output });
    });
  });
}

const chosen = process.argv.slice(2);
const unknown = chosen.filter((name) => PARTS.every((part) => part.name !== name));
if (unknown.length > 0) {
  console.error(`no such part: ${unknown.join(", ")}. There are: ${PARTS.map((part) => part.name).join(", ")}`);
  process.exit(2);
}
const startedMs = performance.now();
const parts = PARTS.filter((part) => chosen.length === 0 || chosen.includes(part.name));
const outcomes = await Promise.all(parts.map(run));
const red = outcomes.filter((outcome) => !outcome.ok);
for (const { part, output } of red) {
  console.log(`\n== ${part.name}${part.hint === undefined ? "" : ` (to repair: ${part.hint})`}\n${output.trimEnd()}`);
}
const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
const verdict = red.length === 0 ? "all green" : `failed: ${red.map(({ part }) => part.name).join(", ")}`;
console.log(`\ncheck: ${verdict} (${outcomes.length} parts, ${seconds} s)`);
process.exitCode = red.length === 0 ? 0 : 1;
