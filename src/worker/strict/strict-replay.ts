/** A Strict replay: every recorded node runs again on its record, without a call, and must come to the recorded end. */
import type { NodeSpec } from "../../api/types.ts";
import { specGraph } from "../../core/dag/spec-graph.ts";
import type { Json } from "../../core/digest/json.ts";
import { keysOfRows } from "../../core/planner/needs.ts";
import type { RecordedCall } from "../../core/replay/reused-steps.ts";
import { divergenceAt } from "../../core/replay/divergence.ts";
import type { Verdict } from "../../core/replay/strict.ts";
import type { Divergence, ParentEnd, Replay } from "../../core/replay/types.ts";
import { itemName } from "../../core/protocol/names.ts";
import type { Snapshot } from "../../core/steps/format.ts";
import { canonicalLines, traceHash } from "../../core/trace/canonical.ts";
import { inOrder, type ItemJournal, stepsOf } from "../../core/trace/journal.ts";
import { readItem } from "../../host/lineage.ts";
import { graphDivergence } from "./graph.ts";
import { finishOf, type ReplayIo, replayItem } from "./replay-item.ts";

/**
 * Zero network: models and tools are never called. As often as `replay.times` says, on the same record: until it is done, or one time
 * goes another way than the record. Throws StoreUnavailable, OAO_DURABILITY_LOST.
 */
export async function strictReplay(snapshot: Snapshot, replay: Replay, io: ReplayIo): Promise<Verdict> {
  const end: ParentEnd = replay.end ?? { phase: "Succeeded", reason: "", message: "", nodes: [] };
  const journals = inOrder(snapshot.spec, await readJournals(replay, end, io));
  const recorded = traceHash(canonicalLines(journals.flatMap(stepsOf)));
  for (let times = 1; ; times += 1) {
    const once = await replayOnce(snapshot, end, journals, io);
    const isOver = once.divergedAt !== undefined || times >= (replay.times ?? 1);
    if (once.divergedAt === undefined && once.traceHash !== recorded)
      return { ...once, times, divergedAt: divergenceAt({ node: "" }, "traceHash", recorded, once.traceHash) };
    if (isOver) return { ...once, times };
  }
}

async function replayOnce(
  snapshot: Snapshot,
  end: ParentEnd,
  journals: readonly ItemJournal[],
  io: ReplayIo,
): Promise<Omit<Verdict, "times">> {
  const digests = outputDigests(journals, end);
  const nodes = new Map<string, NodeSpec>(specGraph(snapshot.spec).nodes.map(({ name, spec }) => [name, spec]));
  const steps: RecordedCall[] = [];
  let divergedAt: Divergence | undefined;
  let firstStep = 1;
  for (const journal of journals) {
    io.terminate.throwIfAborted();
    const node = nodes.get(journal.node);
    if (node === undefined) {
      divergedAt ??= divergenceAt({ node: itemName(journal), step: firstStep }, "node", journal.node, undefined);
      break;
    }
    const again = await replayItem(snapshot, node, journal, firstStep, outputsOf(snapshot, node.name, digests), io);
    steps.push(...again.steps);
    divergedAt ??= again.divergedAt;
    firstStep += stepsOf(journal).length;
    // What follows was asked for on another ground than the recorded one.
    if (divergedAt !== undefined) break;
  }
  divergedAt ??= graphDivergence(snapshot.spec, end.nodes, await outputValues(snapshot, digests, io));
  return {
    steps: steps.length,
    traceHash: traceHash(canonicalLines(steps)),
    ...(divergedAt === undefined ? {} : { divergedAt }),
  };
}

async function readJournals({ lineage }: Replay, end: ParentEnd, io: ReplayIo): Promise<ItemJournal[]> {
  const [uid] = lineage;
  const journals: ItemJournal[] = [];
  if (uid === undefined) return journals;
  for (const key of keysOfRows(end.nodes)) {
    const journal = await readItem(io.store, uid, key);
    if (journal.entries.length > 0) journals.push(journal);
  }
  return journals;
}

/** Of every node that succeeded, as those that name it were given it. Hex. */
function outputDigests(journals: readonly ItemJournal[], { nodes }: ParentEnd): ReadonlyMap<string, string> {
  const digests = new Map<string, string>();
  for (const journal of journals) {
    const body = finishOf(journal)?.output?.body;
    if (journal.item === undefined && body !== undefined) digests.set(journal.node, body);
  }
  for (const { name, output } of nodes) if (output !== undefined) digests.set(name, output.replace(/^sha256:/, ""));
  return digests;
}

function outputsOf(
  { spec }: Snapshot,
  node: string,
  digests: ReadonlyMap<string, string>,
): Readonly<Record<string, string>> {
  const names = specGraph(spec).byName.get(node)?.inputNames ?? [];
  return Object.fromEntries(
    names.flatMap((name) => {
      const digest = digests.get(name);
      return digest === undefined ? [] : [[name, digest] as const];
    }),
  );
}

/** Those that conditions and lists of items name. */
async function outputValues(
  { spec }: Snapshot,
  digests: ReadonlyMap<string, string>,
  io: ReplayIo,
): Promise<ReadonlyMap<string, { readonly output: Json }>> {
  const names = new Set(specGraph(spec).nodes.flatMap((node) => [...node.conditionNames, ...node.itemNames]));
  const values = new Map<string, { readonly output: Json }>();
  for (const name of names) {
    const digest = digests.get(name);
    if (digest !== undefined) values.set(name, { output: await io.bodies.read(digest) });
  }
  return values;
}
