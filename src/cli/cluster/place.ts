/** Which place a command is about: this machine or a cluster. What may be found out without asking a server. */
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { CliError } from "../errors.ts";
import type { Terminal } from "../terminal.ts";

export type Place = "local" | "cluster";

export interface PlaceFlags {
  readonly namespace?: string | undefined;
  readonly on?: Place | undefined;
  readonly context?: string | undefined;
  readonly kubeconfig?: string | undefined;
  /** Of commands that have it. */
  readonly server?: string | undefined;
  readonly operatorNamespace?: string | undefined;
  readonly redis?: string | undefined;
}

/** Flags that only one place knows: whoever gives one asks for that place. */
const ofPlace = {
  cluster: {
    context: "--context",
    kubeconfig: "--kubeconfig",
    server: "--server",
    operatorNamespace: "--operator-namespace",
  },
  local: { redis: "--redis" },
} as const;

/** Undefined = nobody said. Throws CliError where two contradict each other. */
export function askedPlace(flags: PlaceFlags): Place | undefined {
  const named = (flagsOf: Readonly<Partial<Record<keyof PlaceFlags, string>>>) =>
    Object.entries(flagsOf).find(([flag]) => flags[flag as keyof PlaceFlags] !== undefined)?.[1];
  const [cluster, local] = [named(ofPlace.cluster), named(ofPlace.local)];
  if (flags.on === "local" && cluster !== undefined)
    throw new CliError(`--on local and ${cluster} contradict each other: it names a cluster`, [
      "leave one of them out",
    ]);
  if (local !== undefined && (cluster !== undefined || flags.on === "cluster"))
    throw new CliError(
      `${local} and ${cluster ?? "--on cluster"} contradict each other: it is for runs here, and on a cluster the operator knows the journal store`,
      ["leave one of them out"],
    );
  return flags.on ?? (cluster !== undefined ? "cluster" : local !== undefined ? "local" : undefined);
}

/** Whether this person has a cluster at all: else nothing of Kubernetes is even loaded. */
export function hasKubeconfig({ env }: Pick<Terminal, "env">): boolean {
  return presentKubeconfigs({ env }).length > 0;
}

/** Those that are not there do not count, as for kubectl. */
export function presentKubeconfigs({ env }: Pick<Terminal, "env">): readonly string[] {
  return kubeconfigFiles(env).filter((file) => existsSync(file));
}

/** As kubectl looks for them. */
export function kubeconfigFiles(env: Terminal["env"]): readonly string[] {
  const set = env["KUBECONFIG"] ?? "";
  if (set !== "") return set.split(delimiter).filter((file) => file !== "");
  const home = env["HOME"] ?? env["USERPROFILE"] ?? "";
  return home === "" ? [] : [join(home, ".kube", "config")];
}
