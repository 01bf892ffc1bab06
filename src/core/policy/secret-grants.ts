/** Which secrets a node's worker is handed: only those that its own calls need and its policies let through (G3). */
import type { ExecutionSpec, NodeSpec } from "../../api/types.ts";
import { checkModel, checkTool, modelCheckOf, toolCheckOf } from "./checks.ts";
import { secretVariable } from "./secret-variable.ts";
import type { EffectivePolicy, Violation } from "./types.ts";

export interface SecretGrant {
  /** Name and key of the Secret. */
  readonly name: string;
  readonly key: string;
  /** Where its worker looks for it. */
  readonly variable: string;
}

/**
 * In the order of model, then tools. The secrets of a call that a policy refuses are not handed out: code in the worker
 * could send them elsewhere. Of secrets that would share one variable none is: one would be taken for the other.
 */
export function secretGrants(
  spec: ExecutionSpec,
  policy: EffectivePolicy,
  node: Pick<NodeSpec, "agent" | "tool">,
): SecretGrant[] {
  const agent = spec.agents?.find((candidate) => candidate.name === node.agent?.ref);
  const model = spec.models?.find((candidate) => candidate.name === agent?.model);
  const toolNames = new Set([...(agent?.tools ?? []), ...(node.tool === undefined ? [] : [node.tool.ref])]);
  const refs = [
    ...(model?.apiKeySecretRef !== undefined && isLetThrough(checkModel(policy, modelCheckOf(model)))
      ? [model.apiKeySecretRef]
      : []),
    ...(spec.tools ?? [])
      .filter((tool) => toolNames.has(tool.name) && isLetThrough(checkTool(policy, toolCheckOf(tool))))
      .flatMap((tool) => (tool.http?.headers ?? []).flatMap(({ secretKeyRef }) => secretKeyRef ?? [])),
  ];
  const byVariable = new Map<string, Map<string, SecretGrant>>();
  for (const { name, key } of refs) {
    const variable = secretVariable({ name, key });
    const sharing = byVariable.get(variable) ?? new Map<string, SecretGrant>();
    byVariable.set(variable, sharing.set(`${name}/${key}`, { name, key, variable }));
  }
  return [...byVariable.values()].filter((sharing) => sharing.size === 1).flatMap((sharing) => [...sharing.values()]);
}

/** Audit policies stop nothing. */
function isLetThrough(violations: readonly Violation[]): boolean {
  return violations.every(({ enforcement }) => enforcement === "Audit");
}
