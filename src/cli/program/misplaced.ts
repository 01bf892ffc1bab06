/**
 * Flags where they have no meaning: accepted and ignored, they would let a person believe what is not so. Each rule says of which
 * commands and of what is asked there a flag is meaningless, why, and what helps. Read before a command begins, from what was typed
 * alone: a flag that only one place knows asks for that place (cluster/place.ts), so none is left over when a run has been found.
 */
import type { Command } from "commander";
import { askedPlace } from "../cluster/place.ts";
import { CliError } from "../errors.ts";
import { isBundlePath, isManifestName } from "../file-names.ts";

/** What was typed. */
interface Asked {
  readonly command: string;
  readonly args: readonly string[];
  /** By commander's name, those alone that were typed. */
  readonly flags: Readonly<Record<string, unknown>>;
  readonly isOnCluster: boolean;
  readonly cwd: string;
}

interface Rule {
  /** As commander names them. */
  readonly flags: readonly string[];
  /** Undefined = every command that has the flag. */
  readonly commands?: readonly string[];
  readonly when: (asked: Asked) => boolean;
  readonly why: string;
  readonly instead: string;
}

/** Of commands whose arguments are runs or bundles. */
const ofRecords = ["trace", "diff", "export", "verify", "replay"] as const;
const isOfFiles = ({ args }: Asked) => args.length > 0 && args.every(isBundlePath);
const hasName = ({ args }: Asked) => args.length > 0;
const isHashOfRun = ({ args, cwd }: Asked) => !args.some((name) => isManifestName(name, cwd));

export const misplacedRules: readonly Rule[] = [
  {
    flags: ["on", "context", "kubeconfig", "namespace", "server", "operatorNamespace", "redis"],
    commands: ofRecords,
    when: isOfFiles,
    why: "says where a run is, and a bundle is a file",
    instead: "leave it out, or give the run's name",
  },
  {
    flags: ["policy"],
    commands: ["run", "hash"],
    when: ({ isOnCluster }) => isOnCluster,
    why: "is for runs here: on a cluster policies govern other people's runs too, so a run does not bring its own",
    instead: "who may write them: kubectl apply -n NAMESPACE -f FILE (ClusterRole oao-policy-admin)",
  },
  {
    flags: ["server", "operatorNamespace"],
    commands: ["replay"],
    when: ({ flags }) =>
      flags["policy"] === undefined || flags["fromStep"] !== undefined || flags["from"] !== undefined,
    why: "is for reading records, and a replay of a cluster's run is made by its operator",
    instead: "leave it out: --on cluster, --context or --kubeconfig say where",
  },
  {
    flags: ["allNamespaces", "limit"],
    commands: ["get"],
    when: hasName,
    why: "is for the list of runs, and one is named",
    instead: "leave it out, or the name",
  },
  {
    flags: ["namespace"],
    commands: ["get", "ui"],
    when: ({ flags }) => flags["allNamespaces"] !== undefined,
    why: "asks for one namespace, and --all-namespaces for all",
    instead: "give one of them",
  },
  {
    flags: ["allNamespaces"],
    commands: ["ui"],
    when: ({ isOnCluster, args }) => !isOnCluster && args.length === 0,
    why: "is for a cluster: of this machine the page has the runs of every namespace",
    instead: "leave it out, or add --on cluster",
  },
  {
    flags: ["policy", "input", "set"],
    commands: ["hash"],
    when: isHashOfRun,
    why: "is for a manifest, and a run has the hash that it started with",
    instead: "give a FILE: oao hash FILE",
  },
  {
    flags: ["floor"],
    commands: ["hash"],
    when: (asked) => isHashOfRun(asked) && !asked.isOnCluster,
    why: "is for a manifest or a run of a cluster, and runs here have no floor policy",
    instead: "leave it out, or say where the run is: --on cluster",
  },
  {
    flags: ["explain"],
    commands: ["hash"],
    when: ({ args }) => args.length > 1,
    why: "is of one: of two it is told what differs",
    instead: "give one of them",
  },
  {
    flags: ["output", "all"],
    commands: ["trace"],
    when: ({ flags }) => flags["canonical"] !== undefined,
    why: "says what is shown, and --canonical has one form alone",
    instead: "leave one of them out",
  },
  {
    flags: ["output"],
    commands: ["policies"],
    when: ({ flags }) => flags["delete"] !== undefined,
    why: "says how policies are shown, and --delete shows none",
    instead: "leave one of them out",
  },
];

/** Throws CliError (usage) for the first flag that means nothing here, naming it, why and what to do. */
export function refuseMisplaced(command: Command, cwd: string): void {
  const typed = command.options.filter((each) => command.getOptionValueSource(each.attributeName()) === "cli");
  const values: Readonly<Record<string, unknown>> = command.opts();
  const flags = Object.fromEntries(typed.map((each) => [each.attributeName(), values[each.attributeName()]]));
  const name = command.name();
  if (typed.length === 0) return;
  const isOnCluster = name === "submit" || askedPlace(flags) === "cluster";
  const asked: Asked = { command: name, args: command.args, flags, isOnCluster, cwd };
  for (const rule of misplacedRules) {
    if (rule.commands?.includes(name) === false || !rule.when(asked)) continue;
    const found = typed.find((each) => rule.flags.includes(each.attributeName()));
    if (found !== undefined)
      throw new CliError(`${found.long ?? found.short} has no meaning here: it ${rule.why}`, [rule.instead]);
  }
}
