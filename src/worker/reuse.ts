/** What a Fork's worker answers from the record of the run that it replays, read once at its start. */
import { OaoError } from "../core/errors/errors.ts";
import type { Json } from "../core/digest/json.ts";
import { itemName } from "../core/protocol/names.ts";
import { divergenceAt, divergenceText, type Place } from "../core/replay/divergence.ts";
import { prefixLength, referenceTo } from "../core/replay/fork.ts";
import { type RecordedCall, ReusedSteps } from "../core/replay/reused-steps.ts";
import type { Divergence, Replay } from "../core/replay/types.ts";
import type { Reuse, Snapshot, StepIdentity } from "../core/steps/format.ts";
import { pathText } from "../core/steps/identity.ts";
import { stepsOf } from "../core/trace/journal.ts";
import { isRequestRef, rebuildRequest } from "../core/trace/request.ts";
import { Lineage, readItem } from "../host/lineage.ts";
import type { WorkerOrder } from "../ports/cluster.ts";
import type { StepPath } from "../ports/step.ts";
import type { JournalStore } from "../ports/store.ts";
import type { BodyReader } from "./body-reader.ts";

export interface Reused {
  readonly steps: ReusedSteps;
  /** For the start entry; undefined = no step is reused. */
  readonly reference: Reuse | undefined;
  /** Digests of recorded answers in order, to be read ahead. */
  readonly outputs: readonly string[];
  /** The error of a call in whose place another one was recorded. */
  diverged(call: RecordedCall, identity: StepIdentity, asked: Json | undefined): Promise<OaoError>;
  /** Throws OAO_DIVERGENCE when a step before the cursor, in this scope, was not asked for. */
  checkConsumed(scope: StepPath): Promise<void>;
}

/** Undefined = not a Fork, or a try after the one that it begins with: that really asks again. */
export async function readReuse(
  snapshot: Snapshot,
  order: WorkerOrder,
  store: JournalStore,
  bodies: (order: readonly string[]) => BodyReader,
): Promise<Reused | undefined> {
  const { replay, spec } = snapshot;
  if (replay?.mode !== "Fork") return undefined;
  const [parent] = replay.lineage;
  if (parent === undefined) return undefined;
  const lineage = new Lineage(store, { uid: order.uid, digest: order.snapshot, snapshot });
  const journal = await readItem(lineage, parent, order);
  const recorded = stepsOf(journal);
  const firstTry = recorded[0]?.entry.try ?? order.try;
  if (order.try !== firstTry) return undefined;
  const prefix = recorded.slice(0, prefixLength(spec, replay, order, recorded));
  const steps = new ReusedSteps({
    prefix,
    recorded: replay.toolOutputs === "Recorded" ? recorded : [],
    isPatched: replay.isPatched,
  });
  const outputs = recorded.flatMap(({ entry }) => (entry.output === null ? [] : [entry.output.body]));
  const reader = bodies([]);
  const name = itemName(order);
  return {
    steps,
    reference: prefix.length === 0 ? undefined : referenceTo(parent, prefix.length, replay),
    outputs,
    async diverged(call, identity, asked) {
      const place = { node: name, step: stepNumber(replay, call, recorded) };
      return divergence(await callDivergence(place, call, identity, asked, reader));
    },
    async checkConsumed(scope) {
      const left = steps.unconsumed(scope);
      if (left === undefined) return;
      const place = { node: name, step: stepNumber(replay, left, recorded) };
      throw divergence(divergenceAt(place, "call", callText(left.entry), undefined));
    },
  };
}

function divergence(found: Divergence): OaoError {
  return new OaoError(
    "OAO_DIVERGENCE",
    `Divergence: ${divergenceText(found)}. Steps before the cursor are only the recorded ones if they are asked for in the same way: replay from an earlier step`,
  );
}

/** The parent's step number, where the cursor says which of them begins this node item. */
function stepNumber({ cursor }: Replay, call: RecordedCall, recorded: readonly RecordedCall[]): number | undefined {
  if (cursor === undefined || cursor.node !== call.journal.node || cursor.item !== call.journal.item) return undefined;
  const place = recorded.findIndex(({ entry }) => pathText(entry.path) === pathText(call.entry.path));
  return cursor.step - cursor.before + place;
}

/** Where another call was made than the one recorded in its place: what was called, or with what. */
export async function callDivergence(
  place: Place,
  recorded: RecordedCall,
  identity: StepIdentity,
  asked: Json | undefined,
  bodies: Pick<BodyReader, "read">,
): Promise<Divergence> {
  const [before, now] = [callText(recorded.entry), callText(identity)];
  if (before !== now) return divergenceAt(place, "call", before, now);
  return divergenceAt(place, "input", await inputOf(recorded, bodies), asked);
}

/** For people. No kind has a space, so that two are the same text only if they are the same call. */
export function callText({ kind, name }: Pick<StepIdentity, "kind" | "name">): string {
  return `${kind} ${name}`;
}

/** A recorded request or a tool's arguments, as they are shown. */
async function inputOf({ entry, journal }: RecordedCall, bodies: Pick<BodyReader, "read">): Promise<Json> {
  if (!isRequestRef(entry.input)) return bodies.read(entry.input.body);
  const { header, messages } = rebuildRequest(entry.input, journal);
  const parts = await bodies.read(header);
  const texts: Json[] = [];
  for (const digest of messages) texts.push(await bodies.read(digest));
  return { ...(parts as Record<string, Json>), messages: texts };
}
