/** One node item's code run again on its record. */
import type { Json } from "../../core/digest/json.ts";
import { itemName } from "../../core/protocol/names.ts";
import type { NodeKey } from "../../core/protocol/types.ts";
import { divergenceAt } from "../../core/replay/divergence.ts";
import type { RecordedCall } from "../../core/replay/reused-steps.ts";
import type { Divergence } from "../../core/replay/types.ts";
import type { NodeSpec } from "../../api/types.ts";
import { packBody } from "../../core/steps/bodies.ts";
import { readEntry } from "../../core/steps/chain.ts";
import type { FinishEntry, Snapshot } from "../../core/steps/format.ts";
import { approvalDigest } from "../../core/steps/identity.ts";
import { type ItemJournal, stepsOf } from "../../core/trace/journal.ts";
import { RecordChanged } from "../../host/record-changed.ts";
import type { WorkerOrder } from "../../ports/cluster.ts";
import type { AttemptIo } from "../attempt.ts";
import { BodyReader } from "../body-reader.ts";
import { failureOf } from "../failure.ts";
import { scopeOver } from "../scope.ts";
import { evaluateNode, expressionScope, interpolated, type NodeWork } from "../work.ts";
import { DivergedError, EndOfRecord, RecordedCalls } from "./recorded-calls.ts";

export interface ItemReplay {
  /** Steps as they went this time. */
  readonly steps: readonly RecordedCall[];
  readonly divergedAt: Divergence | undefined;
}

export interface ReplayIo extends Pick<AttemptIo, "store" | "mask" | "terminate" | "log" | "version" | "build"> {
  readonly bodies: BodyReader;
}

/** Ends that come from where a node ran, not from what it is: none of these is there in a replay. */
const surroundings: ReadonlySet<string> = new Set(["MissingSecret", "SnapshotMismatch", "WorkerError", "InvalidSpec"]);

/** `outputs`: digests of the outputs that the node names, as its worker was given them. */
export async function replayItem(
  snapshot: Snapshot,
  node: NodeSpec,
  journal: ItemJournal,
  firstStep: number,
  outputs: Readonly<Record<string, string>>,
  io: ReplayIo,
): Promise<ItemReplay> {
  const finish = finishOf(journal);
  const bodies = new BodyReader(io.store, snapshot.replay?.lineage ?? [], outputsOf(journal));
  const calls = new RecordedCalls({
    name: itemName(journal),
    journal,
    firstStep,
    isComplete: finish !== undefined && !isOfSurroundings(finish, journal),
    bodies,
    mask: io.mask,
  });
  const order = orderOf(snapshot, journal, outputs);
  const ended = await runAgain(snapshot, node, order, calls, { ...io, bodies }, journal);
  const divergedAt = calls.divergence ?? calls.unasked() ?? endDivergence(journal, finish, ended, bodies);
  return { steps: calls.remade(), divergedAt: await divergedAt };
}

/** In the order in which they are handed out, so that the store is asked for many at a time. */
function outputsOf(journal: ItemJournal): readonly string[] {
  return stepsOf(journal).flatMap(({ entry }) => (entry.output === null ? [] : [entry.output.body]));
}

type Ended =
  | { readonly is: "Output"; readonly output: Json }
  | { readonly is: "Failed"; readonly error: { readonly class: string; readonly message: string } }
  /** Where the record ends, or as the run was stopped. */
  | { readonly is: "Open" };

async function runAgain(
  snapshot: Snapshot,
  node: NodeSpec,
  order: WorkerOrder,
  calls: RecordedCalls,
  io: ReplayIo,
  journal: ItemJournal,
): Promise<Ended> {
  try {
    if (node.approval !== undefined) return await askAgain(snapshot, node, order, calls, io, journal);
    const toolOf = (name: string) => {
      const spec = snapshot.spec.tools?.find((each) => each.name === name);
      if (spec === undefined) throw new DivergedError(`there is no tool ${name}`);
      return { spec };
    };
    const work = await evaluateNode({ tool: toolOf }, snapshot, node, order, io);
    return { is: "Output", output: await perform(work, calls, io) };
  } catch (error) {
    if (error instanceof EndOfRecord || error instanceof DivergedError) return { is: "Open" };
    // What was edited says nothing of how the node went.
    if (error instanceof RecordChanged) throw error;
    const failure = failureOf(error, io.mask);
    if (failure === undefined && !isStop(error)) throw error;
    return failure === undefined ? { is: "Open" } : { is: "Failed", error: failure };
  }
}

