/** Questions that a run waits with, here and on a cluster: which one is meant, and how they are shown. */
import type { ApprovalStatus } from "../api/status.ts";
import type { StoredExecution } from "../ports/cluster.ts";
import { CliError } from "./errors.ts";
import { nearestNames } from "./nearest.ts";
import { oneLine } from "./render/style.ts";

/** What is read of a run; `args` is the run as it is typed. */
type Asking = Pick<StoredExecution, "key" | "status">;

/** The open question of this name, or the only one. Throws CliError that lists what is open. */
export function openQuestion(run: Asking, request: string | undefined, args: string): ApprovalStatus {
  const name = `${run.key.namespace}/${run.key.name}`;
  const open = openQuestions(run);
  const found =
    request === undefined ? (open.length === 1 ? open[0] : undefined) : open.find((each) => each.request === request);
  if (found !== undefined) return found;
  const hints = open.flatMap((each) => questionLines(each, args));
  const answered = (run.status?.approvals ?? []).find((each) => each.request === request);
  if (answered !== undefined)
    throw new CliError(
      `${answered.request} was ${answered.decision?.toLowerCase() ?? ""} by ${oneLine(answered.by ?? "?")} already`,
      hints,
    );
  if (open.length === 0)
    throw new CliError(`${name} waits for no approval (it is ${run.status?.phase ?? "Pending"})`, [
      `look at it: oao get ${args}`,
    ]);
  if (request === undefined) throw new CliError(`${name} waits for ${open.length} approvals: say which`, hints);
  const near = nearestNames(
    request,
    open.map((each) => each.request),
  );
  throw new CliError(`${name} has no open request ${request}`, [
    ...(near.length > 0 ? [`did you mean ${near.join(" or ")}?`] : []),
    ...hints,
  ]);
}

export function openQuestions({ status }: Pick<StoredExecution, "status">): readonly ApprovalStatus[] {
  return (status?.approvals ?? []).filter(({ decision }) => decision === undefined);
}

/** What is asked, and the command that answers it. */
export function questionLines({ node, message, request }: ApprovalStatus, args: string): string[] {
  return [`${node} asks: ${oneLine(message)}`, `  oao approve ${args} ${request}  (or --reject)`];
}
