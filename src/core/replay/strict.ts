/**
 * A Strict replay is one worker that runs the code of every recorded node again, answers each of its calls from the record and
 * compares how it went: to the planner it is a run of one node, with no call to make and nothing to wait for.
 */
import type { ExecutionSpec } from "../../api/types.ts";
import type { Snapshot } from "../steps/format.ts";
import type { Divergence } from "./types.ts";

export const strictNode = "replay";

/** Its node's output. */
export interface Verdict {
  /** How many steps were answered from the record, each time. */
  readonly steps: number;
  /** How often it was replayed: as often as asked for, or until it went another way. */
  readonly times: number;
  /** Of what was replayed; the parent's own where nothing diverged. */
  readonly traceHash: string;
  readonly divergedAt?: Divergence;
  /** For people: which other programs the record was made by. That is no divergence. */
  readonly recordedBy?: readonly string[];
}

const planned = new WeakMap<Snapshot, ExecutionSpec>();

/** What planner and hosts run of a snapshot: its spec, but for a Strict replay. One object per snapshot. */
export function plannedSpec(snapshot: Snapshot): ExecutionSpec {
  if (snapshot.replay?.mode !== "Strict") return snapshot.spec;
  const held = planned.get(snapshot);
  if (held !== undefined) return held;
  const { task, activeDeadlineSeconds } = snapshot.spec;
  const made: ExecutionSpec = {
    task,
    ...(activeDeadlineSeconds === undefined ? {} : { activeDeadlineSeconds }),
    nodes: [{ name: strictNode }],
  };
  planned.set(snapshot, made);
  return made;
}
