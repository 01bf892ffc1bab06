/** The real program as a child process, in a folder of its own, with real model and catalogue servers. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../..", import.meta.url));
/** The bundle, as build.ts has just made it. */
export const program = join(root, "dist/cli.js");
export const sample = (name: string) => join(root, "config/samples", name);

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Started {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** Resolves when stderr or stdout has said it; rejects when the program ends without. */
  said(text: string): Promise<void>;
  /** What it has said so far. */
  text(): string;
}

export interface Workplace {
  readonly folder: string;
  start(args: readonly string[], env?: Readonly<Record<string, string>>): Started;
  oao(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<Ended>;
  /** First line that a server prints. */
  serve(command: readonly string[]): Promise<string>;
  /** Ends every process that was started here and removes the folder. */
  end(): Promise<void>;
}

export function workplace(): Workplace {
  const folder = mkdtempSync(join(tmpdir(), "oao-cli-"));
  const children: ChildProcess[] = [];
  const launch = (command: readonly string[], env: Readonly<Record<string, string>>) => {
    const child = spawn(process.execPath, command, {
      cwd: folder,
      // A suspension gives calls in flight five seconds to end; those of these tests never do.
      env: { PATH: process.env["PATH"] ?? "", HOME: folder, OAO_SUSPEND_GRACE_MS: "100", ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    children.push(child);
    return child;
  };
  const start = (args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
    watchChild(launch([program, ...args], env));
  return {
    folder,
    start,
    oao: (args, env) => start(args, env).ended,
    serve: async (command) => {
      const child = launch(command, {});
      for await (const line of createInterface({ input: child.stdout as NodeJS.ReadableStream })) return line;
      throw new Error(`${command.join(" ")} ended before it said where it listens`);
    },
    end: async () => {
      await Promise.all(children.map(end));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Keeps and shows what a child with piped output says. */
export function watchChild(child: ChildProcess): Started {
  const text = { stdout: "", stderr: "" };
  const listeners = new Set<() => void>();
  let over = false;
  for (const name of ["stdout", "stderr"] as const) {
    child[name]?.setEncoding("utf8").on("data", (data: string) => {
      text[name] += data;
      for (const listener of listeners) listener();
    });
  }
  const ended = new Promise<Ended>((resolve) =>
    child.once("close", (code, signal) => {
      over = true;
      for (const listener of listeners) listener();
      resolve({ code, signal, ...text });
    }),
  );
  const said = (wanted: string) =>
    new Promise<void>((resolve, reject) => {
      const look = () => {
        if ((text.stderr + text.stdout).includes(wanted)) resolve();
        else if (over) reject(new Error(`ended without saying ${JSON.stringify(wanted)}:\n${tail(text)}`));
        else return;
        listeners.delete(look);
      };
      listeners.add(look);
      look();
    });
  return { child, ended, said, text: () => text.stderr + text.stdout };
}

/** On a terminal everything stands on stdout, mistakes too. */
function tail({ stdout, stderr }: { readonly stdout: string; readonly stderr: string }): string {
  return [stderr, stdout].map((each) => each.slice(-2_000)).join("\n");
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await gone;
}

/** Base URL of a scripted model. */
export function serveModel(place: Workplace, script: string): Promise<string> {
  return place.serve([program, "mock-model", script, "--port", "0"]);
}

/** The journal of the run that is alone in this folder. */
export function journalOf(folder: string): DatabaseSync {
  const journals = join(folder, ".oao/journals");
  const [file = ""] = readdirSync(journals).filter((name) => name.endsWith(".db"));
  return new DatabaseSync(join(journals, file));
}

/** Of every step's trace, whatever the run: the names that people's own programs read. */
export const traceFields = [
  "execution_id",
  "step_number",
  "node",
  "state",
  "input",
  "output",
  "tool_calls",
  "token_usage",
  "timestamp",
] as const;

export const modelAt = (url: string) => ["--set", `models.main.baseURL=${url}`];
