/**
 * Objects of a laptop: executions with their status, and policies, in one SQLite file that every local process opens.
 *
 * Write-ahead log with synchronous=FULL: a status that was written is there after a power cut. Each change takes the next
 * number of one sequence, which is the object's resourceVersion and tells other processes what is new.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { DesiredState, Execution } from "../../api/execution.ts";
import type { ExecutionStatus } from "../../api/status.ts";
import type { Clock } from "../../ports/clock.ts";
import type { ObjectKey, StoredExecution } from "../../ports/cluster.ts";
import { Conflict } from "../../ports/cluster-errors.ts";
import { HostRecords, hostSchema } from "./host-records.ts";
import { LocalDatabase } from "./local-database.ts";
import { LocalPolicies, policySchema } from "./local-policies.ts";
import { asRun, type Held, type LocalRun, type Row, type RunPlace } from "./local-run.ts";

const schema = `
  CREATE TABLE IF NOT EXISTS sequence (id INTEGER PRIMARY KEY CHECK (id = 1), value INTEGER NOT NULL) WITHOUT ROWID;
  INSERT INTO sequence (id, value) VALUES (1, 0) ON CONFLICT DO NOTHING;
  CREATE TABLE IF NOT EXISTS executions (
    namespace TEXT NOT NULL, name TEXT NOT NULL, uid TEXT NOT NULL UNIQUE, version INTEGER NOT NULL, generation INTEGER NOT NULL,
    created_ms INTEGER NOT NULL, object TEXT NOT NULL, status TEXT, base_dir TEXT NOT NULL, store TEXT NOT NULL,
    expires_ms INTEGER, PRIMARY KEY (namespace, name)) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS executions_version ON executions (version);
  CREATE INDEX IF NOT EXISTS executions_expiry ON executions (expires_ms) WHERE expires_ms IS NOT NULL;
${policySchema}
${hostSchema}
`;

/** A name that is taken: the caller decides whether that is a resume. */
export class AlreadyExists extends Error {
  override readonly name = "AlreadyExists";
  readonly existing: LocalRun;
  constructor(existing: LocalRun) {
    super(`Execution ${existing.key.namespace}/${existing.key.name} exists`);
    this.existing = existing;
  }
}

export class LocalIndex {
  readonly home: string;
  readonly hosts: HostRecords;
  readonly policies: LocalPolicies;
  readonly #database: LocalDatabase;
  /** Processes end with a power cut, so what is noted of them need not outlive one. */
  readonly #processes: LocalDatabase;
  /** The run that was last read: hosts look at one again and again, and a large one takes long to parse. */
  #latest: Held | undefined;
  readonly #clock: Pick<Clock, "nowMs" | "uuid">;

