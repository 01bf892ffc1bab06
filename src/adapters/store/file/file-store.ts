/**
 * The laptop's store: one SQLite file per run, `journals/<uid>.db`, opened by every local process.
 *
 * One command = one transaction: BEGIN IMMEDIATE, read the three records it may touch, decide, write, COMMIT with
 * synchronous=FULL. Entries are append-only (a trigger refuses anything else); records are replaced.
 */
import { mkdirSync, rmSync, statSync, watch as watchFile } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { OaoError } from "../../../core/errors/errors.ts";
import { decide } from "../../../core/protocol/decide.ts";
import { isUid, itemKey } from "../../../core/protocol/names.ts";
import type {
  Account,
  Command,
  ExecutionRecord,
  ItemRecord,
  NodeKey,
  Outcome,
  Records,
  Reply,
  StoredBody,
  StoredEntry,
  Wake,
} from "../../../core/protocol/types.ts";
import type { Clock } from "../../../ports/clock.ts";
import type { Durability, JournalStore, JournalView } from "../../../ports/store.ts";
import { StoreFull, StoreUnavailable } from "../../../ports/store-errors.ts";

/**
 * An entry's id is its item's record id times 2^32 plus its index: appended at the end of the item's range, no index beside it.
 * Rows of about 1 KB fit into pages of 8 KB with little waste, and the sync of a page costs the same.
 */
const schema = `
  CREATE TABLE IF NOT EXISTS records (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, json TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY, hash BLOB NOT NULL, bytes TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS bodies (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, bytes TEXT NOT NULL);
`;
const triggers = `
  CREATE TRIGGER IF NOT EXISTS entries_are_final BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'journal entries are append-only'); END;
  CREATE TRIGGER IF NOT EXISTS entries_stay BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'journal entries are append-only'); END;
`;

const itemRange = 2 ** 32;

/** JSON drops what is undefined. */
const neverReplied = { reply: undefined, finished: undefined };

class Journal {
  readonly database: DatabaseSync;
  /** Which file this is, should another take its place. */
  readonly inode: number;
  readonly #begin: Readonly<Record<"IMMEDIATE" | "DEFERRED", StatementSync>>;
  readonly #commit: StatementSync;
  readonly #read: StatementSync;
  readonly #write: StatementSync;
  readonly #append: StatementSync;
  readonly #putBody: StatementSync;
  readonly #getBody: StatementSync;
  readonly #range: StatementSync;

