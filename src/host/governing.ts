/** Which policies govern a run: the operator's floor, the namespace's defaults, the one it names. */
import type { GovernancePolicy } from "../api/policy.ts";
import type { GoverningPolicy } from "../core/policy/combine.ts";
import type { StoredExecution, StoredPolicy } from "../ports/cluster.ts";

export const defaultPolicyLabel = "oao.dev/default";

/** Why a run cannot be governed yet. */
export interface Ungoverned {
  readonly reason: "PolicyNotFound" | "PolicyInvalid";
  readonly message: string;
}

/** Floor, the namespace's defaults, policyRef; or why there is no answer. An invalid default governs like a valid one. */
export function governingPolicies(
  run: Pick<StoredExecution, "key">,
  wanted: string | undefined,
  floor: readonly GovernancePolicy[],
  inNamespace: readonly StoredPolicy[],
): readonly GoverningPolicy[] | Ungoverned {
  const found: GoverningPolicy[] = floor.map((policy) => ({ policy, role: "Floor" }));
  for (const policy of inNamespace) {
    if (policy.metadata.labels?.[defaultPolicyLabel] === "true") found.push({ policy, role: "Default" });
  }
  if (wanted !== undefined) {
    const named = inNamespace.find((policy) => policy.metadata.name === wanted);
    if (named === undefined) {
      const message = `policyRef names GovernancePolicy "${wanted}", which namespace ${run.key.namespace} does not have; create it and the run starts`;
      return { reason: "PolicyNotFound", message };
    }
    found.push({ policy: named, role: "Ref" });
  }
  return invalidOf(run, inNamespace, found) ?? found;
}

function invalidOf(
  { key }: Pick<StoredExecution, "key">,
  inNamespace: readonly StoredPolicy[],
  governing: readonly GoverningPolicy[],
): Ungoverned | undefined {
  const invalid = inNamespace.find(
    (stored) => stored.problem !== undefined && governing.some(({ policy }) => policy === stored),
  );
  if (invalid === undefined) return undefined;
  const message = `GovernancePolicy "${invalid.metadata.name}" of namespace ${key.namespace} governs this run and is invalid (${invalid.problem}); correct it and the run starts`;
  return { reason: "PolicyInvalid", message };
}
