/** The operator's HTTP API as a person reaches it: with the kubeconfig's credentials, directly or through the API server. */
import type { IncomingMessage } from "node:http";
import { request as httpsRequest, type RequestOptions } from "node:https";
import { type ConnectionOptions, getCACertificates, connect as tlsConnect } from "node:tls";
import type { KubeConfig } from "@kubernetes/client-node";
import type { KubeClient } from "./client.ts";
import { unless } from "./kube-error.ts";
import { selectorOf } from "./names.ts";
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

/** No answer of the API: `reason` is Absent (not installed or not on), Several (which one?), Unreachable or Untrusted. */
export class ApiUnreachable extends Error {
  override readonly name = "ApiUnreachable";
  readonly reason: "Absent" | "Several" | "Unreachable" | "Untrusted";
  constructor(reason: ApiUnreachable["reason"], message: string, cause?: unknown) {
    super(message, { cause });
    this.reason = reason;
  }
}

/** Of the ConfigMap in which an operator says how to reach its API. Its name is that of the API's Service, so of the release. */
export const apiLabels = { "app.kubernetes.io/part-of": "oao", "app.kubernetes.io/component": "api" } as const;
/** Of the release `oao`, for those who may not list them. */
const usualName = "oao-api";

/** What it says. */
interface Published {
  readonly service: string;
  readonly targetPort: string;
  readonly "ca.crt"?: string;
}

const dnsLabel = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
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
    if (server !== undefined) {
      const url = new URL(server);
      // A server with a certificate that everybody trusts needs none of it.
      const published = await this.#published([url.hostname.split(".")[0] ?? ""]).catch(() => []);
      const authorities = published.flatMap(({ "ca.crt": ca }) => ca ?? []);
      return this.#direct(url, authorities, identity, headers, call);
    }
    return this.#forwarded(await this.#only(), identity, headers, call);
  }

  async #only(): Promise<Published> {
    const { namespace } = this.#place;
    const published = await this.#published([]);
    const [only] = published;
    if (only === undefined)
      throw new ApiUnreachable("Absent", `there is no HTTP API of an operator in namespace ${namespace}`);
    if (published.length === 1) return only;
    const names = published.map(({ service }) => service).join(", ");
    throw new ApiUnreachable(
      "Several",
      `there are ${published.length} operators with an HTTP API in namespace ${namespace}: ${names}`,
    );
  }

  /** Of every operator there, as far as the caller may look: `guesses` are names that it may have. */
  async #published(guesses: readonly string[]): Promise<readonly Published[]> {
    const { namespace } = this.#place;
    const path = resourcePath(resources.configMaps, { namespace });
    const query = { labelSelector: selectorOf(apiLabels) };
    const listed = await this.#client
      .request<{ items: readonly { data: Published }[] }>({ path, query })
      .catch(unless(403));
    if (listed !== undefined && listed.items.length > 0) return listed.items.map(({ data }) => data);
    const names = [...new Set([...guesses, ...(await this.#servicesOfPods()), usualName])];
    const found = await Promise.all(names.filter((name) => dnsLabel.test(name)).map((name) => this.#named(name)));
    return found.flatMap((each) => each ?? []);
  }

  /** Everybody whom the cluster knows may read it, by its name. */
  async #named(name: string): Promise<Published | undefined> {
    const path = resourcePath(resources.configMaps, { namespace: this.#place.namespace, name });
    const found = await this.#client.request<{ data: Published }>({ path }).catch(unless(404, 403));
    return found?.data;
  }

  /** Whoever forwards ports may list pods, and those of operators name the Service of their API. */
  async #servicesOfPods(): Promise<readonly string[]> {
    const path = resourcePath(resources.pods, { namespace: this.#place.namespace });
    const query = { labelSelector: selectorOf({ "app.kubernetes.io/component": "operator" }) };
    const pods = await this.#client.request<{ items: readonly Pod[] }>({ path, query }).catch(unless(403));
    const env = pods?.items.flatMap(({ spec }) => spec?.containers.flatMap((each) => each.env ?? []) ?? []) ?? [];
    return env.flatMap(({ name, value }) => (name === "OAO_API_SERVICE" && value !== undefined ? [value] : []));
  }

  /** An Ingress on the way may have a certificate that everybody trusts. */
  #direct(
    { hostname, port }: URL,
    authorities: readonly string[],
    identity: RequestOptions,
    headers: Readonly<Record<string, string>>,
    call: ApiCall,
  ): Promise<IncomingMessage> {
    const host = hostname.replace(/^\[(.*)\]$/, "$1");
    const trust = authorities.length === 0 ? {} : { ca: [...getCACertificates(), ...authorities] };
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
    const path = resourcePath(resources.pods, { namespace });
    const query = { labelSelector: selectorOf(spec.selector) };
    const { items } = await this.#client.request<{ items: readonly Pod[] }>({ path, query });
    const ready = items.find(({ status }) => status?.conditions?.some(isReady));
    if (ready === undefined) throw new Error("no pod of it is ready");
    return ready.metadata.name;
  }
}

interface Service {
  readonly spec: { readonly selector: Readonly<Record<string, string>> };
}

interface EnvVar {
  readonly name: string;
  readonly value?: string;
}

interface Pod {
  readonly metadata: { readonly name: string };
  readonly spec?: { readonly containers: readonly { readonly env?: readonly EnvVar[] }[] };
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
