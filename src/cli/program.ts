/** The commands of `oao`: names, options and help. Each is loaded when it is called, so that `oao get` starts at once. */
import { Command } from "commander";
import type { CliExitCode } from "../api/exit-codes.ts";
import { productVersion } from "../api/version.ts";
import type { CommandShape } from "./commands/completion.ts";
import { examples, subcommand } from "./options.ts";
import { manifestCommands } from "./program/manifest.ts";
import { refuseMisplaced } from "./program/misplaced.ts";
import { readCommands, pageCommand } from "./program/read.ts";
import { recordCommands } from "./program/record.ts";
import { replayCommand } from "./program/replay.ts";
import { startCommands } from "./program/start.ts";
import { steerCommands } from "./program/steer.ts";
import { visible } from "./render/style.ts";
import type { Terminal } from "./terminal.ts";

/** Commands whose first argument is the name of a run, for shell completion. */
const takesRun = new Set([
  "resume",
  "get",
  "tree",
  "trace",
  "diff",
  "export",
  "verify",
  "logs",
  "cancel",
  "suspend",
  "approve",
  "replay",
  "hash",
  "ui",
]);

export function buildProgram(terminal: Terminal, exit: (code: CliExitCode) => void): Command {
  const program = new Command("oao")
    .description("Run AI executions that are recorded, metered, stoppable and resumable.")
    .version(productVersion)
    .showSuggestionAfterError()
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({ writeOut: terminal.out, writeErr: (text) => terminal.err(visible(text)) })
    .hook("preAction", (_program, command) => refuseMisplaced(command, terminal.cwd))
    .addHelpText(
      "after",
      examples("oao lint brief.yaml", "oao run brief.yaml --input topic='heat pumps'", "oao get", "oao trace brief"),
    );
  startCommands(program, terminal, exit);
  replayCommand(program, terminal, exit);
  steerCommands(program, terminal, exit);
  readCommands(program, terminal, exit);
  recordCommands(program, terminal, exit);
  pageCommand(program, terminal, exit);
  manifestCommands(program, terminal, exit);
  otherCommands(program, terminal, exit);
  return program;
}

function otherCommands(program: Command, terminal: Terminal, exit: (code: CliExitCode) => void): void {
  // Its own options and help belong to it: the server's code is loaded only here.
  subcommand(
    program,
    "mock-model [args...]",
    "Serve scripted model answers over the OpenAI and Anthropic APIs, to test without a key",
  )
    .helpOption(false)
    .allowUnknownOption()
    .passThroughOptions()
    .action(async (args: string[]) => {
      const { mockModelCommand } = await import("./mock-model/command.ts");
      const command = mockModelCommand({ stdout: terminal.out, stderr: terminal.err }, exit);
      await command
        .exitOverride()
        .configureOutput({ writeOut: terminal.out, writeErr: (text) => terminal.err(visible(text)) })
        .parseAsync(args, { from: "user" });
    });
  subcommand(program, "completion <shell>", "Print a completion script for bash, zsh or fish")
    .addHelpText(
      "after",
      examples('eval "$(oao completion bash)"', "oao completion fish > ~/.config/fish/completions/oao.fish"),
    )
    .action(async (shell: string) => exit((await import("./commands/completion.ts")).completion(shell, terminal)));
  program
    .command("__complete [words...]", { hidden: true })
    .helpOption(false)
    .allowUnknownOption()
    .passThroughOptions()
    .action(async (words: string[]) =>
      exit(await (await import("./commands/completion.ts")).complete(words, shapesOf(program), terminal)),
    );
}

function shapesOf(program: Command): CommandShape[] {
  return program.commands
    .filter((command) => !command.name().startsWith("__"))
    .map((command) => ({
      name: command.name(),
      options: command.options.map((option) => option.long ?? option.short ?? ""),
      takesRun: takesRun.has(command.name()),
    }));
}
