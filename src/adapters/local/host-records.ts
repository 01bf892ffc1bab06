/** Who hosts which run, and which processes work for it: so that a new host can end what a killed one left behind. */
import type { Clock } from "../../ports/clock.ts";
import type { LocalDatabase } from "./local-database.ts";

export const hostSchema = `
  CREATE TABLE IF NOT EXISTS hosts (uid TEXT PRIMARY KEY, pid INTEGER NOT NULL, since_ms INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS workers (
    uid TEXT NOT NULL, node TEXT NOT NULL, item INTEGER NOT NULL, attempt INTEGER NOT NULL, pid INTEGER NOT NULL, identity TEXT NOT NULL,
    PRIMARY KEY (uid, node, item, attempt)) WITHOUT ROWID;
`;

export interface WorkerRow {
  readonly node: string;
  readonly item: number | undefined;
  readonly attempt: number;
  readonly pid: number;
  /** When the process with this pid started; see process-identity.ts. */
  readonly identity: string;
}

export class HostRecords {
  readonly #database: LocalDatabase;
  readonly #clock: Pick<Clock, "nowMs">;

  constructor(database: LocalDatabase, clock: Pick<Clock, "nowMs">) {
    this.#database = database;
    this.#clock = clock;
  }

  /** Who hosts a run now, for messages; the lock itself is run-lock.ts. */
  of(uid: string): { readonly pid: number; readonly sinceMs: number } | undefined {
    const row = this.#database.one("SELECT pid, since_ms FROM hosts WHERE uid = ?", uid) as
      | { pid: number; since_ms: number }
      | undefined;
    return row === undefined ? undefined : { pid: row.pid, sinceMs: row.since_ms };
  }

  set(uid: string, pid: number): void {
    this.#database.run(
      "INSERT INTO hosts (uid, pid, since_ms) VALUES (?, ?, ?) ON CONFLICT (uid) DO UPDATE SET pid = excluded.pid, since_ms = excluded.since_ms",
      uid,
      pid,
      this.#clock.nowMs(),
    );
  }

  clear(uid: string): void {
    this.#database.run("DELETE FROM hosts WHERE uid = ?", uid);
  }

  workers(uid: string): WorkerRow[] {
    const rows = this.#database.all(
      "SELECT node, item, attempt, pid, identity FROM workers WHERE uid = ?",
      uid,
    ) as unknown as (Omit<WorkerRow, "item"> & { item: number })[];
    return rows.map((row) => ({
      node: row.node,
      item: row.item < 0 ? undefined : row.item,
      attempt: row.attempt,
      pid: row.pid,
      identity: row.identity,
    }));
  }

  addWorker(uid: string, worker: WorkerRow): void {
    this.#database.run(
      "INSERT INTO workers (uid, node, item, attempt, pid, identity) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET pid = excluded.pid, identity = excluded.identity",
      uid,
      worker.node,
      worker.item ?? -1,
      worker.attempt,
      worker.pid,
      worker.identity,
    );
  }

  removeWorker(uid: string, worker: Pick<WorkerRow, "node" | "item" | "attempt">): void {
    this.#database.run(
      "DELETE FROM workers WHERE uid = ? AND node = ? AND item = ? AND attempt = ?",
      uid,
      worker.node,
      worker.item ?? -1,
      worker.attempt,
    );
  }
}
