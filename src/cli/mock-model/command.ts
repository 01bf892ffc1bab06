/** `oao mock-model SCRIPT.yaml`: the scripted model server as a program. */
import { readFile } from "node:fs/promises";
import { Command } from "commander";
import { portNumber } from "../options.ts";
import type { MockCall } from "./calls.ts";
import { EXAMPLE_SCRIPT } from "./example-script.ts";
import { loadScript, ScriptError, type MockScript } from "./script.ts";
import { startMockModel, type MockModel } from "./server.ts";

/** Exit codes as in the CLI: 0 stopped by a signal, 2 bad script or usage, 7 cannot listen. */
export type MockModelExit = 0 | 2 | 7;

export interface RunMockModelOptions {
  /** Path of the YAML script. */
  readonly script: string;
  readonly port: number;
  readonly host: string;
  /** No line per call. */
  readonly quiet: boolean;
}

export interface MockModelIo {
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** Ends the server; absent: SIGINT and SIGTERM do. */
  readonly stop?: AbortSignal;
}

function describeCall(call: MockCall): string {
  const rule =
    call.rule === undefined
      ? "no rule"
      : `rule ${call.rule}${call.ruleName === undefined ? "" : ` (${call.ruleName})`}`;
  const ms = Math.round((call.endedAt ?? call.time) - call.time);
  return `#${call.index} ${call.model || call.path} ${rule} ${call.status} ${call.tokens} tokens ${call.outcome} ${ms} ms\n`;
}

/** Resolves at the first SIGINT or SIGTERM, or when `stop` is aborted. */
function stopRequested(stop: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (stop !== undefined) {
      if (stop.aborted) return resolve();
      return stop.addEventListener("abort", () => resolve(), { once: true });
    }
    const done = (): void => {
      process.off("SIGINT", done);
      process.off("SIGTERM", done);
      resolve();
    };
    process.on("SIGINT", done);
    process.on("SIGTERM", done);
  });
}

async function readScript(file: string): Promise<MockScript> {
  try {
    return loadScript(await readFile(file, "utf8"), file);
  } catch (error) {
    if (error instanceof ScriptError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new ScriptError(file, [
      `cannot be read: ${reason}`,
      "`oao mock-model --example` prints a script to start from",
    ]);
  }
}

async function start(script: MockScript, options: RunMockModelOptions): Promise<MockModel | string> {
  try {
    return await startMockModel({ script, fileName: options.script, port: options.port, host: options.host });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return `mock-model cannot listen on ${options.host} port ${options.port}: ${reason}. Choose another with --port, or 0 for a free one.\n`;
  }
}

/** Serve until stopped: the OpenAI base URL as one line on stdout, one line per ended call on stderr. */
export async function runMockModel(options: RunMockModelOptions, io: MockModelIo): Promise<MockModelExit> {
  let script: MockScript;
  try {
    script = await readScript(options.script);
  } catch (error) {
    if (!(error instanceof ScriptError)) throw error;
    io.stderr(`${error.message}\n`);
    return 2;
  }
  const stopping = stopRequested(io.stop);
  const model = await start(script, options);
  if (typeof model === "string") {
    io.stderr(model);
    return 7;
  }
  if (!options.quiet) model.onEnd((call) => io.stderr(describeCall(call)));
  io.stdout(`${model.baseURL}\n`);
  await stopping;
  await model.close();
  return 0;
}

interface MockModelFlags {
  readonly port: number;
  readonly host: string;
  readonly quiet?: boolean;
  readonly example?: boolean;
}

/** The subcommand for the CLI's program; `exit` gets the exit code when it ends. */
export function mockModelCommand(io: MockModelIo, exit: (code: MockModelExit) => void): Command {
  return new Command("mock-model")
    .description(
      "Serve scripted model answers over the OpenAI and Anthropic HTTP APIs, to test manifests without a key",
    )
    .argument("[script]", "YAML script; see --example")
    .option("--port <number>", "port; 0 is a free one", portNumber, 8080)
    .option("--host <address>", "address to listen on", "127.0.0.1")
    .option("--quiet", "print no line per call")
    .option("--example", "print a commented example script and exit")
    .action(async (script: string | undefined, flags: MockModelFlags) => {
      if (flags.example === true) {
        io.stdout(EXAMPLE_SCRIPT);
        return exit(0);
      }
      if (script === undefined) {
        io.stderr("mock-model needs a script: oao mock-model SCRIPT.yaml. `oao mock-model --example` prints one.\n");
        return exit(2);
      }
      exit(await runMockModel({ script, port: flags.port, host: flags.host, quiet: flags.quiet === true }, io));
    });
}
