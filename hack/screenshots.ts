// `npm run screenshots`: docs/images/ui-*.png anew, from real runs of the samples, and a large one that is made, in the page of
// this build.
import { type ChildProcess, spawn } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { largeRun } from "../test/ui/large-run.ts";
import { SeededHome } from "../test/ui/seed.ts";
import { findChromium } from "./chromium.ts";

interface Shot {
  readonly file: string;
  readonly path: string;
  readonly scheme: "light" | "dark";
  readonly height?: number;
  /** Selector of the only part that is shown. */
  readonly only?: string;
}

const root = fileURLToPath(new URL("..", import.meta.url));
const program = join(root, "dist/cli.js");
const samples = join(root, "config/samples");
const images = join(root, "docs/images");
const folder = mkdtempSync(join(tmpdir(), "oao-screenshots-"));
const children: ChildProcess[] = [];

const brief = "runs/default/market-brief";
const SHOTS: readonly Shot[] = [
  { file: "ui-runs.png", path: "", scheme: "light", height: 330 },
  { file: "ui-run.png", path: brief, scheme: "light" },
  { file: "ui-run-dark.png", path: `${brief}?step=research-demand%3A6`, scheme: "dark" },
  { file: "ui-diff.png", path: "diff/default/market-brief/default/market-brief-replay-1", scheme: "light" },
];
const LARGE: Shot = { file: "ui-large.png", path: "runs/default/large", scheme: "dark", only: ".graph" };

function start(args: readonly string[]): ChildProcess {
  const env = { PATH: process.env["PATH"] ?? "", HOME: folder };
  const child = spawn(process.execPath, args, { cwd: folder, env, stdio: ["ignore", "pipe", "ignore"] });
  children.push(child);
  return child;
}

/** The first line that a server prints. */
async function serve(args: readonly string[]): Promise<string> {
  const { stdout } = start(args);
  if (stdout !== null) for await (const line of createInterface({ input: stdout })) return line;
  throw new Error(`${args.join(" ")} ended before it said where it listens`);
}

function oao(...args: readonly string[]): Promise<void> {
  return new Promise((resolve) => {
    const child = start([program, ...args]);
    child.stdout?.resume();
    child.once("close", () => resolve());
  });
}

/** Sample with the servers of this run in it. */
function manifest(name: string, model: string, catalogue: string): string {
  const text = readFileSync(join(samples, `${name}.yaml`), "utf8");
  const path = join(folder, `${name}.yaml`);
  writeFileSync(
    path,
    text.replaceAll("http://127.0.0.1:8099/v1", model).replaceAll("http://127.0.0.1:8098", catalogue),
  );
  return path;
}

async function makeRuns(): Promise<void> {
  cpSync(join(samples, "tools"), join(folder, "tools"), { recursive: true });
  const catalogue = new URL(await serve([join(samples, "catalog.mjs"), "0"])).origin;
  const small = await serve([program, "mock-model", join(samples, "small.model.yaml"), "--port", "0"]);
  for (const name of ["for-each", "conditional", "finally", "approval"])
    await oao("run", manifest(name, small, catalogue));
  const runaway = await serve([program, "mock-model", join(samples, "runaway.model.yaml"), "--port", "0"]);
  await oao("run", manifest("runaway", runaway, catalogue));
  const model = await serve([program, "mock-model", join(samples, "market-brief.model.yaml"), "--port", "0"]);
  await oao("run", manifest("market-brief", model, catalogue));
  const prompt = "agents.writer.systemPrompt=You are a writer of briefs. Use only the facts you are given. Be terse.";
  await oao("replay", "market-brief", "--from-step", "12", "--set", prompt);
}

/** In the middle of its work. Real ones of this size take long. */
async function makeLargeRun(): Promise<void> {
  const home = new SeededHome(folder);
  const run = largeRun("large");
  const stateOf = (index: number) =>
    index < 700 ? "Succeeded" : index === 712 ? "Failed" : index < 730 ? "Running" : "Pending";
  const rows = run.rows.map((row, index) => ({ ...row, state: stateOf(index) }) as const);
  await home.add({ ...run, status: { phase: "Running" }, rows });
  await home.close();
}

async function shoot(address: string, shots: readonly Shot[]): Promise<void> {
  const executablePath = findChromium();
  if (executablePath === "") throw new Error("there is no Chromium, and it could not be installed");
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
  const [origin = "", token = ""] = address.split("#");
  for (const { file, path, scheme, height, only } of shots) {
    const viewport = { width: 1280, height: height ?? 800 };
    const page = await browser.newPage({ viewport, colorScheme: scheme, reducedMotion: "reduce" });
    await page.goto(`${origin}${path}#${token}`);
    await page.getByRole("status").getByText("Live").waitFor();
    await page.locator(".row").first().waitFor();
    await page.waitForTimeout(500);
    await page.locator(only ?? "body").screenshot({ path: join(images, file) });
    await page.close();
  }
  await browser.close();
}

try {
  await makeRuns();
  const address = await serve([program, "ui", "--no-open", "--on", "local"]);
  await shoot(address, SHOTS);
  await makeLargeRun();
  await shoot(address, [LARGE]);
} finally {
  for (const child of children) child.kill();
  rmSync(folder, { recursive: true, force: true });
}
