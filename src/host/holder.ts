/**
 * Which operator a run belongs to. Where two releases watch one namespace, each has journals of its own, so a run that both of
 * them moved would be lost: the first one's name is written into the status before anything is made for the run, under the
 * precondition of its version, and every other one leaves the run alone.
 */
import { initialStatus } from "../core/planner/render.ts";
import { shownSpec } from "../core/replay/spec.ts";
import type { StoredExecution } from "../ports/cluster.ts";
import type { HostIo } from "./io.ts";

/** Who holds the run, if that is another operator; a run that nobody holds may be taken. */
export function otherHolder({ status }: StoredExecution, { operator }: Pick<HostIo, "operator">): string | undefined {
  return operator === undefined || status?.operator === operator ? undefined : status?.operator;
}

/** The run as it is held from now on; on a laptop as it is. Throws Conflict when another one came first. */
export async function claim(run: StoredExecution, io: HostIo): Promise<StoredExecution> {
  const { operator } = io;
  if (operator === undefined || run.status?.operator !== undefined) return run;
  const status = { ...(run.status ?? freshStatus(run, io.clock.nowMs())), operator };
  return { ...run, status, resourceVersion: await io.cluster.writeStatus(run, status) };
}

/** Of a spec that cannot even be looked through, a status without rows. */
export function freshStatus({ object, status }: StoredExecution, nowMs: number) {
  try {
    return initialStatus(shownSpec(object, status), nowMs, {});
  } catch {
    return initialStatus({ task: "", nodes: [] }, nowMs, {});
  }
}
