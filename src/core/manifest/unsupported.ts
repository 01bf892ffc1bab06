import type { Kind } from "../../api/json-schema.ts";

/**
 * Fields and values of the design that this version has no behaviour for. Accepting them would
 * promise something; calling them unknown would send people looking for a spelling mistake.
 */
const fields: Readonly<Record<Kind, readonly string[]>> = {
  Execution: [
    "spec.expectedHash",
    "spec.replay",
    "spec.tools.*.mcp",
    "spec.tools.*.module.configMapRef",
    ...["graph", "approval"].flatMap((field) => [`spec.nodes.*.${field}`, `spec.finally.*.${field}`]),
  ],
  GovernancePolicy: ["spec.budgets.*.warnPercent", "spec.tools.approval"],
};

const values: Readonly<Record<Kind, Readonly<Record<string, readonly string[]>>>> = {
  Execution: {},
  GovernancePolicy: { "spec.onInDoubt": ["Ask"] },
};

export const notSupported = "is not supported by this version";

export function isUnsupportedField(kind: Kind, pattern: string): boolean {
  return fields[kind].includes(pattern);
}

export function isUnsupportedValue(kind: Kind, pattern: string, value: unknown): boolean {
  return values[kind][pattern]?.some((known) => known === value) ?? false;
}
