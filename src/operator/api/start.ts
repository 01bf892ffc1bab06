/** The API of one replica, from its settings to a port that is served until it is told to stop. Every replica has one, leader or not. */
import type { Logger } from "pino";
import { systemClock } from "../../adapters/clock/system-clock.ts";
import { KubeClient } from "../../adapters/kube/client.ts";
import { loadKubeConfig } from "../../adapters/kube/connection.ts";
import { isKubeError } from "../../adapters/kube/kube-error.ts";
import { RedisStore } from "../../adapters/store/redis/redis-store.ts";
import { productVersion } from "../../api/version.ts";
import type { ApiConfig, OperatorConfig } from "../config.ts";
import type { Metrics } from "../metrics.ts";
import { Authenticator } from "./authenticate.ts";
import { authorizer as authorizerOf } from "./authorize.ts";
import { readClientCa } from "./client-ca.ts";
import { events } from "./events.ts";
import { openApiDocument } from "./openapi.ts";
import { journalReads } from "./journal-reads.ts";
import { reads } from "./reads.ts";
import { replays } from "./replay.ts";
import { runs as runsOf } from "./runs.ts";
import { type ApiServer, type Credentials, type Handlers, listen } from "./server.ts";
import { servingCertificate } from "./serving.ts";

/** How soon a renewed certificate or a changed client authority is served. */
const renewMs = 60_000;
const startPauseMs = 2_000;

export interface ApiOptions {
  readonly config: OperatorConfig;
  readonly api: ApiConfig;
  readonly metrics: Metrics;
  readonly logger: Logger;
  /** Why it cannot serve now; undefined = it does. */
  readonly say: (unready: string | undefined) => void;
}

/** Resolves after `signal` aborted and the port is closed. */
export async function serveApi({ config, api, metrics, logger, say }: ApiOptions, signal: AbortSignal): Promise<void> {
  // A client of its own: what many callers ask for must not keep the operator's own requests waiting.
  const client = new KubeClient(loadKubeConfig(), {
    clock: systemClock,
    userAgent: `oao-api/${productVersion}`,
    timeoutMs: 10_000,
    triesMax: 2,
  });
  const store = lazyStore(config);
  let credentials: Credentials | undefined;
  const authenticator = new Authenticator({
    client,
    nowMs: () => performance.now(),
    trustsCertificates: () => credentials?.clientCa !== undefined,
  });
  const authorizer = authorizerOf(client);
  const runs = runsOf({ client, authorizer, store: store.get });
  const document = `${JSON.stringify(openApiDocument())}\n`;
  const handlers: Handlers = {
    ...replays({ client, authorizer, runs, store: store.get }),
    ...reads({ runs, store: store.get }),
    ...journalReads({ runs, store: store.get }),
    ...events({ client, clock: systemClock, runs, store: store.get }),
    openapi: ({ accepts }) => Promise.resolve({ status: 200, type: accepts, body: document }),
  };
  const observe = (operation: string, status: number, tookMs: number) =>
    metrics.apiSeconds.observe({ operation, status: String(status) }, tookMs / 1_000);
  await keepServing(
    {
      read: () => credentialsOf(client, config, api, logger),
      serve: async (first) => {
        credentials = first;
        const server = await listen(
          { port: api.port, authenticator, handlers, rate: api.rate, logger, observe },
          first,
        );
        logger.info({ apiPort: server.port, clientCertificates: first.clientCa !== undefined }, "api serves");
        return server;
      },
      renewed: (next) => (credentials = next),
      pause: (ms) => systemClock.sleep(ms, signal).catch(() => undefined),
      logger,
      say,
    },
    signal,
  );
  await store.close();
  client.close();
}

export interface Keeping {
  /** As they must be now. */
  readonly read: () => Promise<Credentials>;
  readonly serve: (first: Credentials) => Promise<ApiServer>;
  readonly renewed: (next: Credentials) => void;
  readonly pause: (ms: number) => Promise<void>;
  readonly logger: Logger;
  readonly say: ApiOptions["say"];
}

/** One server from its first certificate to the end, under each that comes later. Resolves after `signal` aborted and it is closed. */
export async function keepServing(
  { read, serve, renewed, pause, logger, say }: Keeping,
  signal: AbortSignal,
): Promise<void> {
  let server: ApiServer | undefined;
  let known = "";
  say("the API waits for its certificate");
  while (!signal.aborted) {
    try {
      const next = await read();
      if (server === undefined) server = await serve(next);
      else if (JSON.stringify(next) !== known) server.use(next);
      known = JSON.stringify(next);
      renewed(next);
      say(undefined);
    } catch (error) {
      // A certificate that cannot be looked after now is good for a while yet.
      logger.warn({ error: error instanceof Error ? error.message : String(error) }, "api certificate");
    }
    await pause(server === undefined ? startPauseMs : renewMs);
  }
  await server?.close();
}

async function credentialsOf(
  client: KubeClient,
  { podNamespace: namespace }: OperatorConfig,
  { service, servicePort: port, port: targetPort, names, tls }: ApiConfig,
  logger: Logger,
): Promise<Credentials> {
  const serving = await servingCertificate({
    client,
    nowMs: () => Date.now(),
    namespace,
    service,
    port,
    targetPort,
    names,
    tls,
  });
  const clientCa = await readClientCa(client).catch((error: unknown) => {
    if (!isKubeError(error, 403) && !isKubeError(error, 404)) throw error;
    logger.warn({ error: error.message }, "no client certificates: the cluster's authority cannot be read");
    return undefined;
  });
  return { certificate: serving.certificate, key: serving.key, clientCa };
}

/** Connected when it is first needed, and tried again for whoever needs it after a failure. */
function lazyStore({ storeUrl, storeCa }: OperatorConfig): {
  get: () => Promise<RedisStore>;
  close: () => Promise<void>;
} {
  let connecting: Promise<RedisStore> | undefined;
  return {
    get() {
      if (connecting === undefined) {
        const attempt = RedisStore.connect(storeUrl, { access: { ca: storeCa } });
        attempt.catch(() => (connecting = undefined));
        connecting = attempt;
      }
      return connecting;
    },
    async close() {
      await (await connecting?.catch(() => undefined))?.close();
    },
  };
}