  constructor(path: string) {
    this.database = new DatabaseSync(path, { timeout: 10_000 });
    this.database.exec("PRAGMA page_size=8192; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;");
    this.database.exec(schema + triggers);
    this.inode = statSync(path).ino;
    const prepare = (sql: string): StatementSync => this.database.prepare(sql);
    this.#begin = { IMMEDIATE: prepare("BEGIN IMMEDIATE"), DEFERRED: prepare("BEGIN DEFERRED") };
    this.#commit = prepare("COMMIT");
    this.#read = prepare("SELECT id, json FROM records WHERE name = ?");
    this.#write = prepare(
      "INSERT INTO records (name, json) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET json = excluded.json",
    );
    this.#append = prepare("INSERT INTO entries (id, hash, bytes) VALUES (?, ?, ?)");
    this.#putBody = prepare("INSERT INTO bodies (digest, bytes) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING");
    this.#getBody = prepare("SELECT bytes FROM bodies WHERE digest = ?");
    this.#range = prepare("SELECT id, hash, bytes FROM entries WHERE id >= ? AND id < ? ORDER BY id LIMIT ?");
  }

  execution(): ExecutionRecord | undefined {
    return this.#record("execution")?.value as ExecutionRecord | undefined;
  }

  node(node: string): Account | undefined {
    return this.#record(`node/${node}`)?.value as Account | undefined;
  }

  item(key: NodeKey): ItemRecord | undefined {
    const stored = this.#record(`item/${itemKey(key)}`)?.value as ItemRecord | undefined;
    return stored === undefined ? undefined : { ...neverReplied, ...stored };
  }

  /** Records that belong together, as of one moment. */
  view(items: readonly NodeKey[]): JournalView {
    return this.transaction(
      () => ({ execution: this.execution(), items: items.map((key) => this.item(key)) }),
      "DEFERRED",
    );
  }

  /** Forget everything, so that processes that still hold the file find no run in it. */
  empty(): void {
    this.transaction(() => {
      this.database.exec(
        "DROP TRIGGER entries_are_final; DROP TRIGGER entries_stay; DELETE FROM records; DELETE FROM entries; DELETE FROM bodies;",
      );
      this.database.exec(triggers);
    });
  }

  apply(command: Command, nowMs: number): Outcome {
    const key = "node" in command ? command : undefined;
    return this.transaction(() => {
      const records: Records = {
        execution: this.execution(),
        node: key === undefined ? undefined : this.node(key.node),
        item: key === undefined ? undefined : this.item(key),
      };
      const outcome = decide(records, command, nowMs);
      this.#writeOutcome(records, outcome, key);
      return outcome;
    });
  }

  #writeOutcome(before: Records, outcome: Outcome, key: NodeKey | undefined): void {
    const after = outcome.records;
    if (after === undefined) return;
    if (after.execution !== before.execution) this.#write.run("execution", JSON.stringify(after.execution));
    if (key !== undefined) {
      const item = `item/${itemKey(key)}`;
      if (after.node !== undefined && after.node !== before.node)
        this.#write.run(`node/${key.node}`, JSON.stringify(after.node));
      if (after.item !== undefined && after.item !== before.item) this.#write.run(item, JSON.stringify(after.item));
      const first = outcome.entries.length === 0 ? 0 : (this.#record(item)?.id ?? 0) * itemRange;
      for (const entry of outcome.entries)
        this.#append.run(first + entry.index, Buffer.from(entry.hash, "hex"), entry.bytes);
    }
    this.putBodies(outcome.bodies);
  }

  putBodies(bodies: readonly StoredBody[]): void {
    for (const body of bodies) this.#putBody.run(Buffer.from(body.digest, "hex"), body.bytes);
  }

  body(digest: string): string | undefined {
    return (this.#getBody.get(Buffer.from(digest, "hex")) as { bytes: string } | undefined)?.bytes;
  }

  /** The entry before the first one is read along, for its hash; the very first entry's own bytes name the genesis hash. */
  entries(key: NodeKey, from: number, limit: number): StoredEntry[] {
    const record = this.#record(`item/${itemKey(key)}`);
    if (record === undefined || limit <= 0) return [];
    const first = record.id * itemRange;
    const before = from === 0 ? 0 : 1;
    const rows = this.#range.all(first + from - before, first + itemRange, limit + before) as {
      id: number;
      hash: Uint8Array;
      bytes: string;
    }[];
    let prevHash = before === 0 ? undefined : hexOf(rows.shift()?.hash);
    return rows.map((row) => {
      const hash = hexOf(row.hash);
      const entry = {
        index: row.id - first,
        prevHash: prevHash ?? (JSON.parse(row.bytes) as { prevHash: string }).prevHash,
        hash,
        bytes: row.bytes,
      };
      prevHash = hash;
      return entry;
    });
  }

  transaction<T>(work: () => T, mode: "IMMEDIATE" | "DEFERRED" = "IMMEDIATE"): T {
    this.#begin[mode].run();
    try {
      const result = work();
      this.#commit.run();
      return result;
    } catch (error) {
      if (this.database.isTransaction) this.database.exec("ROLLBACK");
      throw error;
    }
  }

  #record(name: string): { readonly id: number; readonly value: unknown } | undefined {
    const row = this.#read.get(name) as { id: number; json: string } | undefined;
    return row === undefined ? undefined : { id: row.id, value: JSON.parse(row.json) };
  }
}

function hexOf(bytes: Uint8Array | undefined): string {
  return Buffer.from(bytes ?? []).toString("hex");
}

/** Result codes, https://sqlite.org/rescode.html. */
const sqlite = { busy: 5, locked: 6, ioError: 10, corrupt: 11, full: 13, cannotOpen: 14, notADatabase: 26 } as const;
const unavailable: ReadonlySet<number> = new Set([sqlite.busy, sqlite.locked, sqlite.ioError, sqlite.cannotOpen]);

/** Undefined when the file is closed or busy: a notice may be missed. */
function executionNow(journal: Journal): ExecutionRecord | undefined {
  if (!journal.database.isOpen) return undefined;
  try {
    return journal.execution();
  } catch {
    return undefined;
  }
}

export class FileStore implements JournalStore {
  readonly #directory: string;
  readonly #clock: Pick<Clock, "nowMs">;
  readonly #journals = new Map<string, Journal>();
  readonly #listeners = new Map<string, Set<(wake: Wake) => void>>();

