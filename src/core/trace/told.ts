/** What line 1 of a bundle says of its run, held against the snapshot and against the ends of the journals. */
import type { ManifestSpec } from "../../api/execution.ts";
import { immutableFields } from "../../api/execution-update-rules.ts";
import type { ExecutionStatus, NodeStatus } from "../../api/status.ts";
import { canonicalJson } from "../digest/digest.ts";
import type { HashPart } from "../hash/content.ts";
import { executionHash } from "../hash/execution-hash.ts";
import { itemName } from "../protocol/names.ts";
import { inherit } from "../replay/spec.ts";
import type { FinishEntry, Snapshot } from "../steps/format.ts";
import type { RecordedContent, RecordedExecution } from "./record-part.ts";

/** By itemName: how the last try of each journal ended; undefined = it has no end. */
export type RecordedEnds = ReadonlyMap<string, FinishEntry["outcome"] | undefined>;

export interface RecordProblem {
  /** `entry 3 of node rate[2]`, `body sha256:…`, `status.traceHash` */
  readonly where: string;
  readonly why: string;
}

/** A journal, of run `uid`, that reuses steps of another run's. */
export interface Reused {
  readonly name: string;
  readonly uid: string;
  readonly of: string;
}

/**
 * Where the snapshot, which the chains name, says it too: but for the run's name, which an import may change. And of which runs steps are
 * reused: those that the run replays, each of those behind it.
 */
export function untrueRun(
  { execution, content }: { readonly execution: RecordedExecution; readonly content: RecordedContent },
  { uid, policy, spec, rules, replay }: Partial<Snapshot>,
  reuses: readonly Reused[],
): RecordProblem[] {
  const { metadata, status } = execution;
  const found: RecordProblem[] = [];
  if (uid !== metadata.uid) found.push({ where: "the snapshot", why: "it is that of another run" });
  const order = [metadata.uid, ...(replay?.lineage ?? [])];
  for (const { name, uid: own, of } of reuses)
    if (order.indexOf(of) <= order.indexOf(own))
      found.push({ where: name, why: `it reuses steps of run ${of}, which is none that its run replays` });
  if ((policy?.recording.content ?? "Full") !== content)
    found.push({ where: "line 1", why: "it says another recording.content than the snapshot" });
  if (spec === undefined) return found;
  // A replay's own spec says what it changes of its parent's, and the snapshot has all of it: once more it changes nothing.
  const told: ManifestSpec = replay === undefined ? execution.spec : inherit(spec, execution.spec);
  const changed = immutableFields.filter(
    (field) => canonicalJson(told[field] ?? null) !== canonicalJson(spec[field] ?? null),
  );
  if (changed.length > 0)
    found.push({ where: "line 1, spec", why: `it is not that of the snapshot: ${changed.join(", ")}` });
  if (rules === undefined || status.executionHash === undefined) return found;
  const hash = executionHash(spec, rules);
  if (status.executionHash !== hash.executionHash)
    found.push({ where: "status.executionHash", why: `the snapshot has the hash ${hash.executionHash}` });
  for (const [part, digest] of Object.entries(status.hashParts ?? {}))
    if (digest !== hash.hashParts[part as HashPart])
      found.push({ where: `status.hashParts.${part}`, why: "it is not the hash of what the snapshot holds" });
  return found;
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
): RecordProblem[] {
  const found: RecordProblem[] = [];
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
