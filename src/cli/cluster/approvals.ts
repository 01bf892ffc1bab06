/** oao approve: the answer is an annotation that carries the caller's own name; the API server proves who wrote it. */
import { type CliExitCode, cliExitCodes } from "../../api/exit-codes.ts";
import type { StoredExecution } from "../../ports/cluster.ts";
import { CliError } from "../errors.ts";
import { nearestNames } from "../nearest.ts";
import { endedError, hasEnded } from "../outcome.ts";
import { oneLine } from "../render/style.ts";
import type { Terminal } from "../terminal.ts";
import type { ClusterConnection } from "./connect.ts";

/** What is read of an entry of status.approvals. */
interface Approval {
  readonly request: string;
  readonly node?: string;
  readonly message?: string;
  /** Absent = nobody has answered yet. */
  readonly decision?: string;
  readonly by?: string;
}

const approvalPrefix = "approval.oao.dev/";

export async function approve(
  cluster: ClusterConnection,
  run: StoredExecution,
  request: string | undefined,
  isRejection: boolean,
  terminal: Terminal,
): Promise<CliExitCode> {
  const args = cluster.args(run.key);
  if (hasEnded(run.status)) throw endedError(run, [`nothing is asked any more; look at it: oao get ${args}`]);
  const chosen = chooseRequest(approvalsOf(run), request, run, args);
  const user = await cluster.executions.whoAmI();
  const verb = isRejection ? "Reject" : "Approve";
  await cluster.executions.annotateApproval(run, `${approvalPrefix}${chosen}`, `${verb}:${user}`);
  const done = isRejection ? "rejected" : "approved";
  const who = oneLine(user);
  terminal.err(`${chosen} of ${run.key.namespace}/${run.key.name} ${done} as ${who}. Follow: oao resume ${args}\n`);
  return cliExitCodes.succeeded;
}

/** Of requests that wait for an answer, with the command that gives it. */
export function approvalLines(run: StoredExecution, cluster: ClusterConnection): string[] {
  return pendingOf(approvalsOf(run)).flatMap(({ request, node, message }) => [
    `waits for an approval: ${oneLine(message ?? node ?? request)}`,
    `  oao approve ${cluster.args(run.key)} ${request}  (or --reject)`,
  ]);
}

/** The one that is named, else the only one that waits. Throws CliError. */
function chooseRequest(
  approvals: readonly Approval[],
  wanted: string | undefined,
  { key }: Pick<StoredExecution, "key">,
  args: string,
): string {
  const pending = pendingOf(approvals);
  const names = pending.map(({ request }) => request);
  const name = `${key.namespace}/${key.name}`;
  const asked = pending.map(({ request, message }) => `${request}: ${oneLine(message ?? "")}`);
  if (wanted === undefined) {
    const [only, ...more] = names;
    if (only === undefined) throw new CliError(`${name} asks for no approval now`, [`look at it: oao get ${args}`]);
    if (more.length > 0)
      throw new CliError(`${name} asks for ${names.length} approvals: name one`, [
        ...asked,
        "oao approve NAME REQUEST",
      ]);
    return only;
  }
  if (names.includes(wanted)) return wanted;
  const answered = approvals.find(({ request }) => request === wanted);
  if (answered !== undefined)
    throw new CliError(
      `${wanted} of ${name} has been answered: ${oneLine(`${answered.decision} by ${answered.by ?? "nobody"}`)}`,
      [`look at it: oao get ${args}`],
    );
  const near = nearestNames(wanted, names);
  throw new CliError(`${name} has no request ${wanted}`, [
    ...(near.length > 0 ? [`did you mean ${near.join(" or ")}?`] : []),
    ...(asked.length > 0 ? asked : [`it asks for no approval now: oao get ${args}`]),
  ]);
}

function pendingOf(approvals: readonly Approval[]): readonly Approval[] {
  return approvals.filter(({ decision }) => decision === undefined || decision === "");
}

function approvalsOf({ status }: StoredExecution): readonly Approval[] {
  return (status as { readonly approvals?: readonly Approval[] } | undefined)?.approvals ?? [];
}
