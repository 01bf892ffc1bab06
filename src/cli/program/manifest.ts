/** Commands about manifests; none runs anything. */
import type { Command } from "commander";
import type { CliExitCode } from "../../api/exit-codes.ts";
import { allowPlace, collect, examples, outputOption, subcommand } from "../options.ts";
import type { Terminal } from "../terminal.ts";

export function manifestCommands(program: Command, terminal: Terminal, exit: (code: CliExitCode) => void): void {
  subcommand(program, "lint <files...>", "Report every problem of manifests at once, with line, field and what to do")
    .addOption(outputOption("table, json or yaml"))
    .addHelpText("after", `${examples("oao lint brief.yaml policies/*.yaml")}\nExit codes: 0 no errors, 2 errors.`)
    .action(async (files: string[], flags) =>
      exit(await (await import("../commands/lint.ts")).lint(files, flags, terminal)),
    );
  allowPlace(
    subcommand(
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
      exit(await (await import("../commands/hash.ts")).hash(names, flags, terminal)),
    );
  subcommand(program, "explain <field>", "Explain a field of Execution or GovernancePolicy")
    .addOption(outputOption("table, json or yaml"))
    .addHelpText("after", examples("oao explain execution.spec.nodes.forEach", "oao explain gpol.spec.budgets"))
    .action(async (field: string, flags) =>
      exit(await (await import("../commands/lint.ts")).explain(field, flags, terminal)),
    );
}
