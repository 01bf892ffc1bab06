/** What of an Execution may change once it exists. */
import { has, isFields } from "./fields.ts";
import type { UpdateRule } from "./rule.ts";

const spec = ["spec"] as const;

/** Everything of the spec but desiredState and the two retention fields. A test compares it with the schema. */
export const immutableFields = [
  "task",
  "input",
  "policyRef",
  "models",
  "tools",
  "agents",
  "nodes",
  "finally",
  "parallelism",
  "activeDeadlineSeconds",
  "replay",
  "expectedHash",
] as const;

export const executionUpdateRules: readonly UpdateRule[] = [
  ...immutableFields.map(
    (field): UpdateRule => ({
      code: "Immutable",
      at: spec,
      message: `${field} cannot be changed: create a new Execution (another name, or generateName).`,
      // On the parent with has(): a rule on the value alone would not see the field set to null and then set anew.
      cel: `has(self.${field}) == has(oldSelf.${field}) && (!has(self.${field}) || self.${field} == oldSelf.${field})`,
      fieldPath: `.${field}`,
      allows: (before, after) =>
        has(before, field) === has(after, field) && (!has(after, field) || sameJson(before[field], after[field])),
    }),
  ),
  {
    code: "OneWay",
    at: spec,
    message: "desiredState Cancelled is final: create a new Execution (another name, or generateName).",
    cel: "!(has(oldSelf.desiredState) && oldSelf.desiredState == 'Cancelled') || (has(self.desiredState) && self.desiredState == 'Cancelled')",
    fieldPath: ".desiredState",
    allows: (before, after) => before.desiredState !== "Cancelled" || after.desiredState === "Cancelled",
  },
];

/** Equality of JSON values; the order of members does not matter. */
function sameJson(one: unknown, other: unknown): boolean {
  if (Array.isArray(one) && Array.isArray(other)) {
    return one.length === other.length && one.every((entry, index) => sameJson(entry, other[index]));
  }
  if (isFields(one) && isFields(other)) {
    const keys = Object.keys(one);
    return (
      keys.length === Object.keys(other).length &&
      keys.every((key) => Object.hasOwn(other, key) && sameJson(one[key], other[key]))
    );
  }
  return one === other;
}
