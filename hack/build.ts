// `npm run build`: dist/cli.js, dist/worker.js and dist/operator.js, with everything they need but Node.js.
//
// Each entry is a stub that turns on V8's compile cache and loads its bundle; code that is imported dynamically (LangChain)
// stays in chunks of its own, loaded on demand. All files are in one folder, so that `new URL("./x", import.meta.url)` means
// dist/x in every chunk. Files that sources read with such a URL are copied there at the same relative path (ASSETS), and so
// are the types that package.json exports.
import { spawn } from "node:child_process";
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build, type BuildResult, type Metafile } from "esbuild";
import { fingerprint, isFresh } from "./freshness.mjs";
import { withLock } from "./lock.mjs";

const root = fileURLToPath(new URL("..", import.meta.url)).replace(/\/$/, "");
const dist = join(root, "dist");

const ENTRIES = { cli: "src/cli/main.ts", worker: "src/worker/main.ts", operator: "src/operator/main.ts" };
/** How to start an entry so that it loads itself and ends at once; its exit code does not matter. */
const WARM_UP = { cli: ["--version"], worker: [], operator: [] };
const ASSETS = [
  { from: "src/adapters/store/redis/scripts", to: "scripts" },
  // Nothing but types, so the source is its own declaration: `import type { ToolContext } from "openagentorchestrator/tool"`.
  { from: "src/adapters/tool/tool-context.ts", to: "tool.d.ts" },
];
/** The page of `oao ui`: what a browser loads, in dist/ui. */
const PAGE = "src/ui/page";
/** Minified, not compressed: the page comes from this machine. */
const PAGE_BYTES_MAX = 150_000;
/** Chunks of the previous build may still be loaded by a running process; after this they may not. */
const OLD_CHUNK_MAX_MS = 60 * 60_000;
const WARM_UP_MAX_MS = 20_000;

/** Packages that an installed copy may import when the user adds them; never part of the bundle. */
const EXTERNAL: string[] = [];

const STUB = (name: string) => `import module from "node:module";
module.enableCompileCache({ directory: import.meta.dirname + "/cache", portable: true });
await import("./${name}-main.js");
`;

const ifStale = process.argv.includes("--if-stale");
/** For an image: bakes as the user that runs there (Node.js keeps one cache per user), for all to read. */
const cacheForAt = process.argv.indexOf("--cache-for");
const cacheFor = cacheForAt < 0 ? undefined : Number(process.argv[cacheForAt + 1]);
const quiet = process.argv.includes("--quiet");
await withLock(join(root, ".oao", "build.lock"), async () => {
  if (!(ifStale && isFresh(root))) await buildAll();
});

async function buildAll(): Promise<void> {
  const startedMs = performance.now();
  const stamp = fingerprint(root); // taken before: an edit during the build leaves it stale
  const names = Object.entries(ENTRIES).filter(([, path]) => existsSync(join(root, path)));
  for (const [name, path] of Object.entries(ENTRIES)) {
    if (!names.some(([present]) => present === name)) console.error(`[build] no ${path}: dist/${name}.js is left out`);
  }
  const result = await bundle(Object.fromEntries(names.map(([name, path]) => [`${name}-main`, path]))).catch(() => {
    process.exit(1); // esbuild has printed its findings
  });
  refuseEagerLangChain(result.metafile);
  mkdirSync(dist, { recursive: true });
  for (const file of result.outputFiles) write(file.path, file.contents);
  for (const [name] of names) write(join(dist, `${name}.js`), STUB(name));
  for (const { from, to } of ASSETS) {
    if (existsSync(join(root, from))) cpSync(join(root, from), join(dist, to), { recursive: true });
  }
  const page = await bundlePage();
  write(join(dist, "meta.json"), JSON.stringify(result.metafile));
  removeOldChunks(new Set(result.outputFiles.map(({ path }) => path)));
  await bakeCompileCache(
    names.map(([name]) => name),
    result.outputFiles.map(({ path }) => path),
  );
  write(join(dist, "build.json"), `${JSON.stringify({ fingerprint: stamp })}\n`);
  if (!quiet) printSizes(result.metafile, page, startedMs);
}

/** Returns its size in bytes. */
async function bundlePage(): Promise<number> {
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: ["main.tsx", "app.css"].map((name) => ({ in: join(PAGE, name), out: "app" })),
    outdir: join(dist, "ui"),
    bundle: true,
    write: false,
    format: "esm",
    platform: "browser",
    target: ["chrome120", "firefox121", "safari17"],
    jsx: "automatic",
    jsxImportSource: "preact",
    minify: true,
    legalComments: "none",
    logLevel: "warning",
  }).catch(() => process.exit(1));
  mkdirSync(join(dist, "ui"), { recursive: true });
  for (const file of outputFiles) write(file.path, file.contents);
  for (const name of ["index.html", "icon.svg"]) cpSync(join(root, PAGE, name), join(dist, "ui", name));
  const bytes = outputFiles.reduce((sum, file) => sum + file.contents.length, 0);
  if (bytes <= PAGE_BYTES_MAX) return bytes;
  console.error(`[build] the page has ${bytes} bytes, more than ${PAGE_BYTES_MAX}`);
  process.exit(1);
}

