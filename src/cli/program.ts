/** The commands of `oao`: names, options and help. Each is loaded when it is called, so that `oao get` starts at once. */
import { Command, Option } from "commander";
import type { CliExitCode } from "../api/exit-codes.ts";
import { productVersion } from "../api/version.ts";
import type { CommandShape } from "./commands/completion.ts";
import {
  allowPlace,
  allowRecord,
  collect,
  examples,
  namespaced,
  namespaceOption,
  outputOption,
  redisOption,
  wholeNumber,
} from "./options.ts";
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
    .configureOutput({ writeOut: terminal.out, writeErr: terminal.err })
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

function startCommands(program: Command, terminal: Terminal, exit: (code: CliExitCode) => void): void {
  const start = (usage: string, description: string) =>
    allowPlace(
      sub(program, usage, description)
        .option("--input <name=value>", "set spec.input.NAME; JSON values are taken as JSON (repeatable)", collect)
        .option("--set <path=value>", "set a field of spec; entries of named lists by name (repeatable)", collect)
        .option("--name <name>", "name of the run; else metadata.name, generateName or the file's name"),
    );
  start("run <file>", "Run the Execution in FILE here, to its end")
    .option("--policy <file>", "a file with GovernancePolicies to store beside those of FILE (repeatable)", collect)
    .addOption(redisOption())
    .addOption(outputOption("table, json or yaml: print the finished Execution instead of its result"))
    .addHelpText(
      "after",
      `${examples("oao run brief.yaml", "oao run brief.yaml --input topic='heat pumps' --set models.main.model=gpt-5-mini", "oao run brief.yaml --name brief-2 --policy strict.yaml -o json")}
Ctrl-C suspends: nothing that is recorded is done or paid for again (oao resume). A second Ctrl-C stops at once.
With --on cluster it is oao submit.
Exit codes: 0 Succeeded, 1 Failed, 2 usage or invalid manifest, 3 PolicyViolation, 4 Cancelled, 6 suspended, 7 infrastructure.
Secrets come from OAO_SECRET_<NAME>_<KEY>, model keys also from the provider's own variable (OPENAI_API_KEY).`,
    )
    .action(async (file: string, flags) => exit(await (await import("./commands/run.ts")).run(file, flags, terminal)));
  start("submit <file>", "Create the Execution in FILE on the kubeconfig's cluster and follow it to its end")
    .addOption(outputOption("table, json or yaml: print the finished Execution instead of its result"))
    .addHelpText(
      "after",
      `${examples("oao submit brief.yaml", "oao submit brief.yaml -n team-a --context production --name brief-2", "oao submit brief.yaml -o json | jq .status.usage")}
The file is checked here first. Policies in it are compared with the namespace's and never written: kubectl apply does that.
Ctrl-C only detaches: the run goes on in the cluster (oao tree, oao resume to follow it again).
Exit codes as for oao run; 6 also for detached. 2 too where the cluster refuses it, 7 where it cannot be asked.`,
    )
    .action(async (file: string, flags) =>
      exit(await (await import("./cluster/submit.ts")).submit(file, flags, terminal)),
    );
}

function replayCommand(program: Command, terminal: Terminal, exit: (code: CliExitCode) => void): void {
  allowRecord(
    sub(
      program,
      "replay <names...>",
      "Run again what NAME recorded: whole and without a call, or from a step on with a change; or tell what another policy would have stopped",
    ),
  )
    .option(
      "--from-step <number>",
      "make calls again from this step on; those before are answered from the record",
      wholeNumber,
    )
    .option("--from <node/step>", "the same place by node: write/2, or rate[3]/1 for an item of forEach")
    .option(
      "--strict",
      "make no call at all, and prove that everything goes as it was recorded (without --from-step the default)",
    )
    .option("--times <number>", "how often a strict replay is made, each time to the same trace", wholeNumber)
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
      exit(await (await import("./commands/replay.ts")).replay(names, flags, terminal)),
    );
}

function steerCommands(program: Command, terminal: Terminal, exit: (code: CliExitCode) => void): void {
  allowPlace(sub(program, "resume <name>", "Go on with a run that was suspended, or whose process was killed"))
    .addOption(redisOption())
    .addOption(outputOption("table, json or yaml: print the finished Execution instead of its result"))
    .addHelpText(
      "after",
      `${examples("oao resume brief", "oao resume brief --on cluster")}
Recorded steps are not repeated and not charged again. A run of a cluster is followed as by oao submit, also when it was not suspended; of one that has ended it says how.
Exit codes as for oao run.`,
    )
    .action(async (name: string, flags) =>
      exit(await (await import("./commands/run.ts")).resume(name, flags, terminal)),
    );
  for (const [verb, text] of [
    ["cancel", "End a run for good: calls in flight are cut, finally nodes with runOnCancel still run"],
    ["suspend", "Let a run stand still until oao resume; calls in flight may end first"],
  ] as const) {
    allowPlace(sub(program, `${verb} <name>`, text))
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
        exit(await (await import("./commands/control.ts"))[verb](name, flags, terminal)),
      );
  }
  allowPlace(
    sub(
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
      exit(await (await import("./commands/approve.ts")).approve(name, request, flags, terminal)),
    );
}

