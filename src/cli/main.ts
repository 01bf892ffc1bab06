/** The `oao` program. */
import { CommanderError } from "commander";
import { type CliExitCode, cliExitCodes } from "../api/exit-codes.ts";
import { CliError, errorText } from "./errors.ts";
import { buildProgram } from "./program.ts";
import { processTerminal, type Terminal } from "./terminal.ts";

/** Runs one command line; returns the exit code. */
async function runCli(args: readonly string[], terminal: Terminal): Promise<number> {
  let code: number = cliExitCodes.succeeded;
  const program = buildProgram(terminal, (given) => (code = given));
  try {
    if (args.length === 0) {
      terminal.err(program.helpInformation());
      return cliExitCodes.usage;
    }
    await program.parseAsync(args, { from: "user" });
    return code;
  } catch (error) {
    // Commander has printed its own message; help and version are no errors.
    if (error instanceof CommanderError) return error.exitCode === 0 ? cliExitCodes.succeeded : cliExitCodes.usage;
    terminal.err(errorText(error));
    return exitCodeOfError(error);
  }
}

function exitCodeOfError(error: unknown): CliExitCode {
  const given = (error as { readonly exitCode?: CliExitCode }).exitCode;
  if (given !== undefined) return given;
  // A bug of ours or a broken machine: never mistaken for a failed run.
  return cliExitCodes.infrastructure;
}

/** Never an argument that a person typed as text: titles are visible to every user of the machine. */
function titleOf(args: readonly string[]): string {
  return ["oao", ...args.slice(0, 2).filter((arg) => /^[a-z0-9][\w./-]*$/i.test(arg))].join(" ");
}

const args = process.argv.slice(2);
process.title = titleOf(args);
// A reader that went away (`| head`) is no failure of the command. Without one for its data there is nothing left to do; a turn
// later, so that a run that has just ended can still say how. What is told on stderr is only told along the way: a run that nobody
// watches any more goes on to its end, since it could not be let go of cleanly here.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") {
    process.stderr.write(errorText(new CliError(`cannot write to stdout: ${error.message}`)));
    process.exit(cliExitCodes.infrastructure);
  }
  setImmediate(() => process.exit(process.exitCode ?? cliExitCodes.succeeded));
});
process.stderr.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
});
process.exitCode = await runCli(args, processTerminal());
