/** Commands that begin a run. */
import type { Command } from "commander";
import type { CliExitCode } from "../../api/exit-codes.ts";
import { allowPlace, collect, examples, outputOption, redisOption, subcommand } from "../options.ts";
import type { Terminal } from "../terminal.ts";

export function startCommands(program: Command, terminal: Terminal, exit: (code: CliExitCode) => void): void {
  const start = (usage: string, description: string) =>
    allowPlace(
      subcommand(program, usage, description)
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
    .action(async (file: string, flags) => exit(await (await import("../commands/run.ts")).run(file, flags, terminal)));
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
      exit(await (await import("../cluster/submit.ts")).submit(file, flags, terminal)),
    );
}
