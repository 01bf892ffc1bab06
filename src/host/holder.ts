/**
 * Which operator a run belongs to. Where two releases watch one namespace, each has journals of its own, so a run that both of
 * them moved would be lost. So an operator writes its name under the precondition of the object's version before anything is made
 * for the run, and every other one leaves it alone: with the finalizer (Cluster.hold), and in the first status, which stays.
 */
import type { ExecutionStatus } from "../api/status.ts";
import { initialStatus } from "../core/planner/render.ts";
import { shownSpec } from "../core/replay/spec.ts";
import type { StoredExecution } from "../ports/cluster.ts";
import type { HostIo } from "./io.ts";

/** Who holds the run, if that is another operator; a run that nobody holds may be taken. */
export function otherHolder(
  { status, heldBy }: Pick<StoredExecution, "status" | "heldBy">,
  { operator }: Pick<HostIo, "operator">,
): string | undefined {
  const holder = status?.operator ?? heldBy;
  return operator === undefined || holder === operator ? undefined : holder;
}

/** The status of a run as its holder goes on from it. */
export function held(status: ExecutionStatus, { operator }: Pick<HostIo, "operator">): ExecutionStatus {
  return operator === undefined || status.operator !== undefined ? status : { ...status, operator };
}

/** Of a run that has none; of a spec that cannot even be looked through, one without rows. */
export function freshStatus({ object, status }: StoredExecution, nowMs: number): ExecutionStatus {
  try {
    return initialStatus(shownSpec(object, status), nowMs, {});
  } catch {
    return initialStatus({ task: "", nodes: [] }, nowMs, {});
  }
}
