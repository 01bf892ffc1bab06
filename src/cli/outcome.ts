/** How an Execution ended, as an exit code and as words. */
import { type CliExitCode, cliExitCodes } from "../api/exit-codes.ts";
import type { ExecutionStatus } from "../api/status.ts";
import type { StoredExecution } from "../ports/cluster.ts";
import { CliError } from "./errors.ts";
import { age } from "../ui/figures.ts";

/** Reasons of `Succeeded=False` that are not the run's own fault. */
const infrastructureReasons = ["InfrastructureLost", "DurabilityLost"];

/** All nodes, the finally nodes too, have ended. */
export function hasEnded(status: ExecutionStatus | undefined): boolean {
  return status?.completedAt !== undefined;
}

export const contentDropped =
  "content was not kept (recording.content: DigestOnly): only digests are left, and such a run cannot be replayed";

/** Why a run that has not started waits for somebody to mend something; undefined = it does not. */
export function stalledReason(status: ExecutionStatus | undefined): string | undefined {
  if (status === undefined || status.snapshot !== undefined || hasEnded(status)) return undefined;
  const stalled = status.conditions.find(({ type, status: is }) => type === "Stalled" && is === "True");
  return stalled && `${stalled.reason}: ${stalled.message}`;
}

/** A Strict replay that went as its parent, however that ended, did what it was for. */
export function isVerified(status: ExecutionStatus | undefined): boolean {
  return status?.conditions.some(({ type, status: is }) => type === "ReplayVerified" && is === "True") === true;
}

export function exitCodeOf(status: ExecutionStatus | undefined): CliExitCode {
  if (isVerified(status)) return cliExitCodes.succeeded;
  switch (status?.phase) {
    case "Succeeded":
      return cliExitCodes.succeeded;
    case "Cancelled":
      return cliExitCodes.cancelled;
    case "Failed": {
      const reason = status.conditions.find((condition) => condition.type === "Succeeded")?.reason ?? "";
      if (reason === "PolicyViolation") return cliExitCodes.policyViolation;
      if (reason === "Divergence") return cliExitCodes.divergence;
      if (reason === "RecordChanged") return cliExitCodes.tampered;
      return infrastructureReasons.includes(reason) ? cliExitCodes.infrastructure : cliExitCodes.failed;
    }
    case "Suspended":
    case "AwaitingApproval":
    case "Running":
    case "Pending":
    case "Queued":
    case undefined:
      return cliExitCodes.waiting;
  }
}

/** Why a run that has ended cannot be run on. */
export function endedError(run: StoredExecution, hints: readonly string[]): CliError {
  const when =
    run.status?.completedAt === undefined ? "" : ` ${age(Date.now() - Date.parse(run.status.completedAt))} ago`;
  return new CliError(
    `Execution ${run.key.namespace}/${run.key.name} has ended (${run.status?.phase ?? "unknown"}${when})`,
    hints,
    cliExitCodes.usage,
  );
}