  /** `directory` holds one database per run; it is made when missing. */
  constructor(directory: string, clock: Pick<Clock, "nowMs">) {
    this.#directory = directory;
    this.#clock = clock;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  }

  async execute(uid: string, command: Command): Promise<Reply> {
    if (command.op === "open") this.#closeReplaced(uid);
    const outcome = this.#guard(() => this.#journal(uid).apply(command, this.#clock.nowMs()));
    if (outcome.wake !== undefined) this.#wake(uid, outcome.wake);
    return outcome.reply;
  }

  async view(uid: string, items: readonly NodeKey[]): Promise<JournalView> {
    return this.#guard(() => this.#journal(uid).view(items));
  }

  async nodeAccount(uid: string, node: string): Promise<Account | undefined> {
    return this.#guard(() => this.#journal(uid).node(node));
  }

  async entries(uid: string, key: NodeKey, from: number, limit: number): Promise<readonly StoredEntry[]> {
    return this.#guard(() => this.#journal(uid).entries(key, from, limit));
  }

  async bodies(uid: string, digests: readonly string[]): Promise<ReadonlyMap<string, string>> {
    return this.#guard(() => {
      const found = new Map<string, string>();
      for (const digest of digests) {
        const bytes = this.#journal(uid).body(digest);
        if (bytes !== undefined) found.set(digest, bytes);
      }
      return found;
    });
  }

  async putBodies(uid: string, bodies: readonly StoredBody[]): Promise<void> {
    this.#guard(() => {
      const journal = this.#journal(uid);
      journal.transaction(() => journal.putBodies(bodies));
    });
  }

  /**
   * Other processes' changes are seen by the file's own change notices: lossy, as the port allows. A notice says only
   * that something was written; the execution record tells what, so that heartbeats wake nobody but hosts.
   */
  async watch(uid: string, listener: (wake: Wake) => void): Promise<() => Promise<void>> {
    const journal = this.#journal(uid);
    const listeners = this.#listeners.get(uid) ?? new Set();
    listeners.add(listener);
    this.#listeners.set(uid, listeners);
    let seen = journal.execution();
    const wal = watchFile(`${this.#path(uid)}-wal`, { persistent: false }, () => {
      const now = executionNow(journal);
      if (now === undefined) return;
      const wake =
        now.control.revision !== seen?.control.revision
          ? "control"
          : isDeepStrictEqual(now.account, seen?.account)
            ? "progress"
            : "settled";
      seen = now;
      listener(wake);
    });
    wal.on("error", () => undefined);
    return async () => {
      listeners.delete(listener);
      wal.close();
    };
  }

  async dropBodies(uid: string, keep: readonly string[]): Promise<void> {
    this.#guard(() => {
      const { database } = this.#journal(uid);
      database
        .prepare("DELETE FROM bodies WHERE lower(hex(digest)) NOT IN (SELECT value FROM json_each(?))")
        .run(JSON.stringify(keep));
      database.exec("VACUUM");
    });
  }

  /** A file has no timers: only 0 removes it; the host calls again when the retention has passed. */
  async expire(uid: string, _items: readonly NodeKey[], seconds: number): Promise<void> {
    if (seconds > 0) return;
    this.#guard(() => this.#journal(uid).empty());
    this.#journals.get(uid)?.database.close();
    this.#journals.delete(uid);
    for (const suffix of ["", "-wal", "-shm"]) rmSync(this.#path(uid) + suffix, { force: true });
  }

  /** A file cannot be restarted behind our back; its inode tells whether it was replaced. */
  async runId(): Promise<string> {
    return `file:${statSync(this.#directory).ino}`;
  }

  /** synchronous=FULL: what was committed is on the disk. */
  async durability(): Promise<Durability> {
    return { durable: true, reasons: [], unfit: [] };
  }

  async fill(): Promise<number> {
    return 0;
  }

  async close(): Promise<void> {
    for (const journal of this.#journals.values()) journal.database.close();
    this.#journals.clear();
    this.#listeners.clear();
  }

  #journal(uid: string): Journal {
    const found = this.#journals.get(uid);
    if (found !== undefined) return found;
    const journal = new Journal(this.#path(uid));
    this.#journals.set(uid, journal);
    return journal;
  }

  /** A run's file may have been removed and made anew while this process still held the old one. */
  #closeReplaced(uid: string): void {
    const held = this.#journals.get(uid);
    if (held === undefined || held.inode === statSync(this.#path(uid), { throwIfNoEntry: false })?.ino) return;
    held.database.close();
    this.#journals.delete(uid);
  }

  #path(uid: string): string {
    if (!isUid(uid)) throw new OaoError("OAO_PROTOCOL", `not a run's uid: ${JSON.stringify(uid.slice(0, 80))}`);
    return join(this.#directory, `${uid}.db`);
  }

  #wake(uid: string, wake: Wake): void {
    for (const listener of this.#listeners.get(uid) ?? []) queueMicrotask(() => listener(wake));
  }

  /** SQLITE_BUSY and I/O errors leave nothing applied or nothing known; both are safe to send again. */
  #guard<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      const { errcode } = error as { errcode?: unknown };
      const code = typeof errcode === "number" ? errcode & 0xff : undefined;
      if (code === sqlite.full) throw new StoreFull("the disk under the journal is full", { cause: error });
      if (code === sqlite.corrupt || code === sqlite.notADatabase)
        throw new OaoError("OAO_DURABILITY_LOST", "the journal file is damaged", { cause: error });
      if (code !== undefined && unavailable.has(code))
        throw new StoreUnavailable("the journal file cannot be used now", { cause: error });
      throw error;
    }
  }
}
