/** Options that several commands share, and the way their help shows examples. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { sizes } from "../api/defaults.ts";

/** Of commands that are about a run here or on a cluster: cluster/place.ts and cluster/locate.ts say how they are read. */
export function allowPlace(command: Command): Command {
  return command
    .addOption(namespaced("namespace of the run; here default, on a cluster the context's"))
    .addOption(
      new Option("--on <place>", "look only here, or only on the kubeconfig's cluster").choices(["local", "cluster"]),
    )
    .option("--context <name>", "on the cluster of this kubeconfig context")
    .option("--kubeconfig <file>", "on the cluster of this kubeconfig; else KUBECONFIG, ~/.kube/config");
}

/** Of commands that read the record of a run, on a cluster through its operator: cluster/api.ts. */
export function allowRecord(command: Command): Command {
  return allowPlace(command)
    .option(
      "--server <url>",
      "the operator's HTTP API, https://…; else OAO_SERVER, else through the API server (needs pods/portforward)",
    )
    .option("--operator-namespace <namespace>", "where the operator is; else OAO_OPERATOR_NAMESPACE, oao-system");
}

export function namespaceOption(): Option {
  return namespaced("namespace of the run; default when absent");
}

export function namespaced(text: string): Option {
  return new Option("-n, --namespace <namespace>", text).argParser((value: string) => {
    if (/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(value)) return value;
    throw new InvalidArgumentError("It must be a DNS label: lower case letters, digits and '-'.");
  });
}

export function redisOption(): Option {
  return new Option(
    "--redis <url>",
    "journal in this Redis or Valkey instead of a file (also OAO_REDIS_URL to read one that needs a password)",
  );
}

export function outputOption(text: string): Option {
  return new Option("-o, --output <format>", text);
}

export function collect(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), value];
}

export function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError("a whole number from 1 is wanted");
  return value;
}

export function portNumber(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new InvalidArgumentError("a port is 0 to 65535");
  return port;
}

/** As `spec.replay.times` is bounded: so is a replay that only a command makes. */
export function replayTimes(text: string): number {
  const value = wholeNumber(text);
  if (value > sizes.replayTimes) throw new InvalidArgumentError(`at most ${sizes.replayTimes} are made in one command`);
  return value;
}

export function examples(...commands: readonly string[]): string {
  return `\n${commands.length === 1 ? "Example" : "Examples"}:\n${commands.map((command) => `  ${command}`).join("\n")}`;
}

/** A command of `oao`, with usage as commander reads it. */
export function subcommand(program: Command, usage: string, description: string): Command {
  const command = program.command(usage).description(description);
  return command.showHelpAfterError(`(oao help ${command.name()} shows examples)`);
}