function readCommands(program: Command, terminal: Terminal, exit: (code: CliExitCode) => void): void {
  allowPlace(sub(program, "get [name]", "List runs, or show one with its nodes"))
    .option("-A, --all-namespaces", "runs of every namespace")
    .option("--limit <number>", "newest runs to list at most", wholeNumber, 200)
    .addOption(outputOption("table, json or yaml"))
    .addHelpText(
      "after",
      `${examples("oao get", "oao get brief", "oao get brief -o yaml", "oao get --on cluster -A")}\nWithout NAME, the runs of this machine unless a cluster is asked for.`,
    )
    .action(async (name: string | undefined, flags) =>
      exit(await (await import("./commands/get.ts")).get(name, flags, terminal)),
    );
  sub(program, "policies [name]", "List the policies that govern the runs of this folder, show one or delete it")
    .option("--delete", "forget the named policy; runs that have started keep what it said")
    .addOption(namespaceOption())
    .addOption(outputOption("table, json or yaml"))
    .addHelpText(
      "after",
      `${examples("oao policies", "oao policies standard -o yaml", "oao policies standard --delete")}\noao run --policy FILE stores one.`,
    )
    .action(async (name: string | undefined, flags) =>
      exit(await (await import("./commands/policies.ts")).policies(name, flags, terminal)),
    );
  allowPlace(sub(program, "tree <name>", "Show a run's nodes as a tree, with what they are doing now"))
    .addOption(redisOption())
    .addHelpText("after", examples("oao tree brief"))
    .action(async (name: string, flags) => exit(await (await import("./commands/get.ts")).tree(name, flags, terminal)));
  allowRecord(
    sub(program, "trace <name>", "Show every recorded step: model and tool calls with input, output and tokens"),
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
      exit(await (await import("./commands/trace.ts")).trace(name, flags, terminal)),
    );
  allowPlace(sub(program, "logs <name>", "Show what the workers of a run said"))
    .option("--node <node>", "of this node only, or of one item: rate[3]")
    .option("-f, --follow", "go on until the run has ended")
    .addOption(outputOption("table, or jsonl for the lines as they were written"))
    .addHelpText("after", examples("oao logs brief --node gather", "oao logs brief -f"))
    .action(async (name: string, flags) =>
      exit(await (await import("./commands/logs.ts")).logs(name, flags, terminal)),
    );
}

function recordCommands(program: Command, terminal: Terminal, exit: (code: CliExitCode) => void): void {
  allowRecord(sub(program, "diff <a> <b>", "Show in what two runs differ, step by step; A and B are names or bundles"))
    .option(
      "--all",
      "each step, also where many in a row are the same, and each field, also what a provider makes anew",
    )
    .addOption(redisOption())
    .addOption(outputOption("table or json"))
    .addHelpText(
      "after",
      `${examples("oao diff brief brief-2", "oao diff brief yesterday.jsonl", "oao diff brief brief-2 -o json | jq '.steps[] | select(.verdict != \"Same\")'")}
Steps are aligned by their content, then by where they stand. Exit codes: 0 the same steps with the same answers (and the same
traceHash), 1 different.`,
    )
    .action(async (a: string, b: string, flags) =>
      exit(await (await import("./commands/diff.ts")).diff(a, b, flags, terminal)),
    );
  allowRecord(sub(program, "export <name>", "Write a run that has ended, with all that is recorded of it, as one file"))
    .option("-O, --output-file <file>", "to this file instead of stdout")
    .addOption(redisOption())
    .addHelpText(
      "after",
      `${examples("oao export brief -O brief.jsonl", "oao export brief | gzip > brief.jsonl.gz")}
The same run gives the same bytes each time. What a policy redacted is not in it; prompts and answers are. Exit code 8: its record was
changed, so nothing is exported.`,
    )
    .action(async (name: string, flags) =>
      exit(await (await import("./commands/export.ts")).exportRun(name, flags, terminal)),
    );
  sub(program, "import <file>", "Put an exported run among those of this folder, as it was")
    .option("--as <name>", "under another name")
    .addOption(namespaced("namespace to put it in; its own when absent"))
    .addHelpText(
      "after",
      `${examples("oao import brief.jsonl", "oao import brief.jsonl --as brief-of-monday -n audit")}
It is checked as a whole first (exit code 8: tampered with). A run that is here already is left as it is; its journal stays until you
delete the folder's.`,
    )
    .action(async (file: string, flags) =>
      exit(await (await import("./commands/import.ts")).importRun(file, flags, terminal)),
    );
  allowRecord(
    sub(
      program,
      "verify <run>",
      "Check that nothing of a run was changed since it was recorded, and replay it here; RUN is a name or a bundle",
    ),
  )
    .option("--file <file>", "replay with the spec of this manifest: does it still ask for what was recorded?")
    .option("--times <number>", "how often it is replayed", wholeNumber)
    .option("--no-replay", "only check the record")
    .addOption(redisOption())
    .addOption(outputOption("table, json or yaml"))
    .addHelpText(
      "after",
      `${examples("oao verify brief", "oao verify brief.jsonl", "oao verify recorded/brief.jsonl --file brief.yaml")}
Every entry follows the one before it, every body has its digest, and all adds up to journalHead and traceHash of the status: compare
these with what the cluster says. Then every recorded node runs again, its calls answered from the record. Exit codes: 0 it holds and
goes the same way, 5 it goes another way, naming the first step and field, 8 tampered with, naming the entry.`,
    )
    .action(async (run: string, flags) =>
      exit(await (await import("./commands/verify.ts")).verify(run, flags, terminal)),
    );
}

