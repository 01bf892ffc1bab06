/** What a restart of the journal store means, from the two lives that were seen. */
import type { Condition, ExecutionStatus } from "../../api/status.ts";
import { parseTime } from "./time.ts";
import type { Seen } from "./types.ts";

/**
 * When the store was last seen to have come back from a restart that may have forgotten something; undefined = never.
 * It stays for the rest of the run. The settings of the life that ended count too: they say whether something may be gone.
 */
export function lossSeenAtMs({ store, status }: Pick<Seen, "store" | "status">, nowMs: number): number | undefined {
  const { journalRunId } = status;
  const isRestarted = journalRunId !== undefined && store.runId !== "" && store.runId !== journalRunId;
  const mayForget = !store.durable || durabilityCondition(status)?.status === "False";
  return isRestarted && mayForget ? nowMs : parseTime(status.journalLossAt);
}

export function durabilityCondition(status: ExecutionStatus): Condition | undefined {
  return status.conditions.find((each) => each.type === "CheckpointsDurable");
}
