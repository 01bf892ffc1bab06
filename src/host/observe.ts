/** Reads what the planner needs of one run, and no more. */
import { executionDefaults } from "../api/defaults.ts";
import type { ExecutionStatus } from "../api/status.ts";
import { sha256Hex } from "../core/digest/digest.ts";
import type { Json } from "../core/digest/json.ts";
import { expiryOf } from "../core/planner/expiry.ts";
import { itemsOfInterest, outputsNeeded, silentItems } from "../core/planner/needs.ts";
import type { OpenCall, Seen, SeenDoubt, SeenItem } from "../core/planner/types.ts";
import { itemName } from "../core/protocol/names.ts";
import type { ItemRecord, NodeKey } from "../core/protocol/types.ts";
import { textsOf, unpackBody } from "../core/steps/bodies.ts";
import type { IntentEntry } from "../core/steps/format.ts";
import { foldHistory } from "../core/steps/history.ts";
import { doubtRequest } from "../core/steps/identity.ts";
import { ChainCheck } from "../core/trace/chain-check.ts";
import type { StoredExecution } from "../ports/cluster.ts";
import type { JournalStore } from "../ports/store.ts";
import { readAnswers } from "./answers.ts";
import { plannedSpec } from "../core/replay/strict.ts";
import type { HostIo } from "./io.ts";
import { readOrigins } from "./origins.ts";
import { Lineage } from "./lineage.ts";
import { journalChanged, RecordChanged } from "./record-changed.ts";
import { bodiesOfRuns, readEntriesFrom } from "./record-store.ts";
import { loadSnapshot } from "./snapshots.ts";
import { storeLife } from "./store-life.ts";

/**
 * `status` and `digest` are those of the stored run. Workers are listed before the journal is read, so that a worker seen
 * as ended has written all it ever will. Undefined = the snapshot body is gone. Throws RecordChanged, StoreUnavailable.
 */
export async function observe(
  run: StoredExecution,
  status: ExecutionStatus,
  digest: string,
  io: HostIo,
): Promise<Seen | undefined> {
  const store = await io.journal(run);
  const snapshot = await loadSnapshot(store, [run.uid], digest, io.snapshots);
  if (snapshot === undefined) return undefined;
  const lineage = new Lineage(store, { uid: run.uid, digest, snapshot }, io.snapshots);
  const { replay } = snapshot;
  const planned = plannedSpec(snapshot);
  const workers = await io.cluster.workers(run.uid);
  const keys = itemsOfInterest(planned, status);
  const view = await lineage.view(run.uid, keys);
  const silent = new Set(silentItems(planned, status).map(itemName));
  const items = await Promise.all(
    keys.map(async (key, place): Promise<SeenItem> => {
      const record = view.items[place];
      const asks = workers.some(
        (worker) =>
          worker.exit === "waiting" && itemName(worker) === itemName(key) && worker.attempt === record?.attempt,
      );
      if (record === undefined || !(asks || silent.has(itemName(key)))) return { key, record };
      try {
        const calls = await openCalls(store, run.uid, key, record);
        return {
          key,
          record,
          overdue: silent.has(itemName(key)) ? overdueCall(calls, io) : undefined,
          doubt: asks ? doubtOf(key, calls, status) : undefined,
        };
      } catch (error) {
        if (error instanceof RecordChanged) return { key, record, changed: error.message };
        throw error;
      }
    }),
  );
  const records = new Map(items.map(({ key, record }) => [itemName(key), record]));
  const needed = outputsNeeded(planned, status, (key) => records.get(itemName(key)));
  const { outputs, changedOutputs } = await loadOutputs(store, [run.uid, ...(replay?.lineage ?? [])], needed);
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
    origins: replay?.mode === "Fork" ? await readOrigins(lineage, snapshot, replay, io) : undefined,
    snapshot: digest,
    status,
    execution: view.execution,
    items,
    workers,
    listsAll: io.cluster.listsAll,
    outputs,
    changedOutputs,
    store: await storeLife(store, io.clock.monotonicMs()),
  };
}

/** The first NonIdempotent call in doubt that nobody has decided about. */
function doubtOf(key: NodeKey, calls: readonly IntentEntry[], status: ExecutionStatus): SeenDoubt | undefined {
  const decided = new Set(
    (status.approvals ?? []).flatMap((each) => (each.decision === undefined ? [] : each.request)),
  );
  return calls
    .filter(({ effect }) => effect === "NonIdempotent")
    .map((call) => ({ request: doubtRequest(key, call), tool: call.name }))
    .find(({ request }) => !decided.has(request));
}

/** More calls than this are never open at once in one worker. */
const openCallsMax = 256;

/** What a worker that fell silent was doing, if that is past its time limit. */
function overdueCall(calls: readonly IntentEntry[], io: HostIo): OpenCall | undefined {
  const late = calls.find((call) => (call.deadlineMs ?? Number.POSITIVE_INFINITY) <= io.clock.nowMs());
  return late === undefined ? undefined : { tool: late.name, effect: late.effect };
}

/** Intents of the last entries that no result follows, in order. Throws RecordChanged: what a worker wrote there is none. */
async function openCalls(
  store: JournalStore,
  uid: string,
  key: NodeKey,
  record: ItemRecord,
): Promise<readonly IntentEntry[]> {
  const from = Math.max(0, record.length - openCallsMax);
  const stored = await readEntriesFrom(store, uid, key, from, openCallsMax);
  const check = new ChainCheck(uid, key, from === 0 ? undefined : { length: from, head: stored[0]?.prevHash ?? "" });
  const entries = stored.flatMap((each) => check.next(each) ?? []);
  if (check.broken !== undefined) throw journalChanged(key, `entry ${check.broken.index}: ${check.broken.reason}`);
  return [...foldHistory(entries, record.try).inDoubt.values()];
}

/** One that is not what was recorded, or with a part missing, is left out: the planner asked for it, so it knows that it is not there. */
async function loadOutputs(
  store: JournalStore,
  uids: readonly string[],
  digests: readonly string[],
): Promise<Required<Pick<Seen, "outputs" | "changedOutputs">>> {
  const outputs = new Map<string, Json>();
  const changedOutputs = new Set<string>();
  if (digests.length === 0) return { outputs, changedOutputs };
  const roots = await bodiesOfRuns(store, uids, digests);
  const isChanged = ([digest, bytes]: readonly [string, string]) => sha256Hex(bytes) !== digest;
  for (const root of roots) if (isChanged(root)) changedOutputs.add(root[0]);
  const held = [...roots].filter(([digest]) => !changedOutputs.has(digest));
  const texts = await bodiesOfRuns(
    store,
    uids,
    held.flatMap(([, root]) => textsOf(root)),
  );
  const changedTexts = new Set([...texts].filter(isChanged).map(([digest]) => digest));
  for (const [digest, root] of held) {
    const wanted = textsOf(root);
    if (wanted.some((text) => changedTexts.has(text))) changedOutputs.add(digest);
    if (!wanted.every((text) => texts.has(text) && !changedTexts.has(text))) continue;
    outputs.set(
      digest,
      unpackBody(root, (text) => texts.get(text) ?? ""),
    );
  }
  return { outputs, changedOutputs };
}
