/** What the CLI says when something cannot be done: what failed and why, then the command that helps next. */
import { type CliExitCode, cliExitCodes } from "../api/exit-codes.ts";
import { RecordChanged } from "../host/record-changed.ts";
import { visible } from "./render/style.ts";

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
  // Names of files and runs come from whoever typed or made them.
  return visible([`error: ${message}`, ...hintsOf(error).map((hint) => `  ${hint}`), ""].join("\n"));
}

function hintsOf(error: unknown): readonly string[] {
  if (error instanceof RecordChanged) return ["all of it that does not hold: oao verify NAME"];
  return error instanceof CliError ? error.hints : storageHints(error);
}

/** SQLite says what failed and not where: SQLITE_READONLY, SQLITE_IOERR, SQLITE_FULL. */
const storageErrors: readonly unknown[] = [8, 10, 13];

function storageHints(error: unknown): readonly string[] {
  // The low byte is the kind, the rest tells more of it.
  const errcode = (error as { readonly errcode?: number } | undefined)?.errcode ?? 0;
  if (!storageErrors.includes(errcode & 0xff)) return [];
  return [
    "the folder of local state (OAO_HOME, else .oao) must be writable and have space left: ls -ld .oao; df -h .oao",
    "a run that was cut by it goes on: oao resume NAME",
  ];
}
