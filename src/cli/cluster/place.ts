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
}

/** Undefined = nobody said. A context or a kubeconfig asks for the cluster. Throws CliError. */
export function askedPlace({ on, context, kubeconfig }: PlaceFlags): Place | undefined {
  const asked = context !== undefined || kubeconfig !== undefined;
  if (on === "local" && asked)
    throw new CliError(
      `--on local and --${context === undefined ? "kubeconfig" : "context"} contradict each other: it names a cluster`,
    );
  return on ?? (asked ? "cluster" : undefined);
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
