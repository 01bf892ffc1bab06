/** One run's journal as a SQLite file: its tables, and every statement on them. */
import { statSync } from "node:fs";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import type {
  Account,
  Command,
  ExecutionRecord,
  ItemRecord,
  NodeKey,
  Outcome,
  Records,
  StoredBody,
  StoredEntry,
} from "../../../core/protocol/types.ts";
import { decide } from "../../../core/protocol/decide.ts";
import { itemKey } from "../../../core/protocol/names.ts";
import { type RestoredFigures, restoreEntries } from "../../../core/protocol/restore.ts";
import type { JournalView } from "../../../ports/store.ts";

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

export class Journal {
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

  /** Milliseconds since the epoch before which the journal is not removed; 0 = at any time. */
  get keptUntilMs(): number {
    return (this.#record("kept")?.value as { untilMs: number } | undefined)?.untilMs ?? 0;
  }

  keepUntil(untilMs: number): void {
    if (untilMs > this.keptUntilMs) this.#write.run("kept", JSON.stringify({ untilMs }));
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
      this.#appendAll(item, outcome.entries);
    }
    this.putBodies(outcome.bodies);
  }

  restore(uid: string, key: NodeKey, entries: readonly StoredEntry[], figures: RestoredFigures): void {
    this.transaction(() => {
      const records = { execution: this.execution(), item: this.item(key) };
      const held = (index: number) => this.entries(key, index, 1)[0]?.hash;
      const restored = restoreEntries(uid, key, entries, figures, records, held);
      this.#write.run(`item/${itemKey(key)}`, JSON.stringify(restored.item));
      this.#appendAll(`item/${itemKey(key)}`, restored.entries);
    });
  }

  #appendAll(item: string, entries: readonly StoredEntry[]): void {
    const first = entries.length === 0 ? 0 : (this.#record(item)?.id ?? 0) * itemRange;
    for (const entry of entries) this.#append.run(first + entry.index, Buffer.from(entry.hash, "hex"), entry.bytes);
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
