/**
 * Several policies as one. Order does not matter, and among policies that say something the
 * strictest wins; defaults hold only where none says anything:
 *
 * | Field | Strictest |
 * |---|---|
 * | budgets, maxTokens, maxSteps, maxParallel, maxDurationSeconds, maxRestarts, maxBodyBytes, maxRetries, maxDelaySeconds, sameCall | smallest |
 * | retryDelaySeconds, exponentialBackoff | largest |
 * | jitter | Seeded, then None |
 * | retryOn | what all of them list |
 * | onInDoubt | Fail, then Ask, then Retry |
 * | onLossWindow | Refuse, then Allow |
 * | recording.content | DigestOnly, then Full |
 * | recording.redact | every path of any |
 * | limits.maxConcurrentExecutions | smallest |
 * | models, tools, images | never merged: each policy must allow |
 *
 * An Audit policy stops and changes nothing: its limits become `auditLimits`, its lists are checked
 * and reported, its redaction holds (it only hides), the rest of it is passed over.
 */
import type { GovernancePolicy, PolicySpec } from "../../api/types.ts";
import { policyDefaults } from "../../api/defaults.ts";
import { canonicalJson } from "../digest/digest.ts";
import type { Unit } from "../protocol/types.ts";
import type { EffectivePolicy, PolicyRules, RetryRule, ScopedLimits } from "./types.ts";

/** Why a policy governs: the operator's floor, a labelled default of the namespace, or policyRef. All hold alike. */
export type PolicyRole = "Floor" | "Default" | "Ref";

export interface GoverningPolicy {
  readonly policy: GovernancePolicy;
  readonly role: PolicyRole;
}

export interface CombineOptions {
  /** G3: in a cluster (true) a secret is refused unless a policy pairs it; a laptop's secrets are its user's own. */
  readonly requirePairing: boolean;
}

type Scope = "Call" | "Node" | "Execution";

interface NamedLimit {
  readonly scope: Scope;
  readonly unit: Unit;
  readonly limit: number;
  readonly name: string;
}

/** The one policy that governs a run. A policy that is there twice (as a default and by reference) counts once. */
export function combinePolicies(
  governing: readonly GoverningPolicy[],
  { requirePairing }: CombineOptions,
): EffectivePolicy {
  const policies = distinct(governing.map(({ policy }) => policy));
  const enforced = policies.filter((policy) => policy.spec.enforcement !== "Audit");
  const audited = policies.filter((policy) => policy.spec.enforcement === "Audit");
  const limits = smallest(enforced.flatMap(namedLimits));
  const auditLimits = smallest(audited.flatMap(namedLimits));
  const specs = enforced.map((policy) => policy.spec);
  return {
    requirePairing,
    policies: policies.map(identityOf),
    limits: limits.scoped,
    auditLimits: auditLimits.scoped,
    limitNames: { ...limits.names, ...prefixed(auditLimits.names) },
    rules: policies.map(rulesOf),
    retry: combineRetry(specs),
    maxRestarts: least(specs, (spec) => spec.infrastructure?.maxRestarts) ?? policyDefaults.maxRestarts,
    maxParallel: least(specs, (spec) => spec.limits?.maxParallel),
    maxDurationMs: inMs(least(specs, (spec) => spec.limits?.maxDurationSeconds)),
    ...concurrencyOf(enforced),
    sameCall: sameCallOf(
      specs,
      audited.map((policy) => policy.spec),
    ),
    onInDoubt: firstOf(specs, (spec) => spec.onInDoubt, ["Fail", "Ask", "Retry"]) ?? policyDefaults.onInDoubt,
    onLossWindow: firstOf(specs, (spec) => spec.onLossWindow, ["Refuse", "Allow"]) ?? policyDefaults.onLossWindow,
    recording: {
      content:
        firstOf(specs, (spec) => spec.recording?.content, ["DigestOnly", "Full"]) ?? policyDefaults.recording.content,
      redact: [...new Set(policies.flatMap(({ spec }) => spec.recording?.redact ?? []))].sort(),
      maxBodyBytes: least(specs, (spec) => spec.recording?.maxBodyBytes) ?? policyDefaults.recording.maxBodyBytes,
    },
  };
}

function identityOf({ metadata }: GovernancePolicy): EffectivePolicy["policies"][number] {
  const { namespace = "", name = "", generation } = metadata;
  return { namespace, name, ...(typeof generation === "number" ? { generation } : {}) };
}

/** Sorted by namespace, name, content; equal ones once. */
function distinct(policies: readonly GovernancePolicy[]): GovernancePolicy[] {
  const byKey = new Map(
    policies.map((policy) => {
      const { namespace = "", name = "" } = policy.metadata;
      return [`${namespace}/${name}/${canonicalJson(policy.spec)}`, policy] as const;
    }),
  );
  return [...byKey].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, policy]) => policy);
}

