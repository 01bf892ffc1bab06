/** A Strict replay: every recorded node runs again on its record, without a call, and must come to the recorded end. */
import { setImmediate } from "node:timers/promises";
import { specGraph } from "../../core/dag/spec-graph.ts";
import type { Digest } from "../../core/digest/digest.ts";
import type { Json } from "../../core/digest/json.ts";
import { keysOfRows } from "../../core/planner/needs.ts";
import type { RecordedCall } from "../../core/replay/reused-steps.ts";
import { divergenceAt } from "../../core/replay/divergence.ts";
import type { Verdict } from "../../core/replay/strict.ts";
import { OaoError } from "../../core/errors/errors.ts";
import type { Divergence, ParentEnd, Replay } from "../../core/replay/types.ts";
import { itemName } from "../../core/protocol/names.ts";
import type { Snapshot } from "../../core/steps/format.ts";
import { canonicalLines, traceHash } from "../../core/trace/canonical.ts";
import { isTakenOver, type ItemJournal, startsOf, stepsOf } from "../../core/trace/journal.ts";
import { Lineage, readItem } from "../../host/lineage.ts";
import { graphDivergence } from "./graph.ts";
import { finishOf, type ReplayIo, replayItem } from "./replay-item.ts";

const programsMax = 5;

/**
 * Zero network: models and tools are never called. As often as `replay.times` says, on the same record: until it is done, or one time
 * goes another way than the record. Throws StoreUnavailable, OAO_DURABILITY_LOST.
 */
export async function strictReplay(snapshot: Snapshot, replay: Replay, io: ReplayIo): Promise<Verdict> {
  const { nodes } = replay.end ?? {};
  if (replay.end === undefined || nodes === undefined)
    throw new OaoError("OAO_DURABILITY_LOST", "the journal store does not have how the replayed run's nodes ended");
  const end: ParentEnd = { ...replay.end, nodes };
  const journals = await readJournals(snapshot, replay, end, io);
  const steps = journals.flatMap(stepsOf);
  const digests = outputDigests(journals, end);
  let values: ReturnType<typeof outputValues> | undefined;
  const recorded = {
    journals,
    steps,
    traceHash: traceHash(canonicalLines(steps)),
    digests,
    unasked: new Set(journals.filter(isTakenOver).map(({ node }) => node)),
    // Only asked for where every node went the recorded way.
    values: () => (values ??= outputValues(snapshot, digests, io)),
  };
  // What the parent's status says of its trace is the anchor; one that is too old says nothing.
  const expected = end.traceHash ?? recorded.traceHash;
  const recordedBy = otherPrograms(journals, io);
  for (let times = 1; ; times += 1) {
    const once = { ...(await replayOnce(snapshot, end, recorded, io)), ...recordedBy };
    const isOver = once.divergedAt !== undefined || times >= (replay.times ?? 1);
    if (once.divergedAt === undefined && once.traceHash !== expected)
      return { ...once, times, divergedAt: divergenceAt({ node: "" }, "traceHash", expected, once.traceHash) };
    if (isOver) return { ...once, times };
  }
}

/** Those that recorded any of it and are not this one. What only a host wrote names none. */
function otherPrograms(
  journals: readonly ItemJournal[],
  { version, build }: Pick<ReplayIo, "version" | "build">,
): Pick<Verdict, "recordedBy"> {
  const others = new Set<string>();
  for (const { runtime } of journals.flatMap(startsOf)) {
    if (runtime.version === "") continue;
    const name = `OAO ${runtime.version} on Node ${runtime.node}`;
    if (name !== `OAO ${version} on Node ${process.version}`) others.add(name);
    else if (runtime.build !== undefined && runtime.build !== build) others.add(`another build of OAO ${version}`);
  }
  return others.size === 0 ? {} : { recordedBy: [...others].sort().slice(0, programsMax) };
}

/** The same however often it is replayed. */
interface RecordedRun {
  readonly journals: readonly ItemJournal[];
  readonly steps: readonly RecordedCall[];
  readonly traceHash: Digest;
  /** Of outputs, by node. */
  readonly digests: ReadonlyMap<string, string>;
  /** Nodes whose work, or some of it, was not done in the recorded run. */
  readonly unasked: ReadonlySet<string>;
  /** Of those that the graph itself asks for. */
  readonly values: () => Promise<ReadonlyMap<string, { readonly output: Json }>>;
}

async function replayOnce(
  snapshot: Snapshot,
  end: ParentEnd,
  recorded: RecordedRun,
  io: ReplayIo,
): Promise<Omit<Verdict, "times">> {
  const nodes = specGraph(snapshot.spec).byName;
  const steps: RecordedCall[] = [];
  let divergedAt: Divergence | undefined;
  let firstStep = 1;
  for (const journal of recorded.journals) {
    // A record that is read already is replayed without a wait, in which no signal and no heartbeat would ever be heard.
    await setImmediate();
    io.terminate.throwIfAborted();
    const node = nodes.get(journal.node)?.spec;
    if (node === undefined) {
      divergedAt ??= divergenceAt({ node: itemName(journal), step: firstStep }, "node", journal.node, undefined);
      break;
    }
    if (isTakenOver(journal)) steps.push(...stepsOf(journal));
    else {
      const outputs = outputsOf(snapshot, node.name, recorded.digests);
      const again = await replayItem(snapshot, node, journal, firstStep, outputs, io);
      steps.push(...again.steps);
      divergedAt ??= again.divergedAt;
    }
    firstStep += stepsOf(journal).length;
    // What follows was asked for on another ground than the recorded one.
    if (divergedAt !== undefined) break;
  }
  divergedAt ??= graphDivergence(snapshot.spec, end.nodes, await recorded.values(), recorded.unasked);
  return {
    steps: steps.length,
    traceHash: isSame(steps, recorded.steps) ? recorded.traceHash : traceHash(canonicalLines(steps)),
    ...(divergedAt === undefined ? {} : { divergedAt }),
  };
}

/** Whether each step is the very one that is recorded: then so is the trace. */
function isSame(steps: readonly RecordedCall[], recorded: readonly RecordedCall[]): boolean {
  return steps.length === recorded.length && steps.every((step, place) => step === recorded[place]);
}

/** In canonical order, as the rows are. */
async function readJournals(snapshot: Snapshot, replay: Replay, end: ParentEnd, io: ReplayIo): Promise<ItemJournal[]> {
  const [uid] = replay.lineage;
  // Its own record is none: what it was opened with is not asked for.
  const lineage = new Lineage(io.store, { uid: snapshot.uid, digest: "", snapshot });
  const journals: ItemJournal[] = [];
  if (uid === undefined) return journals;
  for (const key of keysOfRows(end.nodes)) {
    const journal = await readItem(lineage, uid, key);
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
