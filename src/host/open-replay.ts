/** The start of a replay: find its parent's record, take over what the replay does not say, and fix where it begins. */
import { hasCursor, modeOf, type ReplaySpec } from "../api/replay.ts";
import type { ExecutionStatus, NodeStatus } from "../api/status.ts";
import { canonicalNodeOrder } from "../core/dag/spec-graph.ts";
import { keysOfRows } from "../core/planner/needs.ts";
import type { ExecutionSpec } from "../api/types.ts";
import { emptyTraceHash } from "../core/trace/canonical.ts";
import { inOrder } from "../core/trace/journal.ts";
import { misfits } from "../core/replay/misfits.ts";
import { changedParts, inherit, isWhole } from "../core/replay/spec.ts";
import type { Cursor, ParentEnd, Replay } from "../core/replay/types.ts";
import { itemName } from "../core/protocol/names.ts";
import type { NodeKey } from "../core/protocol/types.ts";
import type { Snapshot } from "../core/steps/format.ts";
import type { StoredExecution } from "../ports/cluster.ts";
import type { JournalStore } from "../ports/store.ts";
import type { HostIo } from "./io.ts";
import { readSnapshot } from "./journals.ts";
import { Lineage } from "./lineage.ts";
import { lastTry } from "./origins.ts";
import { loadSnapshot, missingParent } from "./snapshots.ts";

export interface ResolvedReplay {
  readonly spec: ExecutionSpec;
  readonly replay: Replay;
  /** The snapshot that `replay.base` names. */
  readonly base: Snapshot | undefined;
  /** Of the run that is replayed. */
  readonly lineage: Lineage;
}

/** `refused`: why there is nothing to replay, and what to do. Throws RecordChanged, StoreUnavailable. */
export async function resolveReplay(
  run: StoredExecution,
  asked: ReplaySpec,
  io: Pick<HostIo, "journal" | "replaysAsWritten"> & { readonly cluster: Pick<HostIo["cluster"], "get"> },
): Promise<ResolvedReplay | { readonly refused: string }> {
  const { name, uid } = asked.executionRef;
  const { namespace } = run.key;
  const parent = await io.cluster.get({ namespace, name });
  const refused = (why: string) => ({ refused: `${namespace}/${name} cannot be replayed: ${why}` });
  if (parent === undefined)
    return refused("there is no Execution of this name in this namespace (a replay stays in its parent's)");
  if (uid !== undefined && uid !== parent.uid)
    return refused(`its uid is ${parent.uid}, not ${uid}: the name was given to another run`);
  const { status } = parent;
  if (status?.completedAt === undefined)
    return refused("it has not ended; wait for its end, or set its desiredState to Cancelled");
  const store = await io.journal(run);
  if (status.snapshot === undefined) return refused("it was never started, so nothing is recorded");
  const snapshot = await readSnapshot(store, parent);
  if (snapshot === undefined) return refused(await whatIsGone(parent, status.snapshot, store));
  if (snapshot.policy.recording.content === "DigestOnly")
    return refused(
      "a policy let it record digests only (recording.content: DigestOnly), so there are no answers to replay",
    );
  const origin = originOf(snapshot, parent);
  const lineage = new Lineage(store, { uid: parent.uid, digest: hexOf(status.snapshot), snapshot });
  if (origin.uid !== parent.uid && (await isOriginGone(lineage, origin.uid, status)))
    return refused(
      `the journal of ${snapshot.replay?.parent.name ?? "the run that it replays"}, which it replays, ${gone}`,
    );
  const mode = modeOf(asked);
  const own = run.object.spec;
  const isAsWritten = io.replaysAsWritten === true && mode === "Strict" && isWhole(own);
  const spec = isAsWritten ? own : inherit(snapshot.spec, own);
  const invalid = misfits(snapshot.spec, spec);
  if (invalid.length > 0)
    return refused(`what its replay changes does not fit together: ${invalid.slice(0, 5).join("; ")}`);
  const changed = changedParts(snapshot.spec, spec);
  if (mode === "Strict" && changed.length > 0 && !isAsWritten)
    return refused(
      `what was recorded is changed (${changed.join(", ")}), and a Strict replay proves that nothing has. Leave it out, or try it from a step on: --from-step N (in a manifest mode: Fork with fromStep)`,
    );
  const base = await baseOf(snapshot, parent, origin.uid, store);
  const common = {
    mode,
    parent: { uid: origin.uid, name, snapshot: hexOf(status.snapshot) },
    lineage: origin.lineage,
    isPatched: changed.length > 0,
    toolOutputs: asked.toolOutputs ?? "Recorded",
    ...(base === undefined ? {} : { base: base.digest }),
  } as const;
  if (mode === "Strict") {
    const times = asked.times === undefined ? {} : { times: asked.times };
    const end = endOf(status, snapshot);
    if (end.nodes === undefined) return refused(`how the nodes of ${snapshot.replay?.parent.name ?? ""} ended ${gone}`);
    return { spec, base: base?.snapshot, lineage, replay: { ...common, end, ...times } };
  }
  const itemCounts = Object.fromEntries(
    status.nodes.flatMap((row) => (row.itemCount === undefined ? [] : [[row.name, row.itemCount]])),
  );
  const at = new Date(run.createdAtMs).toISOString();
  const counted = { ...common, at, ...(Object.keys(itemCounts).length === 0 ? {} : { itemCounts }) };
  if (!hasCursor(asked)) return { spec, base: base?.snapshot, lineage, replay: counted };
  const cursor = await findCursor(asked, snapshot, status, origin.uid, lineage);
  return "refused" in cursor
    ? refused(cursor.refused)
    : { spec, base: base?.snapshot, lineage, replay: { ...counted, cursor } };
}

