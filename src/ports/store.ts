/** The journal store. Three implementations (memory, file, redis) pass one conformance suite and agree with core/protocol command by command. */
import type { RestoredFigures } from "../core/protocol/restore.ts";
import type {
  Account,
  Command,
  ExecutionRecord,
  ItemRecord,
  NodeKey,
  Reply,
  StoredBody,
  StoredEntry,
  Wake,
} from "../core/protocol/types.ts";

/** What a host reads of one run; only the items it asked for. */
export interface JournalView {
  readonly execution: ExecutionRecord | undefined;
  /** Same order as asked; undefined = never claimed. */
  readonly items: readonly (ItemRecord | undefined)[];
}

/** Whether a store keeps what it acknowledged through a crash of its own (J2-J4, B1): the condition CheckpointsDurable. */
export interface Durability {
  /** False also when it cannot be known; `reasons` says so. */
  readonly durable: boolean;
  /** For people: each names a setting, what it is and what it must be. Empty when durable. */
  readonly reasons: readonly string[];
  /** Those among them with which no crash is needed to lose journals: eviction, or nothing on disk. */
  readonly unfit: readonly string[];
}

export interface JournalStore {
  /**
   * Apply one command in one transaction; `now` is the store's own clock.
   * Repeat: a command with the same sequence and digest gives its first reply (J6).
   * Throws: StoreUnavailable (nothing known about the effect: send the same command again), StoreFull (nothing applied).
   * Source: core/protocol/decide.ts; adapters/store/redis/scripts/*.lua.
   */
  execute(uid: string, command: Command): Promise<Reply>;
  /** Current records of the execution and of the items asked for. Throws: StoreUnavailable. */
  view(uid: string, items: readonly NodeKey[]): Promise<JournalView>;
  /** A node's account; undefined before its first claim. */
  nodeAccount(uid: string, node: string): Promise<Account | undefined>;
  /** Up to `limit` entries from index `from`, in order. */
  entries(uid: string, key: NodeKey, from: number, limit: number): Promise<readonly StoredEntry[]>;
  /** Bodies by digest; a missing one is absent from the map. */
  bodies(uid: string, digests: readonly string[]): Promise<ReadonlyMap<string, string>>;
  /** Store bodies that no entry names yet (the snapshot). Repeat: no-op. */
  putBodies(uid: string, bodies: readonly StoredBody[]): Promise<void>;
  /**
   * Put entries of a run that has ended elsewhere into an item's journal as they are: same bytes, same hashes, in order, in parts.
   * The run is not opened by this, so no command is admitted for it.
   * Repeat: entries that are there are compared and skipped. Throws OAO_PROTOCOL, and changes nothing, for a run that was opened here, a
   * gap, and an entry that differs from the one that is there.
   * Source: core/protocol/restore.ts; adapters/store/redis/scripts/restore.lua.
   */
  restoreEntries(uid: string, key: NodeKey, entries: readonly StoredEntry[], figures: RestoredFigures): Promise<void>;
  /** Wake-ups, lossy by contract: `listener` may miss some and get some too many, also "control" after a reconnect. Returns an unsubscribe function. */
  watch(uid: string, listener: (wake: Wake) => void): Promise<() => Promise<void>>;
  /** DigestOnly: drop every body but `keep`. */
  dropBodies(uid: string, keep: readonly string[]): Promise<void>;
  /**
   * The journal is needed for `seconds` from now, for a run that replays it: it expires no sooner, whatever `expire` is asked before or
   * after. Repeat: never shortens. No-op for a run that is not there. Source: adapters/store/redis/scripts/keep.lua.
   */
  keep(uid: string, items: readonly NodeKey[], seconds: number): Promise<void>;
  /** Let the whole journal of the named items vanish after `seconds` (0 = now), but for `keep`. Repeat: sets the time anew. */
  expire(uid: string, items: readonly NodeKey[], seconds: number): Promise<void>;
  /** Identity of the store's current life: a changed value means a restart, so possibly lost writes. "" = it may not be asked for. */
  runId(): Promise<string>;
  /** Settings of the current life: to be asked once per `runId`. Throws: StoreUnavailable. */
  durability(): Promise<Durability>;
  /** Share of its room that is taken, 0 to 1; 0 = it has no limit, or does not say. Throws: StoreUnavailable. */
  fill(): Promise<number>;
  close(): Promise<void>;
}
