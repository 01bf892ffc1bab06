/** The condition CheckpointsDurable: a store that may forget, or has forgotten, is never silent (J2-J4, B1). */
import type { Condition, ExecutionStatus } from "../../api/status.ts";
import type { Draft } from "./draft.ts";
import { durabilityCondition } from "./store-life.ts";
import { isoTime } from "./time.ts";

type Verdict = Omit<Condition, "lastTransitionTime" | "type">;

/** What the status remembers of the store's life. */
export function journalLife({ seen, lossAtMs }: Draft): Pick<ExecutionStatus, "journalRunId" | "journalLossAt"> {
  return {
    ...(seen.store.runId === "" ? {} : { journalRunId: seen.store.runId }),
    ...(lossAtMs === undefined ? {} : { journalLossAt: isoTime(lossAtMs) }),
  };
}

/** What is lost comes before what may be lost, and that before what a crash could still lose. */
export function durability(draft: Draft): Verdict {
  if (draft.stop?.reason === "DurabilityLost") return no("DurabilityLost", draft.stop.message);
  const row = draft.rows.find((each) => each.reason === "DurabilityLost");
  if (row !== undefined) return no("DurabilityLost", row.node.name);
  const old = durabilityCondition(draft.seen.status);
  if (old?.status === "False" && old.reason === "DurabilityLost") return old;
  const { durable, reasons } = draft.seen.store;
  const settings = reasons.join("; ");
  if (draft.lossAtMs !== undefined) {
    const gone = `the journal store was restarted, seen at ${isoTime(draft.lossAtMs)}: acknowledged steps of about the last second before that may be gone and may be made again`;
    return no("LossWindow", settings === "" ? gone : `${gone}; ${settings}`);
  }
  if (durable) return { status: "True", reason: "Durable", message: "" };
  return no("LossWindow", `a crash of the journal store may lose acknowledged steps: ${settings}`);
}

function no(reason: string, message: string): Verdict {
  return { status: "False", reason, message };
}
