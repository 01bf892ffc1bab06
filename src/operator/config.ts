/** The operator's configuration, parsed once from its environment; the chart sets every variable. */
import { readFileSync } from "node:fs";
import { amountOf, defaultResources, type PodResources } from "../adapters/kube/pod-resources.ts";
import type { GovernancePolicy } from "../api/types.ts";
import { lintManifest } from "../core/manifest/lint.ts";
import { formatProblem } from "../core/manifest/problem.ts";

export interface OperatorConfig {
  /** With the operator's own credentials. */
  readonly storeUrl: string;
  /** As pods see it, without credentials. */
  readonly workerStoreUrl: string;
  /** Certificate authority of a rediss:// store, PEM. */
  readonly storeCa: string | undefined;
  /** Passwords of runs are derived from it. */
  readonly storeUserKey: string;
  /** Whose Executions are run; empty = all. */
  readonly namespaces: readonly string[];
  /** The operator's own. */
  readonly podNamespace: string;
  /** Unique per process. */
  readonly identity: string;
  readonly workerImage: string;
  /** Of worker pods whose node does not say. */
  readonly workerResources: PodResources;
  readonly floorPolicies: readonly GovernancePolicy[];
  /** Of /healthz, /readyz and /metrics; 0 = any free one. */
  readonly metricsPort: number;
  readonly leaderElection: boolean;
  readonly leaseName: string;
  /** `namespace/lease`, as the status of its runs names it: replicas that share a lease are one operator, and so is a release that comes back. */
  readonly operator: string;
  readonly leaseMs: number;
  readonly leaseTtlMs: number;
  readonly stopGraceMs: number;
  /** Where tools never connect. */
  readonly denyCidrs: readonly string[];
  /** For trying: runs start over a store that may drop journals or keeps none on disk. */
  readonly allowUnfitStore: boolean;
  readonly logLevel: string;
  /** Undefined = no HTTP API. */
  readonly api: ApiConfig | undefined;
}

export interface ApiConfig {
  /** 0 = any free one. */
  readonly port: number;
  /** Under which clients find it, in the operator's own namespace. */
  readonly service: string;
  readonly servicePort: number;
  /** Further names and addresses of the certificate. */
  readonly names: readonly string[];
  /** Name of the Secret that the operator keeps, or the folder of one that somebody else does. */
  readonly tls: { readonly secret: string } | { readonly folder: string };
  /** Requests of each caller. */
  readonly rate: { readonly perSecond: number; readonly burst: number };
}

type Environment = Readonly<Record<string, string | undefined>>;

const keyLengthMin = 16;

/** Throws one Error that names every variable that is missing or unreadable. */
export function readOperatorConfig(env: Environment): OperatorConfig {
  const problems: string[] = [];
  const need = (name: string): string => {
    const value = env[name] ?? "";
    if (value === "") problems.push(`${name} is not set`);
    return value;
  };
  const whole = (name: string, absent: number, least: number): number => {
    const text = env[name];
    if (text === undefined || text === "") return absent;
    const value = Number(text);
    if (!Number.isInteger(value) || value < least)
      problems.push(`${name} must be a whole number from ${least}, not ${JSON.stringify(text)}`);
    return value;
  };
  const file = (name: string): string | undefined => {
    const path = env[name];
    if (path === undefined || path === "") return undefined;
    try {
      return readFileSync(path, "utf8");
    } catch (error) {
      problems.push(`${name} names a file that cannot be read: ${(error as Error).message}`);
      return undefined;
    }
  };
  const storeUrl = need("OAO_STORE");
  const storeUserKey = need("OAO_STORE_USER_KEY");
  if (storeUserKey !== "" && storeUserKey.length < keyLengthMin)
    problems.push(`OAO_STORE_USER_KEY must have ${keyLengthMin} characters or more: passwords are derived from it`);
  const podNamespace = need("OAO_POD_NAMESPACE");
  const leaseName = env["OAO_LEASE_NAME"] || "oao";
  const floor = file("OAO_FLOOR_POLICY");
  const config: OperatorConfig = {
    storeUrl,
    workerStoreUrl: env["OAO_STORE_WORKER_URL"] || withoutCredentials(storeUrl, problems),
    storeCa: file("OAO_STORE_CA"),
    storeUserKey,
    namespaces: (env["OAO_NAMESPACES"] ?? "").split(",").filter((name) => name !== ""),
    podNamespace,
    identity: need("OAO_IDENTITY"),
    workerImage: need("OAO_WORKER_IMAGE"),
    workerResources: resourcesFrom(env["OAO_WORKER_RESOURCES"], problems),
    floorPolicies: floor === undefined ? [] : policiesOf(floor, problems),
    metricsPort: whole("OAO_METRICS_PORT", 8_080, 0),
    leaderElection: env["OAO_LEADER_ELECTION"] !== "false",
    leaseName,
    operator: `${podNamespace}/${leaseName}`,
    leaseMs: whole("OAO_LEASE_MS", 15_000, 3_000),
    leaseTtlMs: whole("OAO_LEASE_TTL_MS", 10_000, 5_000),
    stopGraceMs: whole("OAO_STOP_GRACE_MS", 15_000, 1_000),
    denyCidrs: [...apiServerCidrs(env), ...(env["OAO_DENY_CIDRS"] ?? "").split(",").filter((cidr) => cidr !== "")],
    allowUnfitStore: env["OAO_ALLOW_UNFIT_STORE"] === "true",
    logLevel: env["OAO_LOG_LEVEL"] || "info",
    api: (env["OAO_API_PORT"] ?? "") === "" ? undefined : apiConfig(env, need, whole),
  };
  if (problems.length > 0) throw new Error(`the operator cannot start:\n  ${problems.join("\n  ")}`);
  return config;
}

