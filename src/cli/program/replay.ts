/** What is done with a record: run it again, or ask what another policy would have made of it. */
import { type Command, Option } from "commander";
import type { CliExitCode } from "../../api/exit-codes.ts";
import {
  allowRecord,
  collect,
  examples,
  outputOption,
  redisOption,
  replayTimes,
  subcommand,
  wholeNumber,
} from "../options.ts";
import type { Terminal } from "../terminal.ts";

export function replayCommand(program: Command, terminal: Terminal, exit: (code: CliExitCode) => void): void {
  allowRecord(
    subcommand(
      program,
      "replay <names...>",
      "Run again what NAME recorded: whole and without a call, or from a step on with a change; or tell what another policy would have stopped",
    ),
  )
    .option(
      "--from-step <number>",
      "ask models again from this step on; those before are answered from the record, as are tools (--tool-outputs)",
      wholeNumber,
    )
    .option("--from <node/step>", "the same place by node: write/2, or rate[3]/1 for an item of forEach")
    .option(
      "--strict",
      "make no call at all, and prove that everything goes as it was recorded (without --from-step the default)",
    )
    .option("--times <number>", "how often a strict replay is made, each time to the same trace", replayTimes)
    .addOption(
      new Option("--tool-outputs <mode>", "from that step on: recorded answers of tools, or live calls").choices([
        "Recorded",
        "Live",
      ]),
    )
    .option("--input <name=value>", "change spec.input.NAME (repeatable)", collect)
    .option("--set <path=value>", "change a field of spec; entries of named lists by name (repeatable)", collect)
    .option("--file <file>", "a manifest with the changes: the fields that differ, or all of them")
    .option(
      "--policy <file>",
      "with --strict: tell what these GovernancePolicies would have stopped; with --from-step: store them first (repeatable)",
      collect,
    )
    .option("--name <name>", "name of the replay; else NAME-replay-1, -2, …")
    .addOption(redisOption())
    .addOption(outputOption("table, json or yaml: print the finished Execution instead of its result"))
    .addHelpText(
      "after",
      `${examples(
        "oao replay brief",
        "oao replay brief --times 100",
        "oao replay brief --from-step 7",
        "oao replay brief --from-step 7 --set agents.writer.systemPrompt='Be brief.'",
        "oao replay brief --from write/1 --file fixed.yaml --tool-outputs Live",
        "oao replay brief brief-2 recorded.jsonl --strict --policy stricter.yaml",
      )}
A replay is an Execution of its own that names NAME as its parent. What is recorded is not paid for again.
With --strict and --policy nothing is run: the records of all NAMEs (or bundles) are read, and each call that the policies would have
stopped is told with the rule, and the tokens that would have been saved.
Exit codes: 0 as recorded (also when NAME had failed), 5 it went another way; with --from-step those of oao run; with --strict --policy
3 when a run would have been stopped, else 0.`,
    )
    .action(async (names: string[], flags) =>
      exit(await (await import("../commands/replay.ts")).replay(names, flags, terminal)),
    );
}
