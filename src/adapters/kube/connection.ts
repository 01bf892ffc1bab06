/** Connections to one API server: addresses, certificates and tokens of a kubeconfig, over sockets that are kept. */
import { Agent as HttpAgent, type IncomingMessage, request as httpRequest } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest, type RequestOptions } from "node:https";
import { KubeConfig } from "@kubernetes/client-node";
import { KubeError } from "./kube-error.ts";

/**
 * `path` absent = $KUBECONFIG, then ~/.kube/config, then the service account of the pod this runs in.
 * Throws when the file or the context is not there.
 */
export function loadKubeConfig(path?: string, context?: string): KubeConfig {
  const config = readKubeConfig(path);
  if (context !== undefined) config.setCurrentContext(context);
  if (config.getCurrentCluster() === null) {
    throw new Error(
      `kubeconfig${path === undefined ? "" : ` ${path}`} has no cluster for context "${config.getCurrentContext()}"`,
    );
  }
  return config;
}

/** Without a look at its contexts. Throws when the file is not there. */
export function readKubeConfig(path?: string): KubeConfig {
  const config = new KubeConfig();
  if (path === undefined) config.loadFromDefault();
  else config.loadFromFile(path);
  return config;
}

export interface Call {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  readonly signal: AbortSignal;
}

/** The client library opens a TLS connection per request; here one agent lives as long as the credentials it was made with. */
export class Connection {
  readonly #config: KubeConfig;
  readonly #base: URL;
  #agent: HttpAgent | undefined;
  #agentKey = "";

  constructor(config: KubeConfig) {
    const server = config.getCurrentCluster()?.server;
    if (server === undefined) throw new Error("the kubeconfig has no current cluster");
    this.#config = config;
    this.#base = new URL(server.endsWith("/") ? server : `${server}/`);
  }

  /** Resolves with the head of the answer; its body is the caller's. Rejects with the socket's error or the signal's reason. */
  async send(call: Call): Promise<IncomingMessage> {
    const options = await this.#options(call);
    return new Promise((resolve, reject) => {
      const request = this.#base.protocol === "http:" ? httpRequest(options, resolve) : httpsRequest(options, resolve);
      request.once("error", (error) => reject(call.signal.aborted ? (call.signal.reason as Error) : error));
      request.end(call.body);
    });
  }

  /** Idle sockets may lead nowhere after one of their kind did: the next requests open new ones. */
  dropIdle(): void {
    for (const sockets of Object.values(this.#agent?.freeSockets ?? {})) {
      for (const socket of sockets ?? []) socket.destroy();
    }
  }

  /** Ends every connection, also of requests at work. */
  close(): void {
    this.#agent?.destroy();
  }

  async #options(call: Call): Promise<RequestOptions> {
    // Reads files and tokens anew where they are due: a service account's token and a client certificate change in place.
    const auth: RequestOptions = {};
    await this.#config.applyToHTTPSOptions(auth).catch((cause: unknown) => {
      // A file that is not there, or a program that makes credentials and failed.
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new KubeError(0, "Credentials", `no credentials for ${this.#base.host}: ${why}`, { cause });
    });
    const headers = { ...(auth.headers as Record<string, string> | undefined), ...call.headers };
    if (call.body !== undefined) headers["Content-Length"] = String(Buffer.byteLength(call.body));
    return {
      method: call.method,
      protocol: this.#base.protocol,
      hostname: this.#base.hostname.replace(/^\[(.*)\]$/, "$1"),
      port: this.#base.port,
      path: `${this.#base.pathname.replace(/\/$/, "")}${call.path}`,
      headers,
      auth: auth.auth,
      agent: this.#agentFor(auth),
      signal: call.signal,
    };
  }

  #agentFor(auth: RequestOptions): HttpAgent {
    // A proxy's agent comes from the client library, which keeps it.
    if (this.#config.getCurrentCluster()?.proxyUrl !== undefined) return auth.agent as HttpAgent;
    const { ca, cert, key, passphrase, rejectUnauthorized, servername } = auth;
    const agentKey = JSON.stringify([ca, cert, key, passphrase, rejectUnauthorized, servername].map(String));
    if (this.#agent === undefined || agentKey !== this.#agentKey) {
      // Requests at work keep their sockets; the old agent's idle ones are of no use any more.
      this.dropIdle();
      const options = { keepAlive: true, keepAliveMsecs: 30_000, maxFreeSockets: 32 };
      const tls = Object.fromEntries(
        Object.entries({ ca, cert, key, passphrase, rejectUnauthorized, servername }).filter(
          ([, value]) => value !== undefined,
        ),
      );
      this.#agent = this.#base.protocol === "http:" ? new HttpAgent(options) : new HttpsAgent({ ...options, ...tls });
      this.#agentKey = agentKey;
    }
    return this.#agent;
  }
}
