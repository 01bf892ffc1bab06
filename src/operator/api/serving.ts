/**
 * The certificate that the API serves with, and what clients check it against.
 *
 * Self-managed: authority and certificate are in one Secret that all replicas share; whoever finds them missing or due makes them,
 * with the version as precondition, so that replicas never serve under two authorities. A former authority stays trusted while what
 * it signed is valid. Given: files of a Secret that somebody else renews. Either way the ConfigMap `oao-api` says how to reach and
 * check the API; it holds nothing secret.
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";
import type { KubeClient } from "../../adapters/kube/client.ts";
import { isKubeError, unless } from "../../adapters/kube/kube-error.ts";
import { resourcePath, resources } from "../../adapters/kube/resources.ts";
import { sameJson } from "../../host/status-pace.ts";
import { isDue, makeAuthority, makeServing, type Pair } from "./certificate.ts";

export interface ServingOptions {
  readonly client: KubeClient;
  readonly nowMs: () => number;
  readonly namespace: string;
  /** The Service, the port it has, and the one that it leads to. */
  readonly service: string;
  readonly port: number;
  readonly targetPort: number;
  /** Further names and addresses under which clients reach it. */
  readonly names: readonly string[];
  /** Name of the Secret that is managed here, or the folder of one that is given. */
  readonly tls: { readonly secret: string } | { readonly folder: string };
}

export interface Serving extends Pair {
  /** PEM; undefined = clients know it already. */
  readonly ca: string | undefined;
}

/** As it must be now; made where it is not there. Throws KubeError, or an error of the file system. */
export async function servingCertificate(options: ServingOptions): Promise<Serving> {
  const { tls } = options;
  const serving = "folder" in tls ? given(tls.folder) : await managed(options, tls.secret);
  await publish(options, serving.ca);
  return serving;
}

/** Names of the Service from anywhere in the cluster, and those that the chart was told. */
export function servingNames({ service, namespace, names }: Pick<ServingOptions, "service" | "namespace" | "names">) {
  const inside = [service, `${service}.${namespace}`, `${service}.${namespace}.svc`];
  return [...new Set([...inside, `${service}.${namespace}.svc.cluster.local`, "localhost", ...names])];
}

function given(folder: string): Serving {
  const read = (name: string) => readFileSync(join(folder, name), "utf8");
  let ca: string | undefined;
  try {
    ca = read("ca.crt");
  } catch {
    // A public authority's, say: clients know it.
  }
  return { certificate: read("tls.crt"), key: read("tls.key"), ca };
}

interface Secret {
  readonly metadata: { readonly resourceVersion: string };
  readonly data?: Readonly<Record<string, string>>;
}

async function managed(options: ServingOptions, name: string): Promise<Serving> {
  const { client, namespace } = options;
  const place = resourcePath(resources.secrets, { namespace, name });
  for (;;) {
    const there = await client.request<Secret>({ path: place }).catch(unless(404));
    const known = contentOf(there);
    const wanted = renewed(known, servingNames(options), options.nowMs());
    if (known !== undefined && wanted === known) return servingOf(known);
    const body = {
      apiVersion: "v1",
      kind: "Secret",
      type: "kubernetes.io/tls",
      metadata: { name, labels: { "app.kubernetes.io/part-of": "oao" }, ...versionOf(there) },
      stringData: wanted,
    };
    const path = there === undefined ? resourcePath(resources.secrets, { namespace }) : place;
    try {
      await client.request({ method: there === undefined ? "POST" : "PUT", path, body });
      return servingOf(wanted);
    } catch (error) {
      // Another replica was first: what it made is as good.
      if (!isKubeError(error, 409)) throw error;
    }
  }
}

function versionOf(object: Secret | undefined) {
  return object === undefined ? {} : { resourceVersion: object.metadata.resourceVersion };
}

interface Content {
  readonly "tls.crt": string;
  readonly "tls.key": string;
  /** The current authority first. */
  readonly "ca.crt": string;
  readonly "ca.key": string;
}

function contentOf(secret: Secret | undefined): Content | undefined {
  if (secret === undefined) return undefined;
  const text = (name: string) => Buffer.from(secret.data?.[name] ?? "", "base64").toString("utf8");
  return { "tls.crt": text("tls.crt"), "tls.key": text("tls.key"), "ca.crt": text("ca.crt"), "ca.key": text("ca.key") };
}

function servingOf(content: Content): Serving {
  return { certificate: content["tls.crt"], key: content["tls.key"], ca: content["ca.crt"] };
}

/** The same object where nothing has to be made anew. Pure but for the keys it draws. */
export function renewed(known: Content | undefined, names: readonly string[], nowMs: number): Content {
  const [authority, isKnown] = authorityOf(known, nowMs);
  if (known !== undefined && isKnown) {
    const pair = { certificate: known["tls.crt"], key: known["tls.key"] };
    if (isUsable(pair, nowMs) && isFor(pair.certificate, names)) return known;
  }
  const { certificate, key } = makeServing(authority, names, nowMs);
  const trusted = isKnown ? (known?.["ca.crt"] ?? "") : `${authority.certificate}${stillValid(known, nowMs)}`;
  return { "tls.crt": certificate, "tls.key": key, "ca.crt": trusted, "ca.key": authority.key };
}

/** With whether it is the known one. */
function authorityOf(known: Content | undefined, nowMs: number): readonly [Pair, boolean] {
  const pair = { certificate: certificatesIn(known?.["ca.crt"] ?? "")[0] ?? "", key: known?.["ca.key"] ?? "" };
  return isUsable(pair, nowMs) ? [pair, true] : [makeAuthority(nowMs), false];
}

/** Whatever somebody may have put into the Secret. */
function isUsable({ certificate, key }: Pair, nowMs: number): boolean {
  try {
    return !isDue(certificate, nowMs) && new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key));
  } catch {
    return false;
  }
}

function isFor(certificate: string, names: readonly string[]): boolean {
  const parsed = new X509Certificate(certificate);
  return names.every((name) => (isIP(name) === 0 ? parsed.checkHost(name) : parsed.checkIP(name)) !== undefined);
}

function stillValid(known: Content | undefined, nowMs: number): string {
  const isValid = (pem: string) => {
    try {
      return new X509Certificate(pem).validToDate.getTime() > nowMs;
    } catch {
      return false;
    }
  };
  return certificatesIn(known?.["ca.crt"] ?? "")
    .slice(0, 1)
    .filter(isValid)
    .join("");
}

function certificatesIn(pem: string): string[] {
  return pem.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----\n?/g) ?? [];
}

/** Where the CLI looks for the API. */
export const publishedName = "oao-api";

async function publish(options: ServingOptions, ca: string | undefined): Promise<void> {
  const { client, namespace, service, port, targetPort } = options;
  const data = {
    service,
    port: String(port),
    targetPort: String(targetPort),
    ...(ca === undefined ? {} : { "ca.crt": ca }),
  };
  const place = { namespace, name: publishedName };
  const path = resourcePath(resources.configMaps, place);
  const metadata = { name: publishedName, labels: { "app.kubernetes.io/part-of": "oao" } };
  const body = { apiVersion: "v1", kind: "ConfigMap", metadata, data };
  const there = await client.request<{ data?: Readonly<Record<string, string>> }>({ path }).catch(unless(404));
  if (there !== undefined && sameJson(there.data, data)) return;
  const create = { method: "POST", path: resourcePath(resources.configMaps, { namespace }), body } as const;
  const request = there === undefined ? create : ({ method: "PUT", path, body } as const);
  await client.request(request).catch(unless(409)); // another replica says the same
}
