/** Limits of the two accounts: the execution's, and one node's. */
import type { NodeSpec } from "../../api/types.ts";
import type { Limits, Unit } from "../protocol/types.ts";
import type { EffectivePolicy } from "./types.ts";

export interface OpenLimits {
  readonly limits: Limits;
  readonly auditLimits: Limits;
  /** As `EffectivePolicy.limitNames`, for messages about these limits. */
  readonly limitNames: Readonly<Record<string, string>>;
}

/** What the execution's account is opened with; Steps is maxSteps. */
export function executionLimits(policy: EffectivePolicy): OpenLimits {
  return { limits: policy.limits.execution, auditLimits: policy.auditLimits.execution, limitNames: policy.limitNames };
}

/** What a node's account is opened with: the node's own budget can only tighten, and is always enforced. */
export function nodeLimits(policy: EffectivePolicy, node: Pick<NodeSpec, "name" | "budget">): OpenLimits {
  const limits: Partial<Record<Unit, number>> = { ...policy.limits.node };
  const limitNames: Record<string, string> = { ...policy.limitNames };
  for (const { unit, limit } of node.budget ?? []) {
    const known = limits[unit];
    if (known !== undefined && known <= limit) continue;
    limits[unit] = limit;
    limitNames[`Node/${unit}`] = `${node.name}/budget`;
  }
  return { limits, auditLimits: policy.auditLimits.node, limitNames };
}
