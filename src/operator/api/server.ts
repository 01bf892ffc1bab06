/**
 * The one TLS port of the API: from bytes to a call that is known to be well-formed, of somebody whom the cluster knows, and from its
 * answer to bytes. Order: address, method, caller, rate, request, then the handler, which asks for the caller's rights.
 *
 * A1 Nothing is said to a caller without rights that would differ if the thing they ask for did not exist.
 * A2 What a client sends or fails to read costs bounded memory and time: headers, bodies, requests and connections have limits, and
 *    an answer is made only as fast as it is read.
 * A3 Credentials are in no log, no answer and no error.
 */
import { constants, randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { once } from "node:events";
import type { Logger } from "pino";
import { isKubeError, KubeError } from "../../adapters/kube/kube-error.ts";
import { OaoError } from "../../core/errors/errors.ts";
import { RecordChanged } from "../../host/record-changed.ts";
import { acceptedType, addressOf } from "./addresses.ts";
import type { Authenticator, Caller } from "./authenticate.ts";
import { Problem, problemDetails, statusOf } from "./problems.ts";
import { RateLimit, type Rate, slowDown } from "./rate-limit.ts";
import { type Input, readInput } from "./request.ts";
import type { Operation, OperationId } from "./routes.ts";
import { type Answer, send } from "./send.ts";

export interface Call extends Input {
  readonly caller: Caller;
  /** What the caller would like to get, of what the operation has. */
  readonly accepts: string;
  /** Aborts when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}

export type Handlers = Readonly<Record<OperationId, (call: Call) => Promise<Answer>>>;

export interface ServerOptions {
  /** 0 = any free one. */
  readonly port: number;
  readonly authenticator: Authenticator;
  readonly handlers: Handlers;
  readonly rate: Rate;
  readonly logger: Logger;
  /** Told of each answer. */
  readonly observe: (operation: OperationId | "none", status: number, tookMs: number) => void;
}

export interface Credentials {
  /** PEM texts. */
  readonly certificate: string;
  readonly key: string;
  /** Of client certificates; undefined = none is accepted. */
  readonly clientCa: string | undefined;
}

export interface ApiServer {
  readonly port: number;
  /** For new connections; those that a former client authority let in are closed. */
  use(credentials: Credentials): void;
  close(): Promise<void>;
}

const headerBytesMax = 24_576;
const headersTimeoutMs = 10_000;
/** For the whole request: a body that comes drop by drop ends here. */
const requestTimeoutMs = 20_000;
/** A connection on which nothing moves: its client does not read. */
const stallMs = 45_000;
const connectionsMax = 1_000;
/** Of what anybody may read. */
const openReads: Rate = { perSecond: 20, burst: 40 };

export async function listen(options: ServerOptions, credentials: Credentials): Promise<ApiServer> {
  const nowMs = () => performance.now();
  const limits = {
    callers: new RateLimit(options.rate, nowMs),
    open: new RateLimit(openReads, nowMs),
  };
  const server = createServer(
    {
      ...secureContext(credentials),
      requestCert: true,
      // Whoever has a token needs no certificate; one that does not hold is none.
      rejectUnauthorized: false,
      minVersion: "TLSv1.2",
      // A resumed session would keep what a certificate once proved.
      secureOptions: constants.SSL_OP_NO_TICKET,
      handshakeTimeout: headersTimeoutMs,
      maxHeaderSize: headerBytesMax,
      headersTimeout: headersTimeoutMs,
      requestTimeout: requestTimeoutMs,
      connectionsCheckingInterval: 1_000,
      keepAliveTimeout: 30_000,
    },
    (request, response) => void serve(request, response, options, limits),
  );
  server.maxConnections = connectionsMax;
  server.setTimeout(stallMs);
  server.on("tlsClientError", () => undefined);
  server.listen(options.port);
  await once(server, "listening");
  let { clientCa } = credentials;
  return {
    port: (server.address() as AddressInfo).port,
    use(next) {
      server.setSecureContext(secureContext(next));
      if (next.clientCa !== clientCa) server.closeAllConnections();
      clientCa = next.clientCa;
    },
    close: () => closed(server),
  };
}

/** An empty list trusts nobody; without one, Node.js would trust every public authority. */
function secureContext({ certificate, key, clientCa }: Credentials) {
  return { cert: certificate, key, ca: clientCa === undefined ? [] : clientCa };
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

interface Limits {
  readonly callers: RateLimit;
  readonly open: RateLimit;
}

/** For logs and metrics only. */
const clientGone = 499;
const requestIdPattern = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$/;

async function serve(
  request: IncomingMessage,
  response: ServerResponse,
  options: ServerOptions,
  limits: Limits,
): Promise<void> {
  const startedMs = performance.now();
  const given = request.headers["x-request-id"];
  const requestId = typeof given === "string" && requestIdPattern.test(given) ? given : randomUUID();
  response.setHeader("X-Request-Id", requestId);
  response.setHeader("X-Content-Type-Options", "nosniff");
  response.setHeader("Cache-Control", "no-store");
  const log: Record<string, unknown> = { requestId, method: request.method };
  const gone = new AbortController();
  response.once("close", () => gone.abort());
  let found: OperationId | "none" = "none";
  try {
    const { target, allowed } = addressOf(request);
    if (request.method === "OPTIONS")
      return await send({ status: 204, headers: { Allow: allowed.methods } }, request, response);
    const chosen = allowed.of(request.method ?? "");
    if (chosen === undefined)
      throw new Problem("method-not-allowed", `here are ${allowed.methods}`, { headers: { Allow: allowed.methods } });
    const [id, operation, path] = chosen;
    found = id;
    Object.assign(log, { operation: id });
    const caller = await admit(request, operation, options, limits);
    if (caller !== undefined) log["caller"] = caller.username;
    const accepts = acceptedType(request, operation);
    const input = await readInput(request, operation, path, target.query);
    Object.assign(log, input.params);
    const call = { ...input, caller: caller ?? nobody, accepts, signal: gone.signal };
    await send(await options.handlers[id](call), request, response);
  } catch (error) {
    await refuse(error, request, response, (why) => Object.assign(log, why));
  } finally {
    const tookMs = performance.now() - startedMs;
    options.observe(found, response.statusCode, tookMs);
    const level = response.statusCode >= 500 ? "warn" : "info";
    options.logger[level]({ ...log, status: response.statusCode, tookMs: Math.round(tookMs) }, "api");
  }
}

const nobody: Caller = { username: "", groups: [] };

/** Undefined = nobody needs to be known here. Throws Problem. */
async function admit(
  request: IncomingMessage,
  operation: Operation,
  { authenticator }: ServerOptions,
  limits: Limits,
): Promise<Caller | undefined> {
  if (!operation.authenticated) {
    slowDown(limits.open.take(request.socket.remoteAddress ?? ""));
    return undefined;
  }
  const caller = await authenticator.identify(request);
  if (caller === undefined)
    throw new Problem("unauthenticated", "a token or a client certificate of this cluster is needed", {
      headers: { "WWW-Authenticate": 'Bearer realm="oao"' },
    });
  slowDown(limits.callers.take(caller.username));
  return caller;
}

async function refuse(
  error: unknown,
  request: IncomingMessage,
  response: ServerResponse,
  log: (why: object) => void,
): Promise<void> {
  if (response.destroyed) {
    // Nobody is there any more, or was too slow.
    response.statusCode = clientGone;
    return;
  }
  const problem = asProblem(error);
  if (statusOf(problem.kind) >= 500) {
    const cause = problem.cause ?? error;
    log({ error: cause instanceof Error ? (cause.stack ?? cause.message) : String(cause) });
  }
  if (response.headersSent) {
    // An answer that cannot be finished must not look finished.
    response.destroy();
    return;
  }
  const body = `${JSON.stringify(problemDetails(problem))}\n`;
  await send(
    { status: statusOf(problem.kind), type: "application/problem+json", headers: problem.headers, body },
    request,
    response,
  );
}

/** What others said is for the log: it may name what the caller must not know of. */
function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof RecordChanged) return new Problem("tampered", error.message);
  const headers = { "Retry-After": "5" };
  if (error instanceof KubeError && (error.status === 0 || error.status === 429 || error.status >= 500))
    return new Problem("unavailable", "the cluster's API server does not answer", { headers, cause: error });
  if (isKubeError(error, 403))
    return new Problem("unavailable", "the operator lacks a right: api.enabled of the chart grants it", {
      cause: error,
    });
  if (error instanceof OaoError && error.code === "OAO_STORE_UNAVAILABLE")
    return new Problem("unavailable", "the journal store does not answer", { headers, cause: error });
  return new Problem("internal", "the request id is in the operator's log", { cause: error });
}