function isStop(error: unknown): boolean {
  return error instanceof Error && error.name === "StoppedError";
}

async function perform(work: NodeWork, calls: RecordedCalls, io: ReplayIo): Promise<Json> {
  const scope = scopeOver(calls);
  if (work.kind === "tool") return scope.tool(0, 0, { tool: work.tool, arguments: work.arguments });
  const [{ runAgent }, { createModel }] = await Promise.all([
    import("../../adapters/langchain/agent.ts"),
    import("../../adapters/langchain/models.ts"),
  ]);
  // It builds requests and never sends one: the scope answers first.
  const model = await createModel(work.model, { apiKey: "answers-come-from-the-record", fetch: noNetwork });
  return runAgent({ ...work, model, modelSpec: work.model, scope, signal: io.terminate });
}

function noNetwork(): Promise<never> {
  return Promise.reject(new DivergedError("a strict replay makes no call"));
}

/** Nobody is asked: what would be asked must be what was answered. */
async function askAgain(
  snapshot: Snapshot,
  node: NodeSpec,
  order: WorkerOrder,
  calls: RecordedCalls,
  io: ReplayIo,
  journal: ItemJournal,
): Promise<Ended> {
  const [recorded] = stepsOf(journal);
  if (recorded === undefined) return { is: "Open" };
  const scope = await expressionScope(snapshot, node, order, io);
  const value = await interpolated(node.approval?.message ?? "", scope);
  const message = typeof value === "string" ? value : JSON.stringify(value);
  const asked = (
    (await io.bodies.read("body" in recorded.entry.input ? recorded.entry.input.body : "")) as { message?: string }
  ).message;
  // The record holds as much of the question as is shown.
  const isSame = asked === message || (asked?.endsWith("…") === true && message.startsWith(asked.slice(0, -1)));
  const requestDigest = isSame ? recorded.entry.requestDigest : approvalDigest(message);
  const { kind, name, path, occurrence } = recorded.entry;
  await calls.tool({ kind, name, path, requestDigest, occurrence }, { arguments: { message } });
  const finish = finishOf(journal);
  if (finish?.outcome === "Failed" && finish.error !== null) return { is: "Failed", error: finish.error };
  return {
    is: "Output",
    output: recorded.entry.output === null ? null : await io.bodies.read(recorded.entry.output.body),
  };
}

/** Of the last try; undefined = its run ended first. */
export function finishOf({ entries }: ItemJournal): FinishEntry | undefined {
  const last = entries.at(-1);
  const entry = last === undefined ? undefined : readEntry(last);
  return entry?.type === "finish" ? entry : undefined;
}

/** A model that a policy refused was given no key, which is told as the policy's refusal without a step. */
function isOfSurroundings({ error }: FinishEntry, journal: ItemJournal): boolean {
  if (error === null) return false;
  return surroundings.has(error.class) || (error.class === "PolicyViolation" && stepsOf(journal).length === 0);
}

async function endDivergence(
  journal: ItemJournal,
  finish: FinishEntry | undefined,
  ended: Ended,
  bodies: BodyReader,
): Promise<Divergence | undefined> {
  const place = { node: itemName(journal) };
  if (ended.is === "Open") {
    const isOpen = finish === undefined || isOfSurroundings(finish, journal);
    return isOpen ? undefined : divergenceAt(place, "outcome", finish.outcome, undefined);
  }
  if (finish === undefined)
    return divergenceAt(place, "outcome", undefined, ended.is === "Output" ? "Succeeded" : "Failed");
  if (ended.is === "Failed") {
    if (finish.error === null) return divergenceAt(place, "error", undefined, ended.error);
    const isSame = finish.error.class === ended.error.class && finish.error.message === ended.error.message;
    return isSame || isOfSurroundings(finish, journal)
      ? undefined
      : divergenceAt(place, "error", finish.error, ended.error);
  }
  if (finish.output?.body === packBody(ended.output).digest) return undefined;
  const recorded = finish.output === null ? undefined : await bodies.read(finish.output.body);
  return divergenceAt(place, "output", recorded, ended.output);
}

function orderOf(
  { uid, namespace, name, replay }: Snapshot,
  { node, item }: NodeKey,
  outputs: Readonly<Record<string, string>>,
): WorkerOrder {
  return {
    uid,
    key: { namespace, name },
    node,
    ...(item === undefined ? {} : { item }),
    attempt: 1,
    try: 1,
    phase: "Main",
    snapshot: replay?.parent.snapshot ?? "",
    outputs,
  };
}
