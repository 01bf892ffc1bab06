/** What a cluster refused or failed to do, in words, with the command that helps next. Exit 2 = asked wrongly, 7 = the cluster. */
import type { Access } from "../../adapters/kube/access.ts";
import { MissingRight, type Right } from "../../adapters/kube/executions.ts";
import { KubeError } from "../../adapters/kube/kube-error.ts";
import { resources } from "../../adapters/kube/resources.ts";
import { cliExitCodes } from "../../api/exit-codes.ts";
import { CliError } from "../errors.ts";
import { oneLine } from "../render/style.ts";

/** There may be no server at all. */
export function isNoAnswer(error: unknown): boolean {
  return error instanceof KubeError && error.status === 0 && error.reason !== "Credentials";
}

/** Errors that are none of a cluster come back as they are. */
export function clusterFailure(error: unknown, cluster: Pick<Access, "context" | "server">): unknown {
  if (error instanceof MissingRight) return missingRight(error.right);
  if (!(error instanceof KubeError)) return error;
  const where = `the API server ${cluster.server} (context ${cluster.context})`;
  const said = oneLine(error.refusal?.said ?? error.message);
  const { infrastructure } = cliExitCodes;
  switch (error.status) {
    case 0:
      return error.reason === "Credentials"
        ? new CliError(
            said,
            ["the kubeconfig's user says where they come from: kubectl config view --minify"],
            infrastructure,
          )
        : new CliError(
            `${where} does not answer: ${oneLine(error.message)}`,
            [
              `is it there? kubectl --context ${cluster.context} get --raw /readyz`,
              "another one: --context NAME; here: --on local",
            ],
            infrastructure,
          );
    case 401:
      return new CliError(
        `${where} does not accept the credentials of this context: ${said}`,
        [`who are you to it? kubectl --context ${cluster.context} auth whoami`],
        infrastructure,
      );
    case 404:
      return notServed(error, where);
    case 400:
    case 403:
    case 422:
      return refused(error, said);
    default:
      return new CliError(`${where} failed: ${said}`, ["try again; nothing is known to have changed"], infrastructure);
  }
}

function missingRight({ verb, resource, subresource, namespace, name }: Right): CliError {
  const { group, plural } = resources[resource];
  const what = `${plural}${subresource === undefined ? "" : `/${subresource}`}${group === "" ? "" : `.${group}`}`;
  const typed = `${plural}${group === "" ? "" : `.${group}`}${name === undefined ? "" : `/${name}`}`;
  const sub = subresource === undefined ? "" : ` --subresource=${subresource}`;
  const scope = namespace === undefined ? "-A" : `-n ${namespace}`;
  return new CliError(
    `you may not ${verb} ${what} ${namespace === undefined ? "in all namespaces" : `in namespace ${namespace}`}`,
    [
      `whoever administers ${namespace === undefined ? "the cluster" : "it"} can grant it: ClusterRole ${roleFor(verb, subresource)}`,
      `check: kubectl auth can-i ${verb} ${typed}${sub} ${scope}`,
    ],
  );
}

/** The least of the roles in config/rbac/users.yaml, and of Kubernetes' own, that has it. */
function roleFor(verb: Right["verb"], subresource: string | undefined): string {
  if (subresource === "approval") return "oao-approver (admin has it too)";
  return ["get", "list", "watch"].includes(verb) ? "view" : "edit";
}

function notServed(error: KubeError, where: string): CliError {
  const { name, kind, said = "" } = error.refusal ?? {};
  if (kind === "namespaces")
    return new CliError(`the cluster has no namespace ${name}`, [`make it: kubectl create namespace ${name}`]);
  if (name !== undefined) return new CliError(oneLine(said), ["it may just have been deleted: oao get --on cluster"]);
  return new CliError(
    `${where} does not know executions.oao.dev: OAO is not installed there`,
    ["install it: helm install oao charts/oao -n oao-system --create-namespace (docs/install.md)"],
    cliExitCodes.infrastructure,
  );
}

/** By the schema, a rule, a quota or an admission policy: every cause, with its field. */
function refused(error: KubeError, said: string): CliError {
  const causes = (error.refusal?.causes ?? []).map(({ field, message }) =>
    field === "" ? oneLine(message) : `${field}: ${oneLine(message)}`,
  );
  if (causes.length === 0) return new CliError(`the cluster refused it: ${said}`);
  return new CliError(
    `the cluster refused it, for ${causes.length === 1 ? "one reason" : `${causes.length} reasons`}`,
    [...causes, "what a field means: oao explain FIELD"],
  );
}