function bundle(entryPoints: Record<string, string>): Promise<BuildResult<{ write: false; metafile: true }>> {
  return build({
    absWorkingDir: root,
    entryPoints,
    outdir: dist,
    chunkNames: "chunk-[hash]",
    bundle: true,
    splitting: true,
    write: false,
    metafile: true,
    format: "esm",
    platform: "node",
    target: "node24",
    sourcemap: "linked",
    sourcesContent: false,
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: "none",
    external: EXTERNAL,
    // CommonJS packages inside the bundle call require() for Node.js built-ins.
    banner: {
      js: 'import{createRequire as __createRequire}from"node:module";const require=__createRequire(import.meta.url);',
    },
    logLevel: "warning",
  });
}

/** Whole or not at all: other processes may be reading the old file. */
function write(path: string, contents: string | Uint8Array): void {
  writeFileSync(`${path}.new`, contents);
  renameSync(`${path}.new`, path);
}

function removeOldChunks(current: ReadonlySet<string>): void {
  for (const name of readdirSync(dist)) {
    const path = join(dist, name);
    if (!name.startsWith("chunk-") || current.has(path)) continue;
    if (Date.now() - statSync(path).mtimeMs > OLD_CHUNK_MAX_MS) rmSync(path);
  }
}

/** What an entry loads before its first line runs: itself and its static imports, transitively. */
function staticClosure(metafile: Metafile, output: string, seen = new Set<string>()): Set<string> {
  seen.add(output);
  for (const { path, kind, external } of metafile.outputs[output]?.imports ?? []) {
    if (kind === "import-statement" && external !== true && !seen.has(path)) staticClosure(metafile, path, seen);
  }
  return seen;
}

/** A worker that runs only tools must not pay for loading LangChain. */
function refuseEagerLangChain(metafile: Metafile): void {
  for (const output of staticClosure(metafile, "dist/worker-main.js")) {
    const input = Object.keys(metafile.outputs[output]?.inputs ?? {}).find((path) =>
      /node_modules\/(langchain|@langchain)\//.test(path),
    );
    if (input === undefined) continue;
    console.error(`[build] the worker loads LangChain at its start (${input}): import it dynamically`);
    process.exit(1);
  }
}

/** Starts each entry once and loads every chunk once, so that the first real start finds compiled code. */
async function bakeCompileCache(names: readonly string[], outputs: readonly string[]): Promise<void> {
  const cache = join(dist, "cache");
  rmSync(cache, { recursive: true, force: true });
  if (cacheFor !== undefined) {
    mkdirSync(cache);
    chownSync(cache, cacheFor, cacheFor);
  }
  const chunks = outputs.filter((path) => /chunk-[^/]*\.js$/.test(path));
  const loadChunks = `import module from "node:module";
module.enableCompileCache({ directory: ${JSON.stringify(cache)}, portable: true });
for (const path of ${JSON.stringify(chunks)}) await import(path);`;
  await Promise.all([
    endOf(["--input-type=module", "--eval", loadChunks]),
    ...names.map((name) => endOf([join(dist, `${name}.js`), ...WARM_UP[name as keyof typeof WARM_UP]])),
  ]);
  if (cacheFor === undefined) return;
  for (const entry of readdirSync(cache, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) chmodSync(join(entry.parentPath, entry.name), 0o644);
  }
}

function endOf(args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, {
      stdio: "ignore",
      timeout: WARM_UP_MAX_MS,
      killSignal: "SIGKILL",
      ...(cacheFor === undefined ? {} : { uid: cacheFor, gid: cacheFor }),
    });
    child.once("error", reject);
    child.once("close", (_code, signal) => {
      if (signal !== null) console.error(`[build] ${args.join(" ").slice(0, 80)} did not end by itself (${signal})`);
      resolve();
    });
  });
}

function printSizes(metafile: Metafile, pageBytes: number, startedMs: number): void {
  const kilobytes = (outputs: Iterable<string>) =>
    `${([...outputs].reduce((sum, path) => sum + (metafile.outputs[path]?.bytes ?? 0), 0) / 1000).toFixed(0)} kB`;
  const scripts = Object.keys(metafile.outputs).filter((path) => path.endsWith(".js"));
  for (const output of scripts.filter((path) => path.endsWith("-main.js"))) {
    const atStart = staticClosure(metafile, output);
    console.log(`${output.replace("-main", "").padEnd(16)} ${kilobytes(atStart).padStart(8)} at start`);
  }
  console.log(`${"dist/*.js".padEnd(16)} ${kilobytes(scripts).padStart(8)} in all`);
  console.log(`${"dist/ui".padEnd(16)} ${`${(pageBytes / 1000).toFixed(0)} kB`.padStart(8)} the page of oao ui`);
  console.log(`built in ${((performance.now() - startedMs) / 1000).toFixed(1)} s`);
}
