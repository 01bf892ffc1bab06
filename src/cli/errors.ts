/** What the CLI says when something cannot be done: what failed and why, then the command that helps next. */
import { type CliExitCode, cliExitCodes } from "../api/exit-codes.ts";

export class CliError extends Error {
  override readonly name = "CliError";
  readonly exitCode: CliExitCode;
  /** Lines below the message, such as a command to type. */
  readonly hints: readonly string[];
  constructor(message: string, hints: readonly string[] = [], exitCode: CliExitCode = cliExitCodes.usage) {
    super(message);
    this.hints = hints;
    this.exitCode = exitCode;
  }
}

/** Message and hints as they are printed. */
export function errorText(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const hints = error instanceof CliError ? error.hints : [];
  return [`error: ${message}`, ...hints.map((hint) => `  ${hint}`), ""].join("\n");
}
