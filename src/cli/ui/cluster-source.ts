/** Runs of a cluster: what its API server knows. Steps are in the operator's journal, which its HTTP API reads out. */
import { systemClock } from "../../adapters/clock/system-clock.ts";
import { shownSpec } from "../../core/replay/spec.ts";
import type { StoredExecution } from "../../ports/cluster.ts";
import type { GraphNodeInfo, RunDetail, RunKey, RunList, ServerEvent } from "../../ui/wire.ts";
import type { ClusterConnection } from "../cluster/connect.ts";
import { clusterFailure } from "../cluster/failures.ts";
import { CliError } from "../errors.ts";
import { readView } from "../render/run-view.ts";
import type { RunSource } from "./run-source.ts";
import { graphNodes, runDetail, runSummary } from "./summaries.ts";

const watchIntervalMs = 3_000;

export class ClusterSource implements RunSource {
  readonly place;
  readonly steps = undefined;
  readonly noSteps =
    "The steps of a cluster's runs are in the operator's journal, which is read through its HTTP API. This page does not ask that API yet: phases, nodes and tokens are shown from the Execution's status.";
  readonly #cluster: ClusterConnection;
  readonly #allNamespaces: boolean;

  /** The connection stays the caller's to close. */
  constructor(cluster: ClusterConnection, allNamespaces: boolean) {
    this.#cluster = cluster;
    this.#allNamespaces = allNamespaces;
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
      if (changed && !ended) listener({ event: "runs", data: { keys } });
    };
    const timer = setInterval(() => void look().catch(() => undefined), watchIntervalMs);
    return async () => {
      ended = true;
      clearInterval(timer);
    };
  }

  async close(): Promise<void> {}

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
