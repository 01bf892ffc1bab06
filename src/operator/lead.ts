/** What the leader does: host every run of its namespaces until it is told to stop. */
import { isIP } from "node:net";
import type { Logger } from "pino";
import { systemClock } from "../adapters/clock/system-clock.ts";
import type { KubeClient } from "../adapters/kube/client.ts";
import { EventRecorder } from "../adapters/kube/events.ts";
import { KubeCluster } from "../adapters/kube/kube-cluster.ts";
import { RedisStore } from "../adapters/store/redis/redis-store.ts";
import { RunUsers } from "../adapters/store/redis/run-users.ts";
import { otherHolder } from "../host/holder.ts";
import { SnapshotCache } from "../host/io.ts";
import { loadSnapshot } from "../host/snapshots.ts";
import { runLoop } from "../host/run-loop.ts";
import { storeLife } from "../host/store-life.ts";
import { Slots } from "../host/slots.ts";
import { StatusPace } from "../host/status-pace.ts";
import type { OperatorConfig } from "./config.ts";
import type { Gauges, Metrics } from "./metrics.ts";
import { tokensByModel } from "./model-tokens.ts";
import { policyLoop } from "./policies.ts";
import { teller } from "./tell.ts";

export interface Leading {
  readonly config: OperatorConfig;
  readonly client: KubeClient;
  readonly metrics: Metrics;
  readonly logger: Logger;
  /** Why this leader cannot work now; undefined = it works. */
  readonly say: (unready: string | undefined) => void;
}

/** Most of a pass is waiting for the API server and the store. */
const parallel = 32;
/** A node that takes less is written when it starts and when it ends. */
const pace = { progressMs: 5_000, figuresMs: 10_000 };
/** Every open run is looked at this often whatever events were missed. */
const resyncMs = 300_000;
const connectPauseMs = 1_000;

/** Resolves after `signal` aborted and no pass is at work; workers go on. */
export async function lead({ config, client, metrics, logger, say }: Leading, signal: AbortSignal): Promise<void> {
  say(`waiting for the journal store`);
  const stores = await connectStores(config, logger, say, signal);
  if (stores === undefined) return;
  const { store, users } = stores;
  const denyCidrs = [...config.denyCidrs, ...(await apiServerCidrs(client, say, signal))];
  const snapshots = new SnapshotCache();
  const cluster = new KubeCluster({
    client,
    clock: systemClock,
    namespaces: config.namespaces,
    workerImage: config.workerImage,
    storeUrl: config.workerStoreUrl,
    storeCa: config.storeCa,
    leaseTtlMs: config.leaseTtlMs,
    stopGraceMs: config.stopGraceMs,
    denyCidrs,
    resources: config.workerResources,
    credentials: { ensure: ({ uid }, { replay }) => users.ensure(uid, replay?.lineage) },
    snapshot: (run, digest) => loadSnapshot(store, [run.uid], digest, snapshots),
    onWatchRestart: (resource, error) => logger.warn({ resource, error: error.message }, "watch begins again"),
  });
  const events = new EventRecorder({
    client,
    clock: systemClock,
    controller: "oao.dev/operator",
    instance: config.identity,
  });
  const open = function* () {
    for (const run of cluster.executions())
      if (run.status?.completedAt === undefined && otherHolder(run, config) === undefined) yield run;
  };
  const tell = teller({
    events,
    metrics,
    logger,
    uidOf: (key) => cluster.uidOf(key),
    tokensOf: (uid, status) => tokensByModel(store, uid, status),
  });
  say("waiting for the API server");
  const started = cluster.start();
  const aborted = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
  await Promise.race([started, aborted]);
  if (!signal.aborted) {
    const loop = runLoop(
      {
        cluster,
        clock: systemClock,
        journal: () => store,
        floorPolicies: config.floorPolicies,
        requireSecretPairing: true,
        requireFitStore: !config.allowUnfitStore,
        operator: config.operator,
        stopGraceMs: config.stopGraceMs,
        slots: new Slots(),
        snapshots,
        pace: new StatusPace(pace),
        report: (event) => {
          tell(event);
          const hasEnded =
            event.kind === "Status" && event.status.completedAt !== undefined && event.status.sealed === true;
          if (!hasEnded && event.kind !== "LetGo") return;
          // Its user goes with the run; one that stays could only read what is its own.
          users.remove(event.uid).catch((error: unknown) => logger.warn({ error: messageOf(error) }, "user stays"));
        },
      },
      { parallel, backoff: { firstMs: 100, maxMs: 30_000 } },
    );
    const policies = policyLoop({
      client,
      clock: systemClock,
      cluster,
      onError: (key, error) =>
        logger.warn({ policy: `${key.namespace}/${key.name}`, error: messageOf(error) }, "policy"),
    });
    metrics.follow(() => ({
      ...countRuns(cluster, config),
      queueDepth: loop.depth,
      watchRestarts: cluster.watchRestarts,
      eventsDropped: events.dropped,
    }));
    say(undefined);
    logger.info({ executions: [...cluster.executions()].length }, "leading");
    const keeping = users.keep(function* () {
      for (const { uid, status } of open()) yield { uid, reads: status?.replay?.lineage ?? [] };
    }, signal);
    const watching = watchFitness(store, config, say, signal);
    while (!signal.aborted) {
      // Also those that are over: their object may wait to be let go of.
      for (const run of cluster.executions()) loop.add(run.key);
      await systemClock.sleep(resyncMs, signal).catch(() => undefined);
    }
    metrics.follow(undefined);
    await policies.stop();
    await loop.stop();
    await keeping;
    await watching;
    await events.flush();
  }
  await cluster.stop();
  users.close();
  await store.close();
}

