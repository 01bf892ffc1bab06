/**
 * Records of a cluster's runs at work, as the operator's HTTP API tells them: what was read of a journal is kept, and only what is
 * new is asked for again; bodies when they are looked at. Of as many runs as the page keeps steps of.
 */
import { itemName } from "../../core/protocol/names.ts";
import type { NodeKey, StoredEntry } from "../../core/protocol/types.ts";
import type { Snapshot } from "../../core/steps/format.ts";
import { readRecord, type RunRecord } from "../../host/journals.ts";
import type { RecordStore } from "../../host/record-store.ts";
import type { StoredExecution } from "../../ports/cluster.ts";
import type { RunApi } from "../cluster/api.ts";
import { runsKept } from "./step-reader.ts";

type ApiOf = (run: StoredExecution) => RunApi;

export class LiveRecords {
  readonly #apiOf: ApiOf;
  readonly #stores = new Map<string, ApiStore>();

  constructor(apiOf: ApiOf) {
    this.#apiOf = apiOf;
  }

  /** As it is now; `snapshot` where it is known already. Throws CliError. */
  async record(run: StoredExecution, snapshot: Snapshot | undefined): Promise<RunRecord> {
    const store = this.#stores.get(run.uid) ?? new ApiStore(run.uid, this.#apiOf(run));
    this.#stores.delete(run.uid);
    this.#stores.set(run.uid, store);
    for (const old of [...this.#stores.keys()].slice(0, -runsKept)) this.#stores.delete(old);
    const record = await readRecord(store, run, snapshot);
    await store.grow(record.recorder);
    return record;
  }

  /** It has ended: its record comes from elsewhere now. */
  drop(uid: string): void {
    this.#stores.delete(uid);
  }
}

interface JournalLine extends NodeKey {
  readonly index: number;
  readonly hash: string;
  readonly bytes: string;
}

/** By itemName. */
type Journals = Map<string, StoredEntry[]>;

/** Of bytes that were changed, nothing: whoever checks the chain tells. */
function prevHashIn(bytes: string): string {
  try {
    return (JSON.parse(bytes) as { readonly prevHash?: string }).prevHash ?? "";
  } catch {
    return "";
  }
}

/** One run's record and, of the runs that it replays, what it may reuse: these have ended, so they are read once. */
class ApiStore implements RecordStore {
  readonly #uid: string;
  readonly #api: RunApi;
  readonly #journals = new Map<string, Promise<Journals>>();

  constructor(uid: string, api: RunApi) {
    this.#uid = uid;
    this.#api = api;
  }

  /** Reads what was recorded since the last time. */
  async grow(recorder: string): Promise<void> {
    const known = await this.#journals.get(recorder)?.catch(() => undefined);
    const grown = known === undefined ? this.#read(recorder) : this.#added(recorder, known);
    this.#journals.set(recorder, grown);
    await grown;
  }

  async entries(uid: string, key: NodeKey, from: number, limit: number): Promise<readonly StoredEntry[]> {
    const journals = this.#journals.get(uid) ?? this.#read(uid);
    this.#journals.set(uid, journals);
    journals.catch(() => this.#journals.delete(uid));
    return (await journals).get(itemName(key))?.slice(from, from + limit) ?? [];
  }

  /** The API looks for them in the runs that this one replays by itself. */
  async bodies(uid: string, digests: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const found = new Map<string, string>();
    if (uid !== this.#uid || digests.length === 0) return found;
    for await (const line of this.#api.lines("bodies", { digests })) {
      const { digest, bytes } = JSON.parse(line) as { digest: string; bytes: string };
      found.set(digest, bytes);
    }
    return found;
  }

  async #read(uid: string, known: Journals = new Map()): Promise<Journals> {
    const after = Object.fromEntries([...known].map(([item, { length }]) => [item, length]));
    const journals: Journals = new Map();
    for await (const line of this.#api.lines("journal", { run: uid, after })) {
      const { index, hash, bytes, ...key } = JSON.parse(line) as JournalLine;
      const entries = journals.get(itemName(key)) ?? [];
      entries.push({ index, prevHash: prevHashIn(bytes), hash, bytes });
      journals.set(itemName(key), entries);
    }
    return journals;
  }

  /** In place but for a store that was rolled back, and healed: what was read before may not be there any more. */
  async #added(uid: string, known: Journals): Promise<Journals> {
    const added = await this.#read(uid, known);
    for (const [item, entries] of added) {
      const last = known.get(item)?.at(-1);
      if (last !== undefined && entries[0]?.prevHash !== last.hash) return this.#read(uid);
    }
    for (const [item, entries] of added) {
      const before = known.get(item);
      if (before === undefined) known.set(item, entries);
      else before.push(...entries);
    }
    return known;
  }
}
