/**
 * One host per run. The lock is a write transaction held open on a small SQLite file: the operating system frees it with
 * the process however that ends, so it is never stale and cannot be fooled by a reused pid.
 */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

export class RunLock {
  readonly #database: DatabaseSync;

  private constructor(database: DatabaseSync) {
    this.#database = database;
  }

  /** Undefined = another process, or another holder in this one, has it. */
  static take(home: string, uid: string): RunLock | undefined {
    mkdirSync(join(home, "locks"), { recursive: true, mode: 0o700 });
    const database = new DatabaseSync(lockPath(home, uid), { timeout: 0 });
    try {
      database.exec("PRAGMA journal_mode=MEMORY; BEGIN EXCLUSIVE");
      return new RunLock(database);
    } catch (error) {
      database.close();
      if (isBusy(error)) return undefined;
      throw error;
    }
  }

  release(): void {
    if (this.#database.isOpen) this.#database.close();
  }

  /** After the run's journal is gone. */
  static forget(home: string, uid: string): void {
    rmSync(lockPath(home, uid), { force: true });
  }
}

function lockPath(home: string, uid: string): string {
  return join(home, "locks", `${uid}.lock`);
}

function isBusy(error: unknown): boolean {
  const code = (error as { errcode?: unknown }).errcode;
  return typeof code === "number" && [5, 6].includes(code & 0xff);
}