function pageCommand(program: Command, terminal: Terminal, exit: (code: CliExitCode) => void): void {
  allowRecord(sub(program, "ui [name]", "Open a page on this machine to look at runs, their graphs and steps"))
    .option("--port <number>", "port of 127.0.0.1; one that is free when absent", wholeNumber)
    .option("--no-open", "print the address, open no browser")
    .option("-A, --all-namespaces", "of a cluster: runs of every namespace")
    .addHelpText(
      "after",
      `${examples("oao ui", "oao ui brief", "oao ui --port 7070 --no-open", "oao ui --on cluster -n team-a")}
The address holds a random token and works on this machine alone, until Ctrl-C, which also suspends replays that were started on the
page. Steps of a cluster's run come with its end, through the operator's HTTP API. docs/ui.md tells more.`,
    )
    .action(async (name: string | undefined, flags) =>
      exit(await (await import("./commands/ui.ts")).ui(name, flags, terminal)),
    );
}

function manifestCommands(program: Command, terminal: Terminal, exit: (code: CliExitCode) => void): void {
  sub(program, "lint <files...>", "Report every problem of manifests at once, with line, field and what to do")
    .addOption(outputOption("table, json or yaml"))
    .addHelpText("after", `${examples("oao lint brief.yaml policies/*.yaml")}\nExit codes: 0 no errors, 2 errors.`)
    .action(async (files: string[], flags) =>
      exit(await (await import("./commands/lint.ts")).lint(files, flags, terminal)),
    );
  allowPlace(
    sub(
      program,
      "hash <files-or-runs...>",
      "Show the execution hash of a manifest or a run, part by part; of two, what differs",
    ),
  )
    .option("--explain", "print what is hashed: the canonical JSON of each part, byte for byte")
    .option("--policy <file>", "a file with GovernancePolicies beside those of FILE (repeatable)", collect)
    .option("--floor <file>", "the operator's floor policy, or none, to get what a cluster will compute", collect)
    .option("--input <name=value>", "set spec.input.NAME of FILE, as oao run does (repeatable)", collect)
    .option("--set <path=value>", "set a field of spec of FILE, as oao run does (repeatable)", collect)
    .addOption(outputOption("table, json or yaml"))
    .addHelpText(
      "after",
      `${examples("oao hash brief.yaml", "oao hash brief.yaml --explain", "oao hash brief-1 brief-2", "oao hash brief.yaml --on cluster --floor floor.yaml -o json | jq .hashParts")}
Of FILE it is what oao run would compute here, with the policies that are stored here; with --on cluster with those of the namespace,
and with the operator's floor policy where --floor gives it. Of a run it is what its status says.
Exit codes: 0 done or the same, 1 two that differ, 2 usage or invalid manifest.`,
    )
    .action(async (names: string[], flags) =>
      exit(await (await import("./commands/hash.ts")).hash(names, flags, terminal)),
    );
  sub(program, "explain <field>", "Explain a field of Execution or GovernancePolicy")
    .addOption(outputOption("table, json or yaml"))
    .addHelpText("after", examples("oao explain execution.spec.nodes.forEach", "oao explain gpol.spec.budgets"))
    .action(async (field: string, flags) =>
      exit(await (await import("./commands/lint.ts")).explain(field, flags, terminal)),
    );
}

function otherCommands(program: Command, terminal: Terminal, exit: (code: CliExitCode) => void): void {
  // Its own options and help belong to it: the server's code is loaded only here.
  sub(
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
        .configureOutput({ writeOut: terminal.out, writeErr: terminal.err })
        .parseAsync(args, { from: "user" });
    });
  sub(program, "completion <shell>", "Print a completion script for bash, zsh or fish")
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

function sub(program: Command, usage: string, description: string): Command {
  return program.command(usage).description(description).showHelpAfterError("(oao help COMMAND shows examples)");
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
