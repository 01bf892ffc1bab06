import type { Kind } from "../../api/json-schema.ts";

/**
 * Fields of the design that this version has no behaviour for. Accepting them would
 * promise something; calling them unknown would send people looking for a spelling mistake.
 */
const fields: Readonly<Record<Kind, readonly string[]>> = {
  Execution: ["spec.tools.*.mcp", "spec.nodes.*.graph", "spec.finally.*.graph", "spec.finally.*.approval"],
  GovernancePolicy: ["spec.budgets.*.warnPercent", "spec.tools.approval"],
};

export const notSupported = "is not supported by this version";

export function isUnsupportedField(kind: Kind, pattern: string): boolean {
  return fields[kind].includes(pattern);
}