  /** `home` is the folder `.oao`; it is made when missing, readable by its owner only. */
  constructor(home: string, clock: Pick<Clock, "nowMs" | "uuid">) {
    mkdirSync(home, { recursive: true, mode: 0o700 });
    this.home = home;
    this.#clock = clock;
    this.#database = new LocalDatabase(join(home, "index.db"), schema);
    this.#processes = new LocalDatabase(join(home, "index.db"), schema, "ProcessEnd");
    this.hosts = new HostRecords(this.#processes, clock);
    this.policies = new LocalPolicies(this.#database);
  }

  /** The file whose changes tell that some process wrote. */
  get changesFile(): string {
    return join(this.home, "index.db-wal");
  }

  get(key: ObjectKey): LocalRun | undefined {
    const where = "FROM executions WHERE namespace = ? AND name = ?";
    const head = this.#database.one(`SELECT uid, version ${where}`, key.namespace, key.name) as Row | undefined;
    const held = this.#latest;
    if (held !== undefined && held.run.uid === head?.uid && held.run.resourceVersion === String(head.version))
      return held.run;
    const found = this.#database.one(`SELECT * ${where}`, key.namespace, key.name) as Row | undefined;
    const run = asRun(found, held);
    if (found !== undefined && run !== undefined) this.#latest = { run, object: found.object };
    return run;
  }

  byUid(uid: string): LocalRun | undefined {
    return asRun(this.#database.one("SELECT * FROM executions WHERE uid = ?", uid));
  }

  /** Newest first. */
  list(options: { namespace?: string | undefined; limit: number }): LocalRun[] {
    const where = options.namespace === undefined ? "" : "WHERE namespace = ?";
    const values = options.namespace === undefined ? [] : [options.namespace];
    return this.#database
      .all(`SELECT * FROM executions ${where} ORDER BY created_ms DESC, name LIMIT ?`, ...values, options.limit)
      .map((row) => asRun(row) as LocalRun);
  }

  /** Runs of a namespace that are not over, in no order. */
  unfinished(namespace: string): LocalRun[] {
    return this.#database
      .all("SELECT * FROM executions WHERE namespace = ? AND status ->> '$.completedAt' IS NULL", namespace)
      .map((row) => asRun(row) as LocalRun);
  }

  /** Deletes this object, not a later one of its name. Repeat: no-op. */
  remove(run: Pick<StoredExecution, "key" | "uid">): void {
    const { namespace, name } = run.key;
    this.#database.run("DELETE FROM executions WHERE namespace = ? AND name = ? AND uid = ?", namespace, name, run.uid);
  }

  /** Up to `limit` names of a namespace, newest first; for suggestions and completion. */
  names(namespace: string, limit: number): string[] {
    return (
      this.#database.all(
        "SELECT name FROM executions WHERE namespace = ? ORDER BY created_ms DESC LIMIT ?",
        namespace,
        limit,
      ) as unknown as { name: string }[]
    ).map((row) => row.name);
  }

  namespacesOf(name: string): string[] {
    return (
      this.#database.all("SELECT namespace FROM executions WHERE name = ? ORDER BY namespace", name) as unknown as {
        namespace: string;
      }[]
    ).map((row) => row.namespace);
  }

  /** Throws AlreadyExists. `object.metadata` gets uid, generation and creationTimestamp, as on a cluster. */
  create(key: ObjectKey, object: Execution, place: RunPlace): LocalRun {
    return this.#database.transaction(() => {
      const existing = this.get(key);
      if (existing !== undefined) throw new AlreadyExists(existing);
      const uid = this.#clock.uuid();
      const createdMs = this.#clock.nowMs();
      const metadata = {
        ...object.metadata,
        name: key.name,
        namespace: key.namespace,
        uid,
        creationTimestamp: new Date(createdMs).toISOString(),
      };
      const stored = { ...object, metadata, status: undefined };
      this.#database.run(
        "INSERT INTO executions (namespace, name, uid, version, generation, created_ms, object, base_dir, store) VALUES (?, ?, ?, ?, 1, ?, ?, ?, ?)",
        key.namespace,
        key.name,
        uid,
        this.#next(),
        createdMs,
        JSON.stringify(stored),
        place.baseDir,
        place.store,
      );
      return this.get(key) as LocalRun;
    });
  }

  /** A run that ended elsewhere, as it was there: its journal must be here already. Throws AlreadyExists. */
  restore(run: Omit<LocalRun, "resourceVersion" | "status"> & { readonly status: ExecutionStatus }): void {
    const { key, uid, generation, createdAtMs, object, status, place } = run;
    this.#database.transaction(() => {
      const existing = this.get(key) ?? this.byUid(uid);
      if (existing !== undefined) throw new AlreadyExists(existing);
      this.#database.run(
        "INSERT INTO executions (namespace, name, uid, version, generation, created_ms, object, status, base_dir, store) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        key.namespace,
        key.name,
        uid,
        this.#next(),
        generation,
        createdAtMs,
        JSON.stringify(object),
        JSON.stringify(status),
        place.baseDir,
        place.store,
      );
    });
  }

  /** P3. Throws Conflict when the object is gone or at another version. Returns the new version. */
  writeStatus(seen: Pick<StoredExecution, "key" | "uid" | "resourceVersion">, status: ExecutionStatus): string {
    return this.#database.transaction(() => {
      const version = this.#next();
      const changed = this.#database.run(
        "UPDATE executions SET status = ?, version = ? WHERE namespace = ? AND name = ? AND uid = ? AND version = ?",
        JSON.stringify(status),
        version,
        seen.key.namespace,
        seen.key.name,
        seen.uid,
        Number(seen.resourceVersion),
      );
      if (changed === 0)
        throw new Conflict(
          `Execution ${seen.key.namespace}/${seen.key.name} changed since version ${seen.resourceVersion}`,
        );
      return String(version);
    });
  }

  /** The one field of a spec that may change. Undefined = Running. Cancelled stays. Returns the object as it is then; undefined = not there. */
  setDesiredState(key: ObjectKey, state: DesiredState | undefined): LocalRun | undefined {
    return this.#database.transaction(() => {
      const seen = this.get(key);
      if (
        seen === undefined ||
        seen.object.spec.desiredState === state ||
        seen.object.spec.desiredState === "Cancelled"
      )
        return seen;
      const { desiredState: _, ...spec } = seen.object.spec;
      const object = { ...seen.object, spec: state === undefined ? spec : { ...spec, desiredState: state } };
      this.#database.run(
        "UPDATE executions SET object = ?, version = ?, generation = generation + 1 WHERE namespace = ? AND name = ?",
        JSON.stringify(object),
        this.#next(),
        key.namespace,
        key.name,
      );
      return this.get(key);
    });
  }

  /** Adds annotations, as `kubectl annotate --overwrite` does. No-op for a run that is not there. */
  annotate(key: ObjectKey, annotations: Readonly<Record<string, string>>): void {
    this.#database.transaction(() => {
      const seen = this.get(key);
      if (seen === undefined) return;
      const metadata = {
        ...seen.object.metadata,
        annotations: { ...seen.object.metadata.annotations, ...annotations },
      };
      this.#database.run(
        "UPDATE executions SET object = ?, version = ? WHERE namespace = ? AND name = ?",
        JSON.stringify({ ...seen.object, metadata }),
        this.#next(),
        key.namespace,
        key.name,
      );
    });
  }

  /** Keys of executions that changed after `version`, and the latest version. */
  changesSince(version: number): { readonly latest: number; readonly keys: readonly ObjectKey[] } {
    const rows = this.#database.all(
      "SELECT namespace, name, version FROM executions WHERE version > ? ORDER BY version",
      version,
    ) as unknown as Row[];
    return { latest: rows.at(-1)?.version ?? version, keys: rows.map(({ namespace, name }) => ({ namespace, name })) };
  }

  latestVersion(): number {
    return (this.#database.one("SELECT value FROM sequence WHERE id = 1") as { value: number }).value;
  }

  /** When the journal of an ended run may be removed. */
  setExpiry(uid: string, expiresMs: number | undefined): void {
    this.#database.run("UPDATE executions SET expires_ms = ? WHERE uid = ?", expiresMs ?? null, uid);
  }

  /** Up to `limit` runs whose journal's time is over, oldest first. */
  expired(nowMs: number, limit: number): LocalRun[] {
    return this.#database
      .all("SELECT * FROM executions WHERE expires_ms <= ? ORDER BY expires_ms LIMIT ?", nowMs, limit)
      .map((row) => asRun(row) as LocalRun);
  }

  close(): void {
    this.#processes.close();
    this.#database.close();
  }

  #next(): number {
    return (
      this.#database.one("UPDATE sequence SET value = value + 1 WHERE id = 1 RETURNING value") as { value: number }
    ).value;
  }
}
