/** A replay that the page starts: `oao replay NAME --from-step N` as a process of its own, exactly what a person would type. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { LocalIndex } from "../../adapters/local/local-index.ts";
import { cliExitCodes } from "../../api/exit-codes.ts";
import type { RunKey } from "../../ui/wire.ts";
import { freeName } from "../commands/replay.ts";
import { CliError } from "../errors.ts";
import { findRun } from "../home.ts";
import type { Terminal } from "../terminal.ts";

const lookMs = 50;
const startMs = 20_000;
/** A suspension lets calls in flight end. */
const suspendMs = 10_000;
const errorChars = 2_000;

export class ReplayStarter {
  readonly #index: LocalIndex;
  readonly #terminal: Terminal;
  readonly #children = new Set<ChildProcess>();

  constructor(index: LocalIndex, terminal: Terminal) {
    this.#index = index;
    this.#terminal = terminal;
  }

  /** Resolves with the replay's key once it is there. Throws CliError with what the command said. */
  async start(key: RunKey, fromStep: number): Promise<RunKey> {
    const { namespace } = key;
    const parent = findRun(this.#index, key.name, { namespace }, this.#terminal);
    const name = freeName(undefined, parent, (each) => this.#index.get({ namespace, name: each }) !== undefined);
    const child = this.#spawn(["replay", key.name, "-n", namespace, "--from-step", String(fromStep), "--name", name]);
    let said = "";
    child.stderr?.setEncoding("utf8").on("data", (data: string) => {
      if (said.length < errorChars) said += data;
    });
    const ended = once(child, "close");
    const limit = AbortSignal.timeout(startMs);
    while (!limit.aborted) {
      if (this.#index.get({ namespace, name }) !== undefined) return { namespace, name };
      if (child.exitCode !== null || child.signalCode !== null) break;
      await Promise.race([ended, sleep(lookMs)]);
    }
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGTERM");
    throw refusal(said);
  }

  /** Suspends what goes on, as Ctrl-C does. */
  async close(): Promise<void> {
    for (const child of this.#children) child.kill("SIGINT");
    const ended = [...this.#children].map((child) => once(child, "close"));
    await Promise.race([Promise.all(ended), sleep(suspendMs, undefined, { ref: false })]);
  }

  #spawn(args: readonly string[]): ChildProcess {
    const program = process.argv[1] ?? "";
    const child = spawn(process.execPath, [program, ...args, "--on", "local"], {
      cwd: this.#terminal.cwd,
      env: { ...this.#terminal.env, OAO_HOME: this.#index.home, NO_COLOR: "1" },
      // Ctrl-C in the terminal is for the page; close() passes it on once.
      detached: true,
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.#children.add(child);
    child.once("close", () => this.#children.delete(child));
    return child;
  }
}

function refusal(said: string): CliError {
  const [first = "", ...more] = said.split("\n").filter((line) => line.trim() !== "");
  const message = first.replace(/^error: /, "");
  return new CliError(
    message === "" ? "oao replay did not start a run" : message,
    more.map((line) => line.trim()),
    cliExitCodes.failed,
  );
}