function namedLimits({ metadata, spec }: GovernancePolicy): NamedLimit[] {
  const named: NamedLimit[] = (spec.budgets ?? []).map(({ scope, unit, limit, name }) => ({
    scope,
    unit,
    limit,
    name,
  }));
  if (spec.maxTokens !== undefined)
    named.push({ scope: "Execution", unit: "TotalTokens", limit: spec.maxTokens, name: "maxTokens" });
  const maxSteps = spec.limits?.maxSteps;
  if (maxSteps !== undefined) named.push({ scope: "Execution", unit: "Steps", limit: maxSteps, name: "maxSteps" });
  return named.map((one) => ({ ...one, name: `${metadata.name ?? ""}/${one.name}` }));
}

function smallest(named: readonly NamedLimit[]): { scoped: ScopedLimits; names: Record<string, string> } {
  const scoped: Record<Scope, Partial<Record<Unit, number>>> = { Call: {}, Node: {}, Execution: {} };
  const names: Record<string, string> = {};
  // Of equal limits the first name counts, so that the order of policies does not.
  const sorted = named.toSorted((a, b) => a.limit - b.limit || (a.name < b.name ? -1 : 1));
  for (const { scope, unit, limit, name } of sorted) {
    if (scoped[scope][unit] !== undefined) continue;
    scoped[scope][unit] = limit;
    names[`${scope}/${unit}`] = name;
  }
  return { scoped: { execution: scoped.Execution, node: scoped.Node, call: scoped.Call }, names };
}

function concurrencyOf(policies: readonly GovernancePolicy[]): Pick<EffectivePolicy, "maxConcurrentExecutions"> {
  const [strictest] = policies
    .flatMap(({ metadata, spec }) => {
      const limit = spec.limits?.maxConcurrentExecutions;
      return limit === undefined ? [] : [{ limit, policy: metadata.name ?? "" }];
    })
    .sort((a, b) => a.limit - b.limit || (a.policy < b.policy ? -1 : 1));
  return strictest === undefined ? {} : { maxConcurrentExecutions: strictest };
}

function prefixed(names: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(names).map(([key, name]) => [`Audit/${key}`, name]));
}

function rulesOf({ metadata, spec }: GovernancePolicy): PolicyRules {
  return {
    name: metadata.name ?? "",
    enforcement: spec.enforcement ?? "Enforce",
    models: spec.models ?? {},
    tools: spec.tools ?? {},
    ...(spec.images === undefined ? {} : { images: spec.images }),
  };
}

function combineRetry(specs: readonly PolicySpec[]): RetryRule {
  const defaults = policyDefaults.retry;
  const lists = specs.flatMap((spec) => (spec.retry?.retryOn === undefined ? [] : [spec.retry.retryOn]));
  const [first = defaults.retryOn, ...others] = lists;
  return {
    maxRetries: least(specs, (spec) => spec.retry?.maxRetries) ?? defaults.maxRetries,
    retryDelayMs: (most(specs, (spec) => spec.retry?.retryDelaySeconds) ?? defaults.retryDelaySeconds) * 1000,
    exponentialBackoff: most(specs, (spec) => spec.retry?.exponentialBackoff) ?? defaults.exponentialBackoff,
    maxDelayMs: (least(specs, (spec) => spec.retry?.maxDelaySeconds) ?? defaults.maxDelaySeconds) * 1000,
    jitter: firstOf(specs, (spec) => spec.retry?.jitter, ["Seeded", "None"]) ?? defaults.jitter,
    retryOn: [...new Set(first)].filter((failure) => others.every((list) => list.includes(failure))).sort(),
  };
}

/** An Audit limit is only watched where no Enforce policy has one. */
function sameCallOf(enforced: readonly PolicySpec[], audited: readonly PolicySpec[]): EffectivePolicy["sameCall"] {
  const limitOf = (spec: PolicySpec) => spec.limits?.loopDetection?.sameCall;
  const hard = least(enforced, limitOf);
  if (hard !== undefined) return { limit: hard, enforcement: "Enforce" };
  const soft = least(audited, limitOf);
  return soft === undefined ? undefined : { limit: soft, enforcement: "Audit" };
}

function inMs(seconds: number | undefined): number | undefined {
  return seconds === undefined ? undefined : seconds * 1000;
}

function least(specs: readonly PolicySpec[], read: (spec: PolicySpec) => number | undefined): number | undefined {
  const values = specs.map(read).filter((value) => value !== undefined);
  return values.length === 0 ? undefined : Math.min(...values);
}

function most(specs: readonly PolicySpec[], read: (spec: PolicySpec) => number | undefined): number | undefined {
  const values = specs.map(read).filter((value) => value !== undefined);
  return values.length === 0 ? undefined : Math.max(...values);
}

/** The strictest value that any policy says. */
function firstOf<T>(
  specs: readonly PolicySpec[],
  read: (spec: PolicySpec) => T | undefined,
  strictestFirst: readonly T[],
): T | undefined {
  const said = new Set(specs.map(read));
  return strictestFirst.find((value) => said.has(value));
}
