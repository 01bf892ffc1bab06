/** How an Execution ended, as an exit code and as words. */
import { type CliExitCode, cliExitCodes } from "../api/exit-codes.ts";
import type { ExecutionStatus } from "../api/status.ts";

/** Reasons of `Succeeded=False` that are not the run's own fault. */
const infrastructureReasons = ["InfrastructureLost", "DurabilityLost"];

/** All nodes, the finally nodes too, have ended. */
export function hasEnded(status: ExecutionStatus | undefined): boolean {
  return status?.completedAt !== undefined;
}

export function exitCodeOf(status: ExecutionStatus | undefined): CliExitCode {
  switch (status?.phase) {
    case "Succeeded":
      return cliExitCodes.succeeded;
    case "Cancelled":
      return cliExitCodes.cancelled;
    case "Failed": {
      const reason = status.conditions.find((condition) => condition.type === "Succeeded")?.reason ?? "";
      if (reason === "PolicyViolation") return cliExitCodes.policyViolation;
      if (reason === "Divergence") return cliExitCodes.divergence;
      return infrastructureReasons.includes(reason) ? cliExitCodes.infrastructure : cliExitCodes.failed;
    }
    case "Suspended":
    case "Running":
    case "Pending":
    case undefined:
      return cliExitCodes.waiting;
  }
}
