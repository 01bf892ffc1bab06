/** A run's record as a sequence of parts, read with bounded memory: what an export writes and a verification checks. */
import type { NodeKey, StoredEntry } from "../core/protocol/types.ts";
import { textsOf } from "../core/steps/bodies.ts";
import { readEntry } from "../core/steps/chain.ts";
import type { ItemJournal } from "../core/trace/journal.ts";
import { bodiesOfEntry, bodiesOfStatus, type RecordedExecution, type RecordPart } from "../core/trace/record-part.ts";
import { SnapshotReader } from "../core/replay/stored-snapshot.ts";
import type { RunRecord } from "./journals.ts";

/** Bodies may have megabytes each. */
const bodiesAtOnce = 16;

/**
 * Run, items in canonical order with their entries, bodies in the order in which they are first referred to, each followed by its
 * long texts: the same record gives the same parts. Only digests are held, once each. What the store does not have is left out.
 * `status` must be that of a run that has ended. Throws RecordChanged where a store cannot even read an entry.
 */
export async function* recordParts(record: RunRecord): AsyncGenerator<RecordPart, void> {
  const execution = exportedExecution(record);
  yield { kind: "run", execution, content: record.snapshot?.policy.recording.content ?? "Full" };
  const snapshots = await snapshotDigests(record);
  const roots = new Set([...snapshots, ...bodiesOfStatus(execution.status)]);
  for (const key of record.keys) {
    for await (const part of itemParts(record, key)) {
      if (part.kind === "entry") for (const digest of referredTo(part.bytes) ?? []) roots.add(digest);
      yield part;
    }
  }
  yield* bodyParts(record, [...roots], new Set(snapshots));
}

async function* itemParts(record: RunRecord, key: NodeKey): AsyncGenerator<RecordPart, void> {
  let isFirst = true;
  for await (const page of record.entries(key)) {
    if (isFirst) yield* originParts(await originOf(record, key, page));
    if (isFirst) yield { kind: "item", key, run: undefined };
    isFirst = false;
    for (const { hash, bytes } of page) yield { kind: "entry", hash, bytes };
  }
}

/** The start entry says what is reused. Of one that was tampered with, nothing: whoever checks it tells. */
async function originOf(
  record: RunRecord,
  key: NodeKey,
  [start]: readonly StoredEntry[],
): Promise<ItemJournal | undefined> {
  if (start === undefined || referredTo(start.bytes) === undefined) return undefined;
  return (await record.linked(key, [start])).origin;
}

/** The oldest run first. */
function* originParts(journal: ItemJournal | undefined): Generator<RecordPart, void> {
  if (journal === undefined) return;
  yield* originParts(journal.origin);
  const { node, item, uid, entries } = journal;
  yield { kind: "item", key: item === undefined ? { node } : { node, item }, run: uid };
  for (const { hash, bytes } of entries) yield { kind: "entry", hash, bytes };
}

/** The snapshot and what it is stored as a change of. One that cannot be read is told by whoever checks it. */
async function snapshotDigests(record: RunRecord): Promise<string[]> {
  const digests: string[] = [];
  if (record.status?.snapshot === undefined) return digests;
  const reader = new SnapshotReader(record.status.snapshot);
  while (reader.wanted !== undefined) {
    const { wanted } = reader;
    digests.push(wanted);
    const bytes = (await record.bodies([wanted])).get(wanted);
    if (bytes === undefined) break;
    try {
      reader.read(bytes);
    } catch {
      break;
    }
  }
  return digests;
}

async function* bodyParts(
  record: RunRecord,
  roots: readonly string[],
  snapshots: ReadonlySet<string>,
): AsyncGenerator<RecordPart, void> {
  const given = new Set<string>();
  for (let from = 0; from < roots.length; from += bodiesAtOnce) {
    const page = roots.slice(from, from + bodiesAtOnce);
    const found = await record.bodies(page);
    for (const root of page) {
      const bytes = found.get(root);
      if (bytes === undefined) continue;
      if (!given.has(root)) yield { kind: "body", body: { digest: root, bytes } };
      given.add(root);
      const texts = [...new Set(snapshots.has(root) ? [] : readTexts(bytes))].filter((digest) => !given.has(digest));
      for (const text of texts) {
        const textBytes = (await record.bodies([text])).get(text);
        if (textBytes === undefined) continue;
        given.add(text);
        yield { kind: "body", body: { digest: text, bytes: textBytes } };
      }
    }
  }
}

/** Undefined = the bytes are no entry. */
function referredTo(bytes: string): readonly string[] | undefined {
  try {
    return bodiesOfEntry(readEntry({ index: 0, prevHash: "", hash: "", bytes }));
  } catch {
    return undefined;
  }
}

function readTexts(bytes: string): readonly string[] {
  try {
    return textsOf(bytes);
  } catch {
    return [];
  }
}

/** Of the metadata only what says which run it is: annotations are other programs'. */
function exportedExecution({ uid, object, status }: RunRecord): RecordedExecution {
  const { name = "", namespace = "default", labels, creationTimestamp, generation } = object.metadata;
  if (status === undefined) throw new Error(`Execution ${namespace}/${name} has no status`);
  return {
    apiVersion: object.apiVersion,
    kind: object.kind,
    metadata: {
      name,
      namespace,
      uid,
      generation: typeof generation === "number" ? generation : 1,
      creationTimestamp: typeof creationTimestamp === "string" ? creationTimestamp : (status.startedAt ?? ""),
      ...(labels === undefined ? {} : { labels }),
    },
    spec: object.spec,
    status,
  };
}
