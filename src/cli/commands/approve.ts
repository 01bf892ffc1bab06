/** oao approve: answers the question that a run waits with. */
import { userInfo } from "node:os";
import type { LocalIndex } from "../../adapters/local/local-index.ts";
import type { LocalRun } from "../../adapters/local/local-run.ts";
import { approvalPrefix } from "../../api/common.ts";
import { type CliExitCode, cliExitCodes } from "../../api/exit-codes.ts";
import { openQuestion } from "../approvals.ts";
import { withRun } from "../cluster/locate.ts";
import type { PlaceFlags } from "../cluster/place.ts";
import { nameArguments } from "../render/run-tables.ts";
import type { Terminal } from "../terminal.ts";

export interface ApproveFlags extends PlaceFlags {
  readonly reject?: boolean | undefined;
}

/** `request` may be left out when one question is open. Throws CliError for one that is not. */
export function approve(
  name: string,
  request: string | undefined,
  flags: ApproveFlags,
  terminal: Terminal,
): Promise<CliExitCode> {
  const isRejection = flags.reject === true;
  return withRun(name, flags, terminal, {
    local: async (index, run) => approveHere(index, run, request, isRejection, terminal),
    cluster: async (cluster, run) =>
      (await import("../cluster/approve.ts")).approve(cluster, run, request, isRejection, terminal),
  });
}

function approveHere(
  index: LocalIndex,
  run: LocalRun,
  request: string | undefined,
  isRejection: boolean,
  terminal: Terminal,
): CliExitCode {
  const args = nameArguments(run);
  const question = openQuestion(run, request, args);
  const verb = isRejection ? "Reject" : "Approve";
  index.annotate(run.key, { [`${approvalPrefix}${question.request}`]: `${verb}:${userInfo().username}` });
  terminal.err(
    `${question.node}: ${isRejection ? "rejected" : "approved"}. Go on, unless somebody runs it already: oao resume ${args}\n`,
  );
  index.close();
  return cliExitCodes.succeeded;
}