/** A replay's own journal may be there without the one that it cannot be read without. */
async function whatIsGone({ uid }: StoredExecution, digest: string, store: JournalStore): Promise<string> {
  const parent = await missingParent(store, uid, digest);
  return parent === undefined ? `its journal ${gone}` : `the journal of ${parent}, which it replays, ${gone}`;
}

const gone = "is gone: its retention (journalRetentionSeconds) is over, or it is in another store";

/** A Strict replay's own journal may be there without the one that it is all about. */
async function isOriginGone(lineage: Lineage, uid: string, { nodes, traceHash }: ExecutionStatus): Promise<boolean> {
  if (traceHash === undefined || traceHash === emptyTraceHash) return false;
  const { items } = await lineage.view(uid, keysOfRows(nodes));
  return items.every((item) => item === undefined);
}

/** A Strict replay recorded nothing of its own: its steps are its parent's. */
function originOf({ replay }: Snapshot, { uid }: StoredExecution): { uid: string; lineage: readonly string[] } {
  if (replay?.mode === "Strict") return { uid: replay.parent.uid, lineage: replay.lineage };
  return { uid, lineage: [uid, ...(replay?.lineage ?? [])] };
}

/**
 * What a replay's snapshot is stored as a change of: that of the run whose journals it reads first, since these are kept for it. A
 * Strict parent's own is not. Undefined = there is none of this kind.
 */
async function baseOf(
  snapshot: Snapshot,
  { uid, status }: StoredExecution,
  origin: string,
  store: JournalStore,
): Promise<{ readonly digest: string; readonly snapshot: Snapshot } | undefined> {
  if (snapshot.replay?.mode !== "Strict") return { digest: hexOf(status?.snapshot ?? ""), snapshot };
  const digest = snapshot.replay.base;
  const base = digest === undefined ? undefined : await loadSnapshot(store, [origin, uid], digest);
  return digest === undefined || base === undefined ? undefined : { digest, snapshot: base };
}

function endOf(status: ExecutionStatus, { spec, replay }: Snapshot): NonNullable<Replay["end"]> {
  const { reason, message } = status.conditions.find(({ type }) => type === "Succeeded") ?? { reason: "", message: "" };
  const phase = status.phase as ParentEnd["phase"];
  const traced = status.traceHash === undefined ? {} : { traceHash: status.traceHash };
  // A Strict replay that diverged ended otherwise than the run whose record it is.
  return reason === "Divergence" && replay?.end !== undefined
    ? replay.end
    : { phase, reason, message, ...traced, nodes: inCanonicalOrder(spec, status.nodes) };
}

function inCanonicalOrder(spec: ExecutionSpec, rows: readonly NodeStatus[]): readonly NodeStatus[] {
  const byName = new Map(rows.map((row) => [row.name, row]));
  return canonicalNodeOrder(spec).flatMap((name) => byName.get(name) ?? []);
}

const noSteps =
  "it has no steps, so there is none to go on from; run all of it anew as a manifest whose spec.replay has mode: Fork and no fromStep";

/** Step numbers follow from how many steps each node item has, so only the item of the cursor need be looked for. */
async function findCursor(
  { fromStep, from }: ReplaySpec,
  { spec }: Snapshot,
  status: ExecutionStatus,
  uid: string,
  lineage: Lineage,
): Promise<Cursor | { readonly refused: string }> {
  const keys = inOrder(spec, keysOfRows(status.nodes));
  const { items } = await lineage.view(uid, keys);
  let first = 1;
  const range: string[] = [];
  for (const [place, key] of keys.entries()) {
    const record = items[place];
    const { steps } = record === undefined ? { steps: 0 } : await lastTry(lineage, uid, key, record);
    const found = from === undefined ? (fromStep ?? 0) - first : isAsked(from, key) ? from.step - 1 : -1;
    if (found >= 0 && found < steps) return cursorAt(key, first + found, found);
    if (from !== undefined && from.node === key.node) range.push(`${itemName(key)} has ${steps}`);
    first += steps;
  }
  if (from === undefined)
    return {
      refused: first === 1 ? noSteps : `fromStep ${fromStep ?? 0} is out of range: it has steps 1 to ${first - 1}`,
    };
  if (range.length === 0) return { refused: `it has no recorded steps of a node ${from.node}` };
  return {
    refused: `step ${from.step} of ${from.node} is out of range: ${range.slice(0, 5).join(", ")}${from.item === undefined && range.length > 1 ? "; say which item" : ""}`,
  };
}

function isAsked({ node, item }: NonNullable<ReplaySpec["from"]>, key: NodeKey): boolean {
  return node === key.node && item === key.item;
}

function cursorAt({ node, item }: NodeKey, step: number, before: number): Cursor {
  return { step, node, ...(item === undefined ? {} : { item }), before };
}

function hexOf(digest: string): string {
  return digest.replace(/^sha256:/, "");
}
