/** Commands about records: compare, move, prove. */
import type { Command } from "commander";
import type { CliExitCode } from "../../api/exit-codes.ts";
import { allowRecord, examples, namespaced, outputOption, redisOption, replayTimes, subcommand } from "../options.ts";
import type { Terminal } from "../terminal.ts";

export function recordCommands(program: Command, terminal: Terminal, exit: (code: CliExitCode) => void): void {
  allowRecord(
    subcommand(program, "diff <a> <b>", "Show in what two runs differ, step by step; A and B are names or bundles"),
  )
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
      exit(await (await import("../commands/diff.ts")).diff(a, b, flags, terminal)),
    );
  allowRecord(
    subcommand(program, "export <name>", "Write a run that has ended, with all that is recorded of it, as one file"),
  )
    .option("-O, --output-file <file>", "to this file instead of stdout")
    .addOption(redisOption())
    .addHelpText(
      "after",
      `${examples("oao export brief -O brief.jsonl", "oao export brief | gzip > brief.jsonl.gz")}
The same run gives the same bytes each time. What a policy redacted is not in it; prompts and answers are. Exit code 8: its record was
changed, so nothing is exported.`,
    )
    .action(async (name: string, flags) =>
      exit(await (await import("../commands/export.ts")).exportRun(name, flags, terminal)),
    );
  subcommand(program, "import <file>", "Put an exported run among those of this folder, as it was")
    .option("--as <name>", "under another name")
    .addOption(namespaced("namespace to put it in; its own when absent"))
    .addHelpText(
      "after",
      `${examples("oao import brief.jsonl", "oao import brief.jsonl --as brief-of-monday -n audit")}
It is checked as a whole first (exit code 8: tampered with). A run that is here already is left as it is, but for one whose
journal is gone, from the folder or from its Redis: it is brought back, into the folder. It stays until you delete the folder's.`,
    )
    .action(async (file: string, flags) =>
      exit(await (await import("../commands/import.ts")).importRun(file, flags, terminal)),
    );
  allowRecord(
    subcommand(
      program,
      "verify <run>",
      "Check that nothing of a run was changed since it was recorded, and replay it here; RUN is a name or a bundle",
    ),
  )
    .option("--file <file>", "replay with the spec of this manifest: does it still ask for what was recorded?")
    .option("--times <number>", "how often it is replayed", replayTimes)
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
      exit(await (await import("../commands/verify.ts")).verify(run, flags, terminal)),
    );
}
