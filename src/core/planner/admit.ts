/** Whether a run may start now: pure checks, the first that speaks is told. A run that may not waits, says why, and starts once it may. */
import type { ExecutionSpec } from "../../api/types.ts";
import { effectOf } from "../policy/checks.ts";
import type { EffectivePolicy } from "../policy/types.ts";
import type { SeenStore } from "./types.ts";

/** Of a run that has not started: the reason of its conditions. */
export interface Waiting {
  readonly reason: "StoreUnfit" | "StoreNearlyFull" | "CheckpointsNotDurable";
  readonly message: string;
}

export interface Admission {
  readonly spec: ExecutionSpec;
  readonly policy: EffectivePolicy;
  readonly store: SeenStore;
  /** Share of the store's room that is taken, 0 to 1. */
  readonly fill: number;
  /** Whether a store that drops journals, or forgets all of them at a restart, is refused. */
  readonly requireFitStore: boolean;
}

/** Beyond it the room that is left belongs to the runs that are at work. */
export const fillMax = 0.8;

/** Undefined = it may start. */
export function admit(admission: Admission): Waiting | undefined {
  for (const check of [unfit, nearlyFull, lossWindow]) {
    const waiting = check(admission);
    if (waiting !== undefined) return waiting;
  }
  return undefined;
}

function unfit({ store, requireFitStore }: Admission): Waiting | undefined {
  if (!requireFitStore || store.unfit.length === 0) return undefined;
  return { reason: "StoreUnfit", message: `the journal store loses journals as it is set: ${store.unfit.join("; ")}` };
}

function nearlyFull({ fill }: Admission): Waiting | undefined {
  if (fill < fillMax) return undefined;
  const message = `the journal store is ${Math.floor(fill * 100)} % full, from ${fillMax * 100} % on no run starts: let journals expire (journalRetentionSeconds) or give it more memory`;
  return { reason: "StoreNearlyFull", message };
}

/** J3 needs the intent of a NonIdempotent call to outlive the store's crash, else the call may be made twice. */
function lossWindow({ spec, policy, store }: Admission): Waiting | undefined {
  if (store.durable || policy.onLossWindow === "Allow") return undefined;
  const tools = (spec.tools ?? []).filter((tool) => effectOf(policy, tool) === "NonIdempotent").map(({ name }) => name);
  if (tools.length === 0) return undefined;
  const named = `${tools.slice(0, 5).join(", ")}${tools.length > 5 ? ", …" : ""}`;
  const message = `a crash of the journal store may forget a call, and ${tools.length === 1 ? "this tool is" : "these tools are"} NonIdempotent: ${named}. Set the store right (${store.reasons.join("; ")}), declare the tool's effect if a repeated call is harmless, or let a policy say onLossWindow: Allow`;
  return { reason: "CheckpointsNotDurable", message };
}
