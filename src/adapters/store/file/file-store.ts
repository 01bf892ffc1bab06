/**
 * The laptop's store: one SQLite file per run, `journals/<uid>.db`, opened by every local process.
 *
 * One command = one transaction: BEGIN IMMEDIATE, read the three records it may touch, decide, write, COMMIT with
 * synchronous=FULL. Entries are append-only (a trigger refuses anything else); records are replaced.
 */
import { existsSync, mkdirSync, rmSync, statSync, watch as watchFile } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { OaoError } from "../../../core/errors/errors.ts";
import { isUid } from "../../../core/protocol/names.ts";
import type { RestoredFigures } from "../../../core/protocol/restore.ts";
import type {
  Account,
  Command,
  ExecutionRecord,
  NodeKey,
  Reply,
  StoredBody,
  StoredEntry,
  Wake,
} from "../../../core/protocol/types.ts";
import type { Clock } from "../../../ports/clock.ts";
import type { Durability, JournalStore, JournalView } from "../../../ports/store.ts";
import { StoreFull, StoreUnavailable } from "../../../ports/store-errors.ts";
import { Journal } from "./journal-file.ts";

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
    const outcome = this.#guard(uid, () => this.#journal(uid).apply(command, this.#clock.nowMs()));
    if (outcome.wake !== undefined) this.#wake(uid, outcome.wake);
    return outcome.reply;
  }

  async view(uid: string, items: readonly NodeKey[]): Promise<JournalView> {
    const none = { execution: undefined, items: items.map(() => undefined) };
    return this.#guard(uid, () => this.#existing(uid)?.view(items) ?? none);
  }

  async nodeAccount(uid: string, node: string): Promise<Account | undefined> {
    return this.#guard(uid, () => this.#existing(uid)?.node(node));
  }

  async entries(uid: string, key: NodeKey, from: number, limit: number): Promise<readonly StoredEntry[]> {
    return this.#guard(uid, () => this.#existing(uid)?.entries(key, from, limit) ?? []);
  }

  async bodies(uid: string, digests: readonly string[]): Promise<ReadonlyMap<string, string>> {
    return this.#guard(uid, () => {
      const found = new Map<string, string>();
      for (const digest of digests) {
        const bytes = this.#existing(uid)?.body(digest);
        if (bytes !== undefined) found.set(digest, bytes);
      }
      return found;
    });
  }

  async putBodies(uid: string, bodies: readonly StoredBody[]): Promise<void> {
    this.#guard(uid, () => {
      const journal = this.#journal(uid);
      journal.transaction(() => journal.putBodies(bodies));
    });
  }

  async restoreEntries(
    uid: string,
    key: NodeKey,
    entries: readonly StoredEntry[],
    figures: RestoredFigures,
  ): Promise<void> {
    this.#guard(uid, () => this.#journal(uid).restore(uid, key, entries, figures));
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
    this.#guard(uid, () => {
      const { database } = this.#journal(uid);
      database
        .prepare("DELETE FROM bodies WHERE lower(hex(digest)) NOT IN (SELECT value FROM json_each(?))")
        .run(JSON.stringify(keep));
      database.exec("VACUUM");
    });
  }

  async keep(uid: string, _items: readonly NodeKey[], seconds: number): Promise<void> {
    this.#guard(uid, () => {
      const journal = this.#journal(uid);
      if (journal.execution() === undefined) return;
      journal.transaction(() => journal.keepUntil(this.#clock.nowMs() + seconds * 1_000));
    });
  }

  /** A file has no timers: only 0 removes it; the host calls again when the retention has passed. */
  async expire(uid: string, _items: readonly NodeKey[], seconds: number): Promise<void> {
    if (seconds > 0) return;
    if (this.#guard(uid, () => this.#journal(uid).keptUntilMs) > this.#clock.nowMs()) return;
    this.#guard(uid, () => this.#journal(uid).empty());
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

  /** For whoever only reads: a journal that is gone is not made anew by a look at it, or it would seem to be there. */
  #existing(uid: string): Journal | undefined {
    return this.#journals.has(uid) || existsSync(this.#path(uid)) ? this.#journal(uid) : undefined;
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
  #guard<T>(uid: string, work: () => T): T {
    try {
      return work();
    } catch (error) {
      const { errcode } = error as { errcode?: unknown };
      const code = typeof errcode === "number" ? errcode & 0xff : undefined;
      if (code === sqlite.full) throw new StoreFull("the disk under the journal is full", { cause: error });
      if (code === sqlite.corrupt || code === sqlite.notADatabase)
        throw new OaoError(
          "OAO_DURABILITY_LOST",
          `the journal file ${this.#path(uid)} is damaged (${(error as Error).message}): put back a copy of it, or move it away and bring the run back from a bundle: oao import FILE`,
          { cause: error },
        );
      if (code !== undefined && unavailable.has(code))
        throw new StoreUnavailable("the journal file cannot be used now", { cause: error });
      throw error;
    }
  }
}
