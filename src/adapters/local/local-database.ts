import { DatabaseSync, type SQLInputValue } from "node:sqlite";

/** One SQLite file, open in many processes at once: a write-ahead log, waiting up to 10 s for a turn. */
export class LocalDatabase {
  readonly #database: DatabaseSync;

  /**
   * `schema` makes what is missing and may be run again. `survives` says what a commit outlives: a power cut, or only the end
   * of this process (no sync of the disk).
   */
  constructor(path: string, schema: string, survives: "PowerCut" | "ProcessEnd" = "PowerCut") {
    this.#database = new DatabaseSync(path, { timeout: 10_000 });
    const synchronous = survives === "PowerCut" ? "FULL" : "NORMAL";
    this.#database.exec(`PRAGMA journal_mode=WAL; PRAGMA synchronous=${synchronous};`);
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
