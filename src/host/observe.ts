/** Reads what the planner needs of one run, and no more. */
import { executionDefaults } from "../api/defaults.ts";
import type { ExecutionStatus } from "../api/status.ts";
import { sha256Hex } from "../core/digest/digest.ts";
import type { Json } from "../core/digest/json.ts";
import { expiryOf } from "../core/planner/expiry.ts";
import { itemsOfInterest, outputsNeeded, silentItems } from "../core/planner/needs.ts";
import type { OpenCall, Seen, SeenDoubt } from "../core/planner/types.ts";
import { itemName } from "../core/protocol/names.ts";
import type { ItemRecord, NodeKey } from "../core/protocol/types.ts";
import { textsOf, unpackBody } from "../core/steps/bodies.ts";
import { readEntry } from "../core/steps/chain.ts";
import type { IntentEntry, Snapshot } from "../core/steps/format.ts";
import { foldHistory } from "../core/steps/history.ts";
import { doubtRequest } from "../core/steps/identity.ts";
import type { StoredExecution } from "../ports/cluster.ts";
import type { JournalStore } from "../ports/store.ts";
import { readAnswers } from "./answers.ts";
import { plannedSpec } from "../core/replay/strict.ts";
import type { HostIo } from "./io.ts";
import { readOrigins } from "./origins.ts";
import { bodiesOfRuns } from "./lineage.ts";
import { storeLife } from "./store-life.ts";

/**
 * `status` and `digest` are those of the stored run. Workers are listed before the journal is read, so that a worker seen
 * as ended has written all it ever will. Undefined = the snapshot body is gone. Throws StoreUnavailable.
 */
export async function observe(
  run: StoredExecution,
  status: ExecutionStatus,
  digest: string,
  io: HostIo,
): Promise<Seen | undefined> {
  const store = await io.journal(run);
  const snapshot = io.snapshots.get(digest) ?? (await loadSnapshot(store, run.uid, digest));
  if (snapshot === undefined) return undefined;
  io.snapshots.set(digest, snapshot);
  const { replay } = snapshot;
  const planned = plannedSpec(snapshot);
  const workers = await io.cluster.workers(run.uid);
  const keys = itemsOfInterest(planned, status);
  const view = await store.view(run.uid, keys);
  const overdue = new Map<string, OpenCall | undefined>();
  for (const key of silentItems(planned, status)) {
    overdue.set(
      itemName(key),
      await overdueCall(
        store,
        run.uid,
        key,
        view.items[keys.findIndex((each) => itemName(each) === itemName(key))],
        io,
      ),
    );
  }
  const doubts = new Map<string, SeenDoubt | undefined>();
  for (const worker of workers) {
    if (worker.exit !== "waiting") continue;
    const place = keys.findIndex((each) => itemName(each) === itemName(worker));
    if (place >= 0 && view.items[place]?.attempt === worker.attempt)
      doubts.set(itemName(worker), await doubtOf(store, run.uid, worker, view.items[place], status));
  }
  const items = keys.map((key, place) => ({
    key,
    record: view.items[place],
    overdue: overdue.get(itemName(key)),
    doubt: doubts.get(itemName(key)),
  }));
  const records = new Map(items.map(({ key, record }) => [itemName(key), record]));
  const needed = outputsNeeded(planned, status, (key) => records.get(itemName(key)));
  const outputs = await loadOutputs(store, [run.uid, ...(replay?.lineage ?? [])], needed);
  const { spec } = run.object;
  return {
    run: {
      uid: run.uid,
      namespace: run.key.namespace,
      name: run.key.name,
      generation: run.generation,
      desiredState: spec.desiredState ?? "Running",
      answers: await readAnswers(run, status, io),
      keptBy: expiryOf(run.object, 0)?.keptBy,
      journalRetentionSeconds: spec.journalRetentionSeconds ?? executionDefaults.journalRetentionSeconds,
    },
    spec: planned,
    policy: snapshot.policy,
    replay,
    origins: replay?.mode === "Fork" ? await readOrigins(store, snapshot, replay, status, io) : undefined,
    snapshot: digest,
    status,
    execution: view.execution,
    items,
    workers,
    listsAll: io.cluster.listsAll,
    outputs,
    store: await storeLife(store, io.clock.monotonicMs()),
  };
}

/** What the run was opened with; undefined = the store does not have it (any more). Throws StoreUnavailable. */
export async function loadSnapshot(store: JournalStore, uid: string, digest: string): Promise<Snapshot | undefined> {
  const bytes = (await store.bodies(uid, [digest])).get(digest);
  if (bytes === undefined || sha256Hex(bytes) !== digest) return undefined;
  return JSON.parse(bytes) as Snapshot;
}

/** The first NonIdempotent call in doubt that nobody has decided about. */
async function doubtOf(
  store: JournalStore,
  uid: string,
  { node, item }: NodeKey,
  record: ItemRecord | undefined,
  status: ExecutionStatus,
): Promise<SeenDoubt | undefined> {
  const key = item === undefined ? { node } : { node, item };
  const decided = new Set(
    (status.approvals ?? []).flatMap((each) => (each.decision === undefined ? [] : each.request)),
  );
  return (await openCalls(store, uid, key, record))
    .filter(({ effect }) => effect === "NonIdempotent")
    .map((call) => ({ request: doubtRequest(key, call), tool: call.name }))
    .find(({ request }) => !decided.has(request));
}

/** More calls than this are never open at once in one worker. */
const openCallsMax = 256;

/** What a worker that fell silent was doing, if that is past its time limit. */
async function overdueCall(
  store: JournalStore,
  uid: string,
  key: NodeKey,
  record: ItemRecord | undefined,
  io: HostIo,
): Promise<OpenCall | undefined> {
  const calls = await openCalls(store, uid, key, record);
  const late = calls.find((call) => (call.deadlineMs ?? Number.POSITIVE_INFINITY) <= io.clock.nowMs());
  return late === undefined ? undefined : { tool: late.name, effect: late.effect };
}

/** Intents of the last entries that no result follows, in order. */
async function openCalls(
  store: JournalStore,
  uid: string,
  key: NodeKey,
  record: ItemRecord | undefined,
): Promise<readonly IntentEntry[]> {
  if (record === undefined) return [];
  const from = Math.max(0, record.length - openCallsMax);
  const entries = await store.entries(uid, key, from, openCallsMax);
  return [...foldHistory(entries.map(readEntry), record.try).inDoubt.values()];
}

/** A body that is not what was recorded, or with a part missing, is left out: the planner asked for it, so it knows that it is gone. */
async function loadOutputs(
  store: JournalStore,
  uids: readonly string[],
  digests: readonly string[],
): Promise<ReadonlyMap<string, Json>> {
  const outputs = new Map<string, Json>();
  if (digests.length === 0) return outputs;
  const roots = unchanged(await bodiesOfRuns(store, uids, digests));
  const texts = unchanged(await bodiesOfRuns(store, uids, [...roots.values()].flatMap(textsOf)));
  for (const [digest, root] of roots) {
    if (!textsOf(root).every((text) => texts.has(text))) continue;
    outputs.set(
      digest,
      unpackBody(root, (text) => texts.get(text) ?? ""),
    );
  }
  return outputs;
}

function unchanged(bodies: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  return new Map([...bodies].filter(([digest, bytes]) => sha256Hex(bytes) === digest));
}
