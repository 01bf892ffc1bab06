/** oao approve: only a cluster asks for approvals so far. */
import type { CliExitCode } from "../../api/exit-codes.ts";
import { withRun } from "../cluster/locate.ts";
import type { PlaceFlags } from "../cluster/place.ts";
import { CliError } from "../errors.ts";
import { nameArguments } from "../render/run-tables.ts";
import type { Terminal } from "../terminal.ts";

export interface ApproveFlags extends PlaceFlags {
  readonly reject?: boolean | undefined;
}

export function approve(
  name: string,
  request: string | undefined,
  flags: ApproveFlags,
  terminal: Terminal,
): Promise<CliExitCode> {
  return withRun(name, flags, terminal, {
    local: async (_index, run) => {
      throw new CliError(`${run.key.namespace}/${run.key.name} is a run of this machine: it asks for no approval`, [
        `look at it: oao get ${nameArguments(run)}`,
      ]);
    },
    cluster: async (cluster, run) =>
      (await import("../cluster/approvals.ts")).approve(cluster, run, request, flags.reject === true, terminal),
  });
}
