/** What the pod of a node asks for, over what the installation gives. Pure. */
import type { NodeSpec } from "../../api/types.ts";

export interface PodResources {
  readonly requests: Readonly<Record<string, string>>;
  readonly limits: Readonly<Record<string, string>>;
}

/** More than an agent's worker takes (docs/operate.md): a tool's module may take some. A limit, so that a quota of memory can hold it. */
export const defaultResources: PodResources = {
  requests: { cpu: "100m", memory: "256Mi" },
  limits: { memory: "1Gi" },
};

/**
 * The node's own word first. A default never makes a pod that the API server refuses: where a node names a limit alone, it is the
 * request too (the rule of Kubernetes); where it requests more than the default limit, it may use what it requests.
 */
export function resourcesOf({ resources = {} }: Partial<NodeSpec>, given: PodResources): PodResources {
  const own = { requests: withoutUndefined(resources.requests), limits: withoutUndefined(resources.limits) };
  const requests = { ...without(given.requests, own.limits), ...own.requests };
  const limits = { ...given.limits, ...own.limits };
  for (const [name, limit] of Object.entries(given.limits)) {
    const request = requests[name];
    if (own.limits[name] === undefined && request !== undefined && amountOf(request) > amountOf(limit))
      limits[name] = request;
  }
  return { requests, limits };
}

const factors: Readonly<Record<string, number>> = {
  m: 1e-3,
  "": 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};

/** Of the quantities that api/placement.ts takes; NaN for any other. */
export function amountOf(quantity: string): number {
  const [, number = "", suffix = ""] = /^([0-9.]+)([A-Za-z]*)$/.exec(quantity) ?? [];
  return number === "" ? Number.NaN : Number(number) * (factors[suffix] ?? Number.NaN);
}

function without(given: PodResources["requests"], own: PodResources["limits"]): Record<string, string> {
  return Object.fromEntries(Object.entries(given).filter(([name]) => own[name] === undefined));
}

function withoutUndefined(given: Readonly<Record<string, string | undefined>> = {}): Record<string, string> {
  return Object.fromEntries(Object.entries(given).filter((entry): entry is [string, string] => entry[1] !== undefined));
}
