/** The operator program: one leader among its replicas hosts the runs of its namespaces. Settings: config.ts. */
import pino from "pino";
import { systemClock } from "../adapters/clock/system-clock.ts";
import { KubeClient } from "../adapters/kube/client.ts";
import { loadKubeConfig } from "../adapters/kube/connection.ts";
import { runAsLeader } from "../adapters/kube/lease.ts";
import { maskSecrets } from "../adapters/tool/secrets.ts";
import { productVersion } from "../api/version.ts";
import { serveApi } from "./api/start.ts";
import { readOperatorConfig } from "./config.ts";
import { serve } from "./http.ts";
import { lead } from "./lead.ts";
import { Metrics } from "./metrics.ts";

async function main(): Promise<number> {
  const config = readOperatorConfig(process.env);
  process.title = "oao operator";
  const passwords = [config.storeUserKey, URL.parse(config.storeUrl)?.password ?? ""].filter((each) => each !== "");
  const logger = pino({
    level: config.logLevel,
    base: { identity: config.identity, version: productVersion },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    hooks: { streamWrite: maskSecrets(passwords) },
  });
  const stop = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => stop.abort());
  const client = new KubeClient(loadKubeConfig(), { clock: systemClock, userAgent: `oao-operator/${productVersion}` });
  const metrics = new Metrics();
  let leading = false;
  let unready: string | undefined;
  let apiUnready: string | undefined;
  const server = await serve(config.metricsPort, metrics.registry, {
    sick: () => undefined, // the event loop answered
    // A standby is ready: it waits for nothing but its turn.
    unready: () => apiUnready ?? (leading ? unready : undefined),
  });
  logger.info({ port: server.port, namespaces: config.namespaces }, "operator starts");
  const { api } = config;
  const serving =
    api === undefined
      ? Promise.resolve()
      : serveApi({ config, api, metrics, logger, say: (why) => (apiUnready = why) }, stop.signal);
  const work = async (signal: AbortSignal): Promise<void> => {
    leading = true;
    metrics.leader.set(1);
    await lead({ config, client, metrics, logger, say: (why) => (unready = why) }, signal);
    metrics.leader.set(0);
    leading = false;
  };
  const outcome = config.leaderElection
    ? await runAsLeader(
        {
          client,
          clock: systemClock,
          namespace: config.podNamespace,
          name: config.leaseName,
          identity: config.identity,
          leaseMs: config.leaseMs,
          onError: (error) => logger.warn({ error: error instanceof Error ? error.message : String(error) }, "lease"),
        },
        work,
        stop.signal,
      )
    : await work(stop.signal).then(() => "Stopped" as const);
  logger.info({ outcome }, "operator ends");
  stop.abort();
  await serving;
  server.close();
  server.closeAllConnections();
  client.close();
  // Another one leads now: start afresh as its standby.
  return outcome === "Lost" ? 1 : 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
