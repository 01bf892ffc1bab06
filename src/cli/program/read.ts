/** Commands that look at runs. */
import type { Command } from "commander";
import type { CliExitCode } from "../../api/exit-codes.ts";
import {
  allowPlace,
  allowRecord,
  examples,
  namespaceOption,
  outputOption,
  redisOption,
  subcommand,
  portNumber,
  wholeNumber,
} from "../options.ts";
import type { Terminal } from "../terminal.ts";

export function readCommands(program: Command, terminal: Terminal, exit: (code: CliExitCode) => void): void {
  allowPlace(subcommand(program, "get [name]", "List runs, or show one with its nodes"))
    .option("-A, --all-namespaces", "runs of every namespace")
    .option("--limit <number>", "newest runs to list at most", wholeNumber, 200)
    .addOption(outputOption("table, json or yaml"))
    .addHelpText(
      "after",
      `${examples("oao get", "oao get brief", "oao get brief -o yaml", "oao get --on cluster -A")}\nWithout NAME, the runs of this machine unless a cluster is asked for.`,
    )
    .action(async (name: string | undefined, flags) =>
      exit(await (await import("../commands/get.ts")).get(name, flags, terminal)),
    );
  subcommand(program, "policies [name]", "List the policies that govern the runs of this folder, show one or delete it")
    .option("--delete", "forget the named policy; runs that have started keep what it said")
    .addOption(namespaceOption())
    .addOption(outputOption("table, json or yaml"))
    .addHelpText(
      "after",
      `${examples("oao policies", "oao policies standard -o yaml", "oao policies standard --delete")}\noao run --policy FILE stores one.`,
    )
    .action(async (name: string | undefined, flags) =>
      exit(await (await import("../commands/policies.ts")).policies(name, flags, terminal)),
    );
  allowPlace(subcommand(program, "tree <name>", "Show a run's nodes as a tree, with what they are doing now"))
    .addOption(redisOption())
    .addHelpText("after", examples("oao tree brief"))
    .action(async (name: string, flags) =>
      exit(await (await import("../commands/get.ts")).tree(name, flags, terminal)),
    );
  allowRecord(
    subcommand(program, "trace <name>", "Show every recorded step: model and tool calls with input, output and tokens"),
  )
    .option("--canonical", "print the canonical trace (JSON lines without times and attempts) and its hash")
    .option("--all", "also calls that were repeated and steps of earlier tries")
    .addOption(redisOption())
    .addOption(outputOption("table, json or jsonl"))
    .addHelpText(
      "after",
      examples(
        "oao trace brief",
        "oao trace brief -o json | jq '.[] | {step_number, node, kind, token_usage}'",
        "oao trace brief --canonical | sha256sum",
      ),
    )
    .action(async (name: string, flags) =>
      exit(await (await import("../commands/trace.ts")).trace(name, flags, terminal)),
    );
  allowPlace(subcommand(program, "logs <name>", "Show what the workers of a run said"))
    .option("--node <node>", "of this node only, or of one item: rate[3]")
    .option("-f, --follow", "go on until the run has ended")
    .addOption(outputOption("table, or jsonl for the lines as they were written"))
    .addHelpText("after", examples("oao logs brief --node gather", "oao logs brief -f"))
    .action(async (name: string, flags) =>
      exit(await (await import("../commands/logs.ts")).logs(name, flags, terminal)),
    );
}

export function pageCommand(program: Command, terminal: Terminal, exit: (code: CliExitCode) => void): void {
  allowRecord(subcommand(program, "ui [name]", "Open a page on this machine to look at runs, their graphs and steps"))
    .option("--port <number>", "port of 127.0.0.1; one that is free when absent", portNumber)
    .option("--no-open", "print the address, open no browser")
    .option("-A, --all-namespaces", "of a cluster: runs of every namespace")
    .addHelpText(
      "after",
      `${examples("oao ui", "oao ui brief", "oao ui --port 7070 --no-open", "oao ui --on cluster -n team-a")}
The address holds a random token and works on this machine alone, until Ctrl-C, which also suspends replays that were started on the
page. Steps of a cluster's run come as they are committed, through the operator's HTTP API. docs/ui.md tells more.`,
    )
    .action(async (name: string | undefined, flags) =>
      exit(await (await import("../commands/ui.ts")).ui(name, flags, terminal)),
    );
}