/** Where the API server itself listens, behind the address that pods are given: nothing of a tenant's has business there. */
async function apiServerCidrs(
  client: KubeClient,
  say: (unready: string) => void,
  signal: AbortSignal,
): Promise<readonly string[]> {
  while (!signal.aborted) {
    try {
      const answer = await client.request<ApiVersions>({ path: "/api" });
      const hosts = (answer.serverAddressByClientCIDRs ?? []).map(({ serverAddress }) =>
        serverAddress.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1"),
      );
      return hosts.filter((host) => isIP(host) !== 0).map((host) => `${host}/${isIP(host) === 6 ? 128 : 32}`);
    } catch (error) {
      say(`waiting for the API server: ${messageOf(error)}`);
      await systemClock.sleep(connectPauseMs, signal).catch(() => undefined);
    }
  }
  return [];
}

interface ApiVersions {
  readonly serverAddressByClientCIDRs?: readonly { readonly serverAddress: string }[];
}

const fitnessLookMs = 10_000;

/** Not ready while the store loses journals as it is set: whoever installs sees it at once, not with the first run. */
async function watchFitness(
  store: RedisStore,
  { allowUnfitStore }: OperatorConfig,
  say: (unready: string | undefined) => void,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted && !allowUnfitStore) {
    try {
      const { unfit } = await storeLife(store, systemClock.monotonicMs());
      say(
        unfit.length === 0
          ? undefined
          : `no run starts: the journal store loses journals as it is set: ${unfit.join("; ")}`,
      );
    } catch (error) {
      say(`waiting for the journal store: ${messageOf(error)}`);
    }
    await systemClock.sleep(fitnessLookMs, signal).catch(() => undefined);
  }
}

interface Stores {
  readonly store: RedisStore;
  readonly users: RunUsers;
}

/** Tries until there is one; undefined = the signal came first. */
async function connectStores(
  config: OperatorConfig,
  logger: Logger,
  say: (unready: string) => void,
  signal: AbortSignal,
): Promise<Stores | undefined> {
  const access = { ca: config.storeCa };
  while (!signal.aborted) {
    try {
      const store = await RedisStore.connect(config.storeUrl, { access });
      const users = await RunUsers.connect(config.storeUrl, {
        clock: systemClock,
        key: config.storeUserKey,
        access,
        onRenewed: (count) => logger.info({ users: count }, "scripts and users of runs are set in the journal store"),
        onError: (error) => logger.warn({ error: messageOf(error) }, "users of runs cannot be set"),
      });
      return { store, users };
    } catch (error) {
      say(`waiting for the journal store: ${messageOf(error)}`);
      logger.warn({ error: messageOf(error) }, "waiting for the journal store");
      await systemClock.sleep(connectPauseMs, signal).catch(() => undefined);
    }
  }
  return undefined;
}

/** Own ones by phase, others by their holder. */
function countRuns(cluster: KubeCluster, config: OperatorConfig): Pick<Gauges, "executions" | "heldElsewhere"> {
  const executions = new Map<string, number>();
  const heldElsewhere = new Map<string, number>();
  for (const run of cluster.executions()) {
    const holder = otherHolder(run, config);
    const [counts, name] =
      holder === undefined ? [executions, run.status?.phase ?? "Pending"] : [heldElsewhere, holder];
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return { executions, heldElsewhere };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
