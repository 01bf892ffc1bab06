/** oao approve on a cluster: the answer carries the caller's own name, and the API server proves who wrote it. */
import { approvalPrefix } from "../../api/common.ts";
import { type CliExitCode, cliExitCodes } from "../../api/exit-codes.ts";
import type { StoredExecution } from "../../ports/cluster.ts";
import { openQuestion } from "../approvals.ts";
import { endedError, hasEnded } from "../outcome.ts";
import { oneLine } from "../render/style.ts";
import type { Terminal } from "../terminal.ts";
import type { ClusterConnection } from "./connect.ts";

export async function approve(
  cluster: ClusterConnection,
  run: StoredExecution,
  request: string | undefined,
  isRejection: boolean,
  terminal: Terminal,
): Promise<CliExitCode> {
  const args = cluster.args(run.key);
  if (hasEnded(run.status)) throw endedError(run, [`nothing is asked any more; look at it: oao get ${args}`]);
  const question = openQuestion(run, request, args);
  const user = await cluster.executions.whoAmI();
  const verb = isRejection ? "Reject" : "Approve";
  await cluster.executions.annotateApproval(run, `${approvalPrefix}${question.request}`, `${verb}:${user}`);
  const done = isRejection ? "rejected" : "approved";
  terminal.err(`${question.node}: ${done} as ${oneLine(user)}. Follow it: oao resume ${args}\n`);
  return cliExitCodes.succeeded;
}
