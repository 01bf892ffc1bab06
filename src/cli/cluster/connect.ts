/** From flags to a cluster that can be talked to, and every failure of it as words with the command that helps next. */
import { existsSync } from "node:fs";
import { systemClock } from "../../adapters/clock/system-clock.ts";
import { type Access, openAccess, UnknownContext } from "../../adapters/kube/access.ts";
import { KubeExecutions } from "../../adapters/kube/executions.ts";
import { productVersion } from "../../api/version.ts";
import type { ObjectKey } from "../../ports/cluster.ts";
import { CliError } from "../errors.ts";
import { nearestNames } from "../nearest.ts";
import type { Terminal } from "../terminal.ts";
import { clusterFailure } from "./failures.ts";
import { kubeconfigFiles, type PlaceFlags, presentKubeconfigs } from "./place.ts";

export interface ClusterConnection extends Pick<Access, "context" | "server" | "asksProgram" | "api"> {
  readonly executions: KubeExecutions;
  /** -n, else the context's. */
  readonly namespace: string;
  /** A run as it is typed after a command: name and where it is. */
  readonly args: (key: ObjectKey) => string;
  /** `-n team-a`, `--context …`: where it is, without a name. */
  readonly flags: string;
}

/** Talks to nobody yet. Throws CliError. */
export function connect(flags: PlaceFlags, terminal: Terminal): ClusterConnection {
  const access = accessOf(flags, terminal);
  const place = [
    ...(flags.kubeconfig === undefined ? [] : ["--kubeconfig", quoted(flags.kubeconfig)]),
    ...(flags.context === undefined ? [] : ["--context", quoted(flags.context)]),
  ];
  const where = place.length === 0 ? ["--on", "cluster"] : place;
  const inNamespace = (namespace: string) => (namespace === access.namespace ? [] : ["-n", namespace]);
  const namespace = flags.namespace ?? access.namespace;
  return {
    context: access.context,
    server: access.server,
    asksProgram: access.asksProgram,
    api: (place) => access.api(place),
    executions: new KubeExecutions(access.client, systemClock),
    namespace,
    args: (key) => [...inNamespace(key.namespace), key.name, ...where].join(" "),
    flags: [...inNamespace(namespace), ...where].join(" "),
  };
}

/** `work` on a cluster, closed afterwards; what goes wrong comes out as CliError. */
export async function onCluster<T>(
  flags: PlaceFlags,
  terminal: Terminal,
  work: (cluster: ClusterConnection) => Promise<T>,
): Promise<T> {
  const cluster = connect(flags, terminal);
  return during(cluster, work);
}

export async function during<T>(
  cluster: ClusterConnection,
  work: (cluster: ClusterConnection) => Promise<T>,
): Promise<T> {
  try {
    return await work(cluster);
  } catch (error) {
    throw clusterFailure(error, cluster);
  } finally {
    cluster.executions.close();
  }
}

function accessOf({ kubeconfig, context }: PlaceFlags, terminal: Terminal): Access {
  if (kubeconfig === undefined && presentKubeconfigs(terminal).length === 0 && !isInPod(terminal))
    throw noKubeconfig(terminal);
  try {
    const userAgent = `oao/${productVersion}`;
    const files = kubeconfig === undefined ? presentKubeconfigs(terminal) : [kubeconfig];
    return openAccess({ files, context, clock: systemClock, userAgent });
  } catch (error) {
    if (error instanceof UnknownContext) throw unknownContext(error);
    const why = error instanceof Error ? error.message : String(error);
    throw new CliError(`the kubeconfig cannot be read: ${why}`, [
      kubeconfig === undefined ? "look at KUBECONFIG, or name a file: --kubeconfig FILE" : "look at --kubeconfig",
    ]);
  }
}

/** A program in a pod finds its own cluster without a file. */
function isInPod({ env }: Terminal): boolean {
  return (
    (env["KUBERNETES_SERVICE_HOST"] ?? "") !== "" && existsSync("/var/run/secrets/kubernetes.io/serviceaccount/token")
  );
}

function noKubeconfig({ env }: Terminal): CliError {
  const files = kubeconfigFiles(env).join(", ");
  return new CliError(`there is no kubeconfig${files === "" ? "" : ` at ${files}`}, so no cluster to ask`, [
    "name one: --kubeconfig FILE, or KUBECONFIG",
    "run it here instead: --on local",
  ]);
}

function unknownContext({ context, known }: UnknownContext): CliError {
  if (context === "")
    return new CliError("the kubeconfig has no current context", [
      `choose one: --context NAME${known.length === 0 ? "" : ` (it has ${known.slice(0, 10).join(", ")})`}`,
    ]);
  const near = nearestNames(context, known);
  return new CliError(`the kubeconfig has no context ${context} with a cluster`, [
    near.length > 0
      ? `did you mean ${near.join(" or ")}?`
      : `it has ${known.length === 0 ? "none" : known.slice(0, 10).join(", ")}`,
    "see them: kubectl config get-contexts",
  ]);
}

function quoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
