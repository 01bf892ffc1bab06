import { DatabaseSync, type SQLInputValue } from "node:sqlite";

/** One SQLite file, open in many processes at once: a write-ahead log, durable at each commit, waiting up to 10 s for a turn. */
export class LocalDatabase {
  readonly #database: DatabaseSync;

  /** `schema` makes what is missing and may be run again. */
  constructor(path: string, schema: string) {
    this.#database = new DatabaseSync(path, { timeout: 10_000 });
    this.#database.exec("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;");
    // Only the first process of a folder writes here; the others do not wait for each other.
    if (this.one("SELECT name FROM sqlite_master LIMIT 1") === undefined)
      this.transaction(() => this.#database.exec(schema));
  }

  one(sql: string, ...values: SQLInputValue[]): unknown {
    return this.#database.prepare(sql).get(...values);
  }

  all(sql: string, ...values: SQLInputValue[]): unknown[] {
    return this.#database.prepare(sql).all(...values);
  }

  /** Number of rows changed. */
  run(sql: string, ...values: SQLInputValue[]): number {
    return Number(this.#database.prepare(sql).run(...values).changes);
  }

  transaction<T>(work: () => T): T {
    this.#database.exec("BEGIN IMMEDIATE");
    try {
      const result = work();
      this.#database.exec("COMMIT");
      return result;
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
      throw error;
    }
  }

  close(): void {
    if (this.#database.isOpen) this.#database.close();
  }
}
