/** Records of a cluster's runs that have ended: what the operator exports of each, fetched and checked once. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RunRecord } from "../../host/journals.ts";
import type { ObjectKey, StoredExecution } from "../../ports/cluster.ts";
import type { OpenBundle } from "../bundles.ts";
import type { PlaceFlags } from "../cluster/place.ts";
import type { ClusterConnection } from "../cluster/connect.ts";
import { CliError } from "../errors.ts";
import { openExport } from "../records.ts";
import type { Terminal } from "../terminal.ts";

export class ExportedRecords {
  readonly #cluster: ClusterConnection;
  readonly #flags: PlaceFlags;
  readonly #terminal: Terminal;
  readonly #opened = new Map<string, Promise<OpenBundle>>();
  #folder: Promise<string> | undefined;

  constructor(cluster: ClusterConnection, flags: PlaceFlags, terminal: Terminal) {
    this.#cluster = cluster;
    this.#flags = flags;
    this.#terminal = terminal;
  }

  /** A Strict replay has no record of its own: all that it read is that of its parent. Throws CliError. */
  async record(run: StoredExecution): Promise<RunRecord> {
    if (run.object.spec.replay === undefined || run.status?.replay?.mode !== "Strict")
      return (await this.#open(run)).record;
    const { parentUID } = run.status.replay;
    const parent = await this.#parent({ ...run.key, name: run.object.spec.replay.executionRef.name }, parentUID);
    const { uid, object, status } = run;
    return { ...(await this.record(parent)), uid, object, status };
  }

  async close(): Promise<void> {
    for (const opened of this.#opened.values()) await (await opened.catch(() => undefined))?.close();
    if (this.#folder !== undefined) await rm(await this.#folder, { recursive: true, force: true });
  }

  async #parent(key: ObjectKey, uid: string | undefined): Promise<StoredExecution> {
    const parent = await this.#cluster.executions.get(key);
    if (parent !== undefined && parent.uid === uid) return parent;
    throw new CliError(`${key.namespace}/${key.name}, whose record this run replayed, is gone`, [], 1);
  }

  #open(run: StoredExecution): Promise<OpenBundle> {
    const known = this.#opened.get(run.uid);
    if (known !== undefined) return known;
    this.#folder ??= mkdtemp(join(tmpdir(), "oao-ui-"));
    const opened = this.#folder.then((folder) =>
      openExport(this.#cluster, run, join(folder, `${run.uid}.oao.jsonl`), this.#flags, this.#terminal),
    );
    this.#opened.set(run.uid, opened);
    opened.catch(() => this.#opened.delete(run.uid));
    return opened;
  }
}
