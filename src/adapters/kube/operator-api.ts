/** The operator's HTTP API as a person reaches it: with the kubeconfig's credentials, directly or through the API server. */
import type { IncomingMessage } from "node:http";
import { request as httpsRequest, type RequestOptions } from "node:https";
import { type ConnectionOptions, getCACertificates, connect as tlsConnect } from "node:tls";
import type { KubeConfig } from "@kubernetes/client-node";
import type { KubeClient } from "./client.ts";
import { isKubeError } from "./kube-error.ts";
import type { Tunnel } from "./port-forward.ts";
import { resourcePath, resources } from "./resources.ts";

export interface ApiPlace {
  /** Where the operator is installed. */
  readonly namespace: string;
  /** https://host[:port]; absent = through the API server, for those who may forward ports there. */
  readonly server?: string | undefined;
}

export interface ApiCall {
  readonly method?: "GET" | "POST";
  /** With the query. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal?: AbortSignal;
}

/** No answer of the API: `reason` is Absent (not installed or not on), Unreachable or Untrusted. */
export class ApiUnreachable extends Error {
  override readonly name = "ApiUnreachable";
  readonly reason: "Absent" | "Unreachable" | "Untrusted";
  constructor(reason: ApiUnreachable["reason"], message: string, cause?: unknown) {
    super(message, { cause });
    this.reason = reason;
  }
}

/** What the operator says of its API, in the ConfigMap oao-api. */
interface Published {
  readonly service: string;
  readonly targetPort: string;
  readonly "ca.crt"?: string;
}

const headTimeoutMs = 60_000;

export class OperatorApi {
  readonly #config: KubeConfig;
  readonly #client: KubeClient;
  readonly #place: ApiPlace;

  constructor(config: KubeConfig, client: KubeClient, place: ApiPlace) {
    this.#config = config;
    this.#client = client;
    this.#place = place;
  }

  /** Resolves with the head of the answer, whatever its status; its body is the caller's. Throws ApiUnreachable or KubeError. */
  async send(call: ApiCall): Promise<IncomingMessage> {
    const { server } = this.#place;
    const auth: RequestOptions = {};
    await this.#config.applyToHTTPSOptions(auth);
    // Of the cluster's connection only who the caller is: where to, and whom to trust there, are the API's own.
    const { cert, key, passphrase } = auth;
    const identity = Object.fromEntries(
      Object.entries({ cert, key, passphrase }).filter(([, value]) => value !== undefined),
    );
    // With whom they act as, which the API refuses rather than take them for themselves.
    const headers = { ...call.headers, ...(auth.headers as Readonly<Record<string, string>> | undefined) };
    const published = await this.#published(server === undefined);
    if (server !== undefined) return this.#direct(new URL(server), published?.["ca.crt"], identity, headers, call);
    return this.#forwarded(published as Published, identity, headers, call);
  }

  async #published(isNeeded: boolean): Promise<Published | undefined> {
    const { namespace } = this.#place;
    const path = resourcePath(resources.configMaps, { namespace, name: "oao-api" });
    try {
      return (await this.#client.request<{ data: Published }>({ path })).data;
    } catch (error) {
      // A server with a certificate that everybody trusts needs none of it.
      if (!isNeeded) return undefined;
      if (isKubeError(error, 404) || isKubeError(error, 403))
        throw new ApiUnreachable("Absent", `there is no HTTP API of an operator in namespace ${namespace}`, error);
      throw error;
    }
  }

  /** An Ingress on the way may have a certificate that everybody trusts. */
  #direct(
    { hostname, port }: URL,
    ca: string | undefined,
    identity: RequestOptions,
    headers: Readonly<Record<string, string>>,
    call: ApiCall,
  ): Promise<IncomingMessage> {
    const host = hostname.replace(/^\[(.*)\]$/, "$1");
    const trust = ca === undefined ? {} : { ca: [...getCACertificates(), ca] };
    return exchange({ ...identity, ...trust, host, port: port === "" ? 443 : port }, headers, call);
  }

  async #forwarded(
    { service, targetPort, "ca.crt": ca }: Published,
    identity: RequestOptions,
    headers: Readonly<Record<string, string>>,
    call: ApiCall,
  ): Promise<IncomingMessage> {
    const { namespace } = this.#place;
    const servername = `${service}.${namespace}.svc`;
    const tunnel = await this.#tunnel(service, Number(targetPort));
    const options: ConnectionOptions = {
      ...(identity as ConnectionOptions),
      ...(ca === undefined ? {} : { ca }),
      servername,
    };
    const createConnection = () => tlsConnect({ ...options, socket: tunnel.stream });
    try {
      const answer = await exchange({ host: servername, createConnection }, headers, call);
      answer.once("close", () => tunnel.close());
      return answer;
    } catch (error) {
      tunnel.close();
      throw error;
    }
  }

  async #tunnel(service: string, port: number): Promise<Tunnel> {
    const { namespace } = this.#place;
    const auth: RequestOptions = {};
    await this.#config.applyToHTTPSOptions(auth);
    try {
      const name = await this.#readyPod(service);
      const path = resourcePath(resources.pods, { namespace, name, subresource: "portforward" });
      const { forwardPort } = await import("./port-forward.ts");
      return await forwardPort(this.#config.getCurrentCluster()?.server ?? "", path, port, auth);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new ApiUnreachable("Unreachable", `no port of ${namespace}/${service} could be forwarded: ${why}`, error);
    }
  }

  async #readyPod(service: string): Promise<string> {
    const { namespace } = this.#place;
    const { spec } = await this.#client.request<Service>({
      path: resourcePath(resources.services, { namespace, name: service }),
    });
    const labelSelector = Object.entries(spec.selector)
      .map(([name, value]) => `${name}=${value}`)
      .join(",");
    const path = resourcePath(resources.pods, { namespace });
    const { items } = await this.#client.request<{ items: readonly Pod[] }>({ path, query: { labelSelector } });
    const ready = items.find(({ status }) => status?.conditions?.some(isReady));
    if (ready === undefined) throw new Error("no pod of it is ready");
    return ready.metadata.name;
  }
}

interface Service {
  readonly spec: { readonly selector: Readonly<Record<string, string>> };
}

interface Pod {
  readonly metadata: { readonly name: string };
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

function isReady({ type, status }: { readonly type: string; readonly status: string }): boolean {
  return type === "Ready" && status === "True";
}

function exchange(
  options: RequestOptions,
  headers: Readonly<Record<string, string>>,
  { method = "GET", path, body, signal }: ApiCall,
): Promise<IncomingMessage> {
  const length =
    body === undefined ? {} : { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) };
  // With an agent, even a new one, a connection that is there already would not be used.
  const agent = options.createConnection === undefined ? { agent: false } : {};
  return new Promise((resolve, reject) => {
    const request = httpsRequest(
      { ...options, ...agent, method, path, signal, headers: { ...headers, ...length } } as RequestOptions,
      (answer) => {
        request.setTimeout(0);
        resolve(answer);
      },
    );
    request.setTimeout(headTimeoutMs, () => request.destroy(new Error(`no answer in ${headTimeoutMs / 1_000} s`)));
    request.once("error", (error: NodeJS.ErrnoException) => {
      const isUntrusted = /CERT|SIGNATURE|ALTNAME|ISSUER/.test(error.code ?? "");
      reject(new ApiUnreachable(isUntrusted ? "Untrusted" : "Unreachable", error.message, error));
    });
    request.end(body);
  });
}