function apiConfig(
  env: Environment,
  need: (name: string) => string,
  whole: (name: string, absent: number, least: number) => number,
): ApiConfig {
  const folder = env["OAO_API_TLS_FOLDER"] ?? "";
  return {
    port: whole("OAO_API_PORT", 8_443, 0),
    service: need("OAO_API_SERVICE"),
    servicePort: whole("OAO_API_SERVICE_PORT", 443, 1),
    names: (env["OAO_API_NAMES"] ?? "").split(",").filter((name) => name !== ""),
    tls: folder === "" ? { secret: need("OAO_API_TLS_SECRET") } : { folder },
    rate: { perSecond: whole("OAO_API_RATE", 20, 1), burst: whole("OAO_API_BURST", 40, 1) },
  };
}

function withoutCredentials(url: string, problems: string[]): string {
  const parsed = URL.parse(url);
  if (parsed === null || !/^rediss?:$/.test(parsed.protocol)) {
    if (url !== "") problems.push("OAO_STORE must be redis://host:port/db or rediss://host:port/db");
    return "";
  }
  parsed.username = "";
  parsed.password = "";
  return parsed.href;
}

/** As a container has them: `{ requests: { memory: … }, limits: { … } }`. */
function resourcesFrom(text: string | undefined, problems: string[]): PodResources {
  if (text === undefined || text === "") return defaultResources;
  const quantities = (given: Readonly<Record<string, unknown>> = {}) =>
    Object.fromEntries(
      Object.entries(given).map(([name, value]) => {
        if (Number.isNaN(amountOf(String(value))))
          problems.push(`OAO_WORKER_RESOURCES: ${name} is ${JSON.stringify(value)}: write it as in 500m, 2 or 1Gi`);
        return [name, String(value)];
      }),
    );
  try {
    const { requests, limits } = JSON.parse(text) as { requests?: object; limits?: object };
    return { requests: quantities({ ...requests }), limits: quantities({ ...limits }) };
  } catch (error) {
    problems.push(`OAO_WORKER_RESOURCES is no JSON object: ${(error as Error).message}`);
    return defaultResources;
  }
}

/** A floor that cannot be read must not become no floor. */
function policiesOf(text: string, problems: string[]): GovernancePolicy[] {
  const { policies, problems: found } = lintManifest(text, "OAO_FLOOR_POLICY");
  const errors = found.filter(({ severity }) => severity === "Error");
  problems.push(...errors.map(formatProblem));
  if (errors.length === 0 && policies.length === 0) problems.push("OAO_FLOOR_POLICY holds no GovernancePolicy");
  return policies.map(({ object }) => object);
}

function apiServerCidrs(env: Environment): string[] {
  const host = env["KUBERNETES_SERVICE_HOST"];
  if (host === undefined || host === "") return [];
  return [`${host}/${host.includes(":") ? 128 : 32}`];
}
