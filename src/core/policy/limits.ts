/** Limits of the two accounts: the execution's, and one node's. */
import type { NodeSpec } from "../../api/types.ts";
import type { Limits } from "../protocol/types.ts";
import type { EffectivePolicy } from "./types.ts";

export interface AccountLimits {
  readonly limits: Limits;
  readonly auditLimits: Limits;
}

export function executionLimits(policy: EffectivePolicy): AccountLimits {
  return { limits: policy.limits.execution, auditLimits: policy.auditLimits.execution };
}

/** A node's own budget may only tighten the policy's. */
export function nodeLimits(policy: EffectivePolicy, node: NodeSpec): AccountLimits {
  return { limits: (node.budget ?? []).reduce<Limits>((limits, own) => tighten(limits, { [own.unit]: own.limit }), policy.limits.node), auditLimits: policy.auditLimits.node };
}

/** The minimum of each unit. */
export function tighten(a: Limits, b: Limits): Limits {
  const result: { -readonly [K in keyof Limits]: Limits[K] } = { ...a };
  for (const [unit, limit] of Object.entries(b) as [keyof Limits, number][]) result[unit] = Math.min(limit, result[unit] ?? limit);
  return result;
}
