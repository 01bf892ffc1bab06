/** What a status says of how a run and its nodes ended, held against the ends that their journals have. */
import type { ManifestSpec } from "../../api/execution.ts";
import type { ExecutionStatus, NodeStatus } from "../../api/status.ts";
import { itemName } from "../protocol/names.ts";
import type { FinishEntry } from "../steps/format.ts";

/** By itemName: how the last try of each journal ended; undefined = it has no end. */
export type RecordedEnds = ReadonlyMap<string, FinishEntry["outcome"] | undefined>;

export interface Told {
  readonly where: string;
  readonly why: string;
}

/**
 * Only what a host cannot have had another reason for: a node may have failed without an end in its journal (its time was over, its
 * worker was lost), but none succeeds without one. `spec`: as the run was opened with; undefined where that is not known.
 */
export function untrueEnds(
  { phase, nodes, steps = 0 }: ExecutionStatus,
  spec: Pick<ManifestSpec, "finally"> | undefined,
  ends: RecordedEnds,
  recordedSteps: number,
): Told[] {
  const found: Told[] = [];
  for (const row of nodes) {
    const where = `status.nodes[${row.name}]`;
    if (row.state === "Succeeded") {
      const failed = journalsOf(row).find((name) => ends.get(name) !== "Succeeded");
      if (failed !== undefined) found.push({ where, why: `it says Succeeded, and the journal of ${failed} does not` });
    }
    if (row.state === "Skipped" && ends.has(row.name))
      found.push({ where, why: "it says Skipped, and there is a journal of it" });
  }
  if (phase !== "Succeeded") return found;
  const last = new Set((spec?.finally ?? []).map(({ name }) => name));
  const open = nodes.find((row) => !last.has(row.name) && !isDone(row));
  if (spec !== undefined && open !== undefined)
    found.push({ where: "status.phase", why: `it says Succeeded, and node ${open.name} is ${open.state}` });
  if (steps !== recordedSteps)
    found.push({ where: "status.steps", why: `it says ${steps}, and ${recordedSteps} are recorded` });
  return found;
}

function journalsOf({ name: node, itemCount }: NodeStatus): string[] {
  if (itemCount === undefined) return [node];
  return Array.from({ length: itemCount }, (_, item) => itemName({ node, item }));
}

function isDone({ state }: NodeStatus): boolean {
  return state === "Succeeded" || state === "Skipped";
}
