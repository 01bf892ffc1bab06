/** oao approve: answers the question that a run waits with. */
import { userInfo } from "node:os";
import type { LocalIndex } from "../../adapters/local/local-index.ts";
import { approvalPrefix } from "../../api/common.ts";
import { type CliExitCode, cliExitCodes } from "../../api/exit-codes.ts";
import type { ApprovalStatus, ExecutionStatus } from "../../api/status.ts";
import { CliError } from "../errors.ts";
import { findRun, openExistingIndex } from "../home.ts";
import { nameArguments } from "../render/run-tables.ts";
import type { Terminal } from "../terminal.ts";

export interface ApproveFlags {
  readonly namespace?: string | undefined;
  readonly reject?: boolean | undefined;
}

/** `request` may be left out when one question is open. Throws CliError for one that is not. */
export async function approve(
  name: string,
  request: string | undefined,
  flags: ApproveFlags,
  terminal: Terminal,
): Promise<CliExitCode> {
  const index = (await openExistingIndex(terminal)) as LocalIndex;
  const run = findRun(index, name, flags, terminal);
  const question = openQuestion(run.status, request, nameArguments(run));
  const verb = flags.reject === true ? "Reject" : "Approve";
  index.annotate(run.key, { [`${approvalPrefix}${question.request}`]: `${verb}:${userInfo().username}` });
  terminal.err(
    `${question.node}: ${flags.reject === true ? "rejected" : "approved"}. Go on, unless somebody runs it already: oao resume ${nameArguments(run)}\n`,
  );
  index.close();
  return cliExitCodes.succeeded;
}

/** The open question of this name, or the only one. Throws CliError that lists what is open. */
function openQuestion(status: ExecutionStatus | undefined, request: string | undefined, run: string): ApprovalStatus {
  const all = status?.approvals ?? [];
  const open = all.filter(({ decision }) => decision === undefined);
  const found =
    request === undefined ? (open.length === 1 ? open[0] : undefined) : open.find((each) => each.request === request);
  if (found !== undefined) return found;
  const hints = open.map(
    (each) => `oao approve ${run} ${each.request}    (${each.node}: ${each.message.slice(0, 80)})`,
  );
  const answered = all.find((each) => each.request === request);
  if (answered !== undefined)
    throw new CliError(
      `${answered.request} was ${answered.decision?.toLowerCase() ?? ""} by ${answered.by ?? "?"} already`,
      hints,
    );
  if (open.length === 0)
    throw new CliError(`${run} waits for no approval (it is ${status?.phase ?? "Pending"})`, [
      `look at it: oao get ${run}`,
    ]);
  throw new CliError(
    request === undefined
      ? `${run} waits for ${open.length} approvals: say which`
      : `${run} has no open request ${request}`,
    hints,
  );
}
