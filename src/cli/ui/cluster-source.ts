/** Runs of a cluster: what its API server knows, and their records as the operator's HTTP API tells them. */
import { systemClock } from "../../adapters/clock/system-clock.ts";
import { shownSpec } from "../../core/replay/spec.ts";
import type { Snapshot } from "../../core/steps/format.ts";
import type { StoredExecution } from "../../ports/cluster.ts";
import type { GraphNodeInfo, RunDetail, RunKey, RunList, ServerEvent } from "../../ui/wire.ts";
import { runApi } from "../cluster/api.ts";
import type { PlaceFlags } from "../cluster/place.ts";
import type { ClusterConnection } from "../cluster/connect.ts";
import { clusterFailure } from "../cluster/failures.ts";
import { createReplay } from "../commands/replay.ts";
import { CliError } from "../errors.ts";
import { hasEnded } from "../outcome.ts";
import { readView } from "../render/run-view.ts";
import type { Terminal } from "../terminal.ts";
import { ExportedRecords } from "./exported-records.ts";
import { JournalSteps } from "./journal-steps.ts";
import { LiveRecords } from "./live-records.ts";
import type { RunSource, StepSource } from "./run-source.ts";
import type { ReadableRun } from "./step-reader.ts";
import { graphNodes, runDetail, runSummary } from "./summaries.ts";

const watchIntervalMs = 3_000;

export class ClusterSource implements RunSource {
  readonly place;
  readonly steps: StepSource;
  readonly #cluster: ClusterConnection;
  readonly #terminal: Terminal;
  readonly #records: ExportedRecords;
  readonly #live: LiveRecords;
  readonly #allNamespaces: boolean;

  /** The connection stays the caller's to close. */
  constructor(
    cluster: ClusterConnection,
    flags: PlaceFlags & { readonly allNamespaces?: boolean | undefined },
    terminal: Terminal,
  ) {
    this.#cluster = cluster;
    this.#terminal = terminal;
    this.#allNamespaces = flags.allNamespaces === true;
    this.#records = new ExportedRecords(cluster, flags, terminal);
    this.#live = new LiveRecords(({ key }) => runApi(cluster, key, flags, terminal));
    this.steps = new JournalSteps((key) => this.#readable(key));
    this.place = { kind: "cluster", label: cluster.context } as const;
  }

  async list(limit: number): Promise<RunList> {
    const runs = await this.#listed();
    return {
      runs: await Promise.all(runs.slice(0, limit).map((run) => runSummary(run, false))),
      more: runs.length > limit,
    };
  }

  async run(key: RunKey): Promise<RunDetail> {
    const run = await this.#find(key);
    const view = await readView(run, undefined, systemClock.nowMs());
    return runDetail(view, false, shownSpec(run.object, run.status));
  }

  async graph(key: RunKey): Promise<readonly GraphNodeInfo[]> {
    const { object, status } = await this.#find(key);
    return graphNodes(shownSpec(object, status));
  }

  /** Asks again and again: a person may be allowed to list and not to watch. */
  async watch(focus: RunKey | undefined, listener: (event: ServerEvent) => void): Promise<() => Promise<void>> {
    let seen = new Map<string, string>();
    let ended = false;
    const look = async () => {
      const focused = focus === undefined ? undefined : await this.#cluster.executions.get(focus);
      const runs = focus === undefined ? await this.#listed() : focused === undefined ? [] : [focused];
      const now = new Map(runs.map(({ uid, resourceVersion }) => [uid, resourceVersion]));
      const keys = runs.filter(({ uid, resourceVersion }) => seen.get(uid) !== resourceVersion).map(({ key }) => key);
      const changed = keys.length > 0 || now.size !== seen.size;
      seen = now;
      if (ended) return;
      if (changed) listener({ event: "runs", data: { keys } });
      // No status is written for a step: the page looks at the journal again.
      if (focused?.status?.snapshot !== undefined && !hasEnded(focused.status))
        listener({ event: "steps", data: focused.key });
    };
    const timer = setInterval(() => void look().catch(() => undefined), watchIntervalMs);
    return async () => {
      ended = true;
      clearInterval(timer);
    };
  }

  async startReplay(key: RunKey, fromStep: number): Promise<RunKey> {
    const parent = await this.#find(key);
    return (await this.#explained(createReplay(this.#cluster, parent, { fromStep }, this.#terminal))).key;
  }

  close(): Promise<void> {
    return this.#records.close();
  }

  async #readable(key: RunKey): Promise<ReadableRun | { readonly nothing: string }> {
    const run = await this.#find(key);
    if (run.status?.snapshot === undefined) return { nothing: "no steps are recorded yet" };
    const ended = hasEnded(run.status);
    if (ended) this.#live.drop(run.uid);
    const record = (snapshot: Snapshot | undefined) =>
      this.#explained(ended ? this.#records.record(run) : this.#live.record(run, snapshot));
    return { key: run.key, uid: run.uid, hasEnded: ended, record };
  }

  async #listed(): Promise<StoredExecution[]> {
    const { executions, namespace } = this.#cluster;
    return this.#explained(executions.list(this.#allNamespaces ? undefined : namespace));
  }

  async #find(key: RunKey): Promise<StoredExecution> {
    const found = await this.#explained(this.#cluster.executions.get(key));
    if (found !== undefined) return found;
    throw new CliError(
      `there is no Execution ${key.namespace}/${key.name} in the cluster of context ${this.#cluster.context}`,
      [`see all: oao get ${this.#cluster.flags}`],
    );
  }

  #explained<T>(work: Promise<T>): Promise<T> {
    return work.catch((error: unknown) => {
      throw clusterFailure(error, this.#cluster);
    });
  }
}
