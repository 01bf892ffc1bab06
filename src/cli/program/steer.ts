/** Commands that a run obeys. */
import type { Command } from "commander";
import type { CliExitCode } from "../../api/exit-codes.ts";
import { allowPlace, examples, outputOption, redisOption, subcommand, wholeNumber } from "../options.ts";
import type { Terminal } from "../terminal.ts";

export function steerCommands(program: Command, terminal: Terminal, exit: (code: CliExitCode) => void): void {
  allowPlace(subcommand(program, "resume <name>", "Go on with a run that was suspended, or whose process was killed"))
    .addOption(redisOption())
    .addOption(outputOption("table, json or yaml: print the finished Execution instead of its result"))
    .addHelpText(
      "after",
      `${examples("oao resume brief", "oao resume brief --on cluster")}
Recorded steps are not repeated and not charged again. A run of a cluster is followed as by oao submit, also when it was not suspended; of one that has ended it says how.
Exit codes as for oao run.`,
    )
    .action(async (name: string, flags) =>
      exit(await (await import("../commands/run.ts")).resume(name, flags, terminal)),
    );
  for (const [verb, text] of [
    ["cancel", "End a run for good: calls in flight are cut, finally nodes with runOnCancel still run"],
    ["suspend", "Let a run stand still until oao resume; calls in flight may end first"],
  ] as const) {
    allowPlace(subcommand(program, `${verb} <name>`, text))
      .addOption(redisOption())
      .option(
        "--timeout <seconds>",
        "how long to wait for the run's process, or the operator, to do it",
        wholeNumber,
        60,
      )
      .addHelpText(
        "after",
        `${examples(`oao ${verb} brief`)}\nWorks from any terminal; a run of this machine that no process hosts is taken care of here.`,
      )
      .action(async (name: string, flags) =>
        exit(await (await import("../commands/control.ts"))[verb](name, flags, terminal)),
      );
  }
  allowPlace(
    subcommand(
      program,
      "approve <name> [request]",
      "Answer the question that a run waits with; REQUEST when there are several",
    ),
  )
    .option("--reject", "say no: an approval node fails, a call in doubt is not made again")
    .addHelpText(
      "after",
      `${examples("oao approve brief", "oao approve brief sign-off-1a2b3c4d --reject -n team-a")}
oao get NAME shows what is asked. On a cluster the answer carries your own name as the API server knows it, and needs the right to
update executions/approval (ClusterRole oao-approver).`,
    )
    .action(async (name: string, request: string | undefined, flags) =>
      exit(await (await import("../commands/approve.ts")).approve(name, request, flags, terminal)),
    );
}
