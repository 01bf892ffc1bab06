// The import rules of this repository as one table, checked on the syntax tree of every file under src/.
import { readdirSync, readFileSync } from "node:fs";
import { join, posix, relative, sep } from "node:path";
import { findCycles } from "./cycles.ts";
import { impurities, importsOf } from "./syntax.ts";

/** One broken rule, at a file relative to the root (with `/`), and its 1-based line. */
export interface Violation {
  readonly file: string;
  readonly line: number;
  readonly message: string;
}

/** A layer: a folder of src/, the folders it may import from besides itself, and, where it is limited, the packages. */
interface Layer {
  readonly folder: string;
  readonly mayImport: readonly string[];
  readonly packages?: readonly string[];
  readonly pure?: true;
}

const LEFT_OF_HOST = ["api", "core", "ports"];
const PROGRAM = [...LEFT_OF_HOST, "host", "adapters"];

/** Most specific folder first: the first one that holds a file is its layer. */
const LAYERS: readonly Layer[] = [
  { folder: "api", mayImport: [], packages: ["zod", "yaml"] },
  {
    folder: "core",
    mayImport: ["api"],
    packages: ["zod", "yaml", "canonicalize", "@marcbachmann/cel-js", "re2js", "fastest-levenshtein"],
    pure: true,
  },
  { folder: "ports", mayImport: ["api", "core"] },
  { folder: "host", mayImport: LEFT_OF_HOST },
  { folder: "adapters/store/memory", mayImport: LEFT_OF_HOST },
  { folder: "adapters/store/file", mayImport: LEFT_OF_HOST },
  { folder: "adapters/store/redis", mayImport: LEFT_OF_HOST },
  { folder: "adapters/store", mayImport: LEFT_OF_HOST }, // opens the one of the three above that the configuration names
  { folder: "adapters/clock", mayImport: LEFT_OF_HOST },
  { folder: "adapters/kube", mayImport: LEFT_OF_HOST },
  { folder: "adapters/local", mayImport: LEFT_OF_HOST },
  { folder: "adapters/langchain", mayImport: LEFT_OF_HOST },
  { folder: "adapters/langgraph", mayImport: LEFT_OF_HOST },
  { folder: "adapters/tool", mayImport: LEFT_OF_HOST },
  { folder: "adapters/otel", mayImport: LEFT_OF_HOST },
  { folder: "operator", mayImport: PROGRAM },
  { folder: "worker", mayImport: PROGRAM },
  { folder: "ui/page", mayImport: ["api", "core", "ui"], packages: ["preact", "@preact/signals"] },
  { folder: "ui", mayImport: ["api", "core"], packages: [] }, // what the page and its server say to each other
  { folder: "cli", mayImport: [...PROGRAM, "ui/wire.ts", "ui/figures.ts"] },
];

/** Packages (a trailing `/` stands for a whole scope) that only these folders may see, types included. */
const OWNED_PACKAGES: Readonly<Record<string, readonly string[]>> = {
  "@kubernetes/": ["adapters/kube"],
  ioredis: ["adapters/store/redis"],
  "node:sqlite": ["adapters/store/file", "adapters/local"],
  langchain: ["adapters/langchain", "adapters/langgraph"],
  "@langchain/": ["adapters/langchain", "adapters/langgraph"],
};

/** The one built-in that core may use: hashing is a pure function of its input. */
const HASHING = { specifier: "node:crypto", names: ["createHash", "hash"], file: /^core\/digest(\.ts$|\/)/ };

/** Checks every file under `root`/src; violations in the order of file and line. */
export function checkLayering(root: string): Violation[] {
  const source = join(root, "src");
  const found: Violation[] = [];
  const graph = new Map<string, string[]>();
  for (const file of listFiles(source)) {
    const text = readFileSync(join(source, file), "utf8");
    const layer = layerOf(file);
    const report = (line: number, message: string) => found.push({ file: `src/${file}`, line, message });
    if (layer === undefined) report(1, "is in no layer: put it into one, or add its folder to hack/layering.ts");
    const targets: string[] = [];
    for (const { specifier, names, line } of importsOf(file, text)) {
      const target = specifier.startsWith(".") ? posix.join(posix.dirname(file), specifier) : undefined;
      if (target !== undefined) targets.push(target);
      const problem =
        target === undefined ? packageProblem(file, layer, specifier, names) : layerProblem(layer, target, specifier);
      if (problem !== undefined) report(line, problem);
    }
    graph.set(file, targets);
    if (layer?.pure) for (const { line, what } of impurities(file, text)) report(line, `core is pure: no ${what}`);
  }
  for (const cycle of findCycles(graph)) {
    const path = [...cycle, ...cycle.slice(0, 1)].map((file) => `src/${file}`).join(" -> ");
    found.push({ file: `src/${cycle[0]}`, line: 1, message: `imports itself in a circle: ${path}` });
  }
  return found;
}

function layerProblem(from: Layer | undefined, target: string, specifier: string): string | undefined {
  if (target.startsWith(".."))
    return target.endsWith("package.json") ? undefined : `must not import ${specifier}, outside src/`;
  if (from === undefined || isIn(target, from.folder)) return undefined;
  if (from.mayImport.some((folder) => target === folder || isIn(target, folder))) return undefined;
  const allowed = from.mayImport.length === 0 ? "nothing else" : from.mayImport.join(", ");
  return `${from.folder} must not import ${target} (it may import ${allowed})`;
}

function packageProblem(
  file: string,
  from: Layer | undefined,
  specifier: string,
  names: readonly string[],
): string | undefined {
  const owned = Object.entries(OWNED_PACKAGES).find(([name]) => isPackage(specifier, name));
  if (owned !== undefined && !owned[1].some((folder) => isIn(file, folder))) {
    return `only ${owned[1].join(" and ")} may import ${specifier}`;
  }
  if (from?.packages === undefined || from.packages.some((name) => isPackage(specifier, name))) return undefined;
  const onlyHashing = specifier === HASHING.specifier && names.every((name) => HASHING.names.includes(name));
  if (onlyHashing && names.length > 0 && HASHING.file.test(file)) return undefined;
  return `${from.folder} must not import ${specifier} (packages it may import: ${from.packages.join(", ")})`;
}

function layerOf(file: string): Layer | undefined {
  return LAYERS.find((layer) => isIn(file, layer.folder));
}

function isIn(file: string, folder: string): boolean {
  return file.startsWith(`${folder}/`);
}

function isPackage(specifier: string, name: string): boolean {
  return name.endsWith("/") ? specifier.startsWith(name) : specifier === name || specifier.startsWith(`${name}/`);
}

function listFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.tsx?$/.test(entry.name))
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join("/"))
    .sort();
}
