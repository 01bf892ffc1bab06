/**
 * The rules between fields, each in one place: what the API server evaluates (CEL) beside what lint
 * and the laptop evaluate (a function). Rules of single values are in the zod schemas.
 */
import { executionRules } from "./execution-rules.ts";
import { executionUpdateRules } from "./execution-update-rules.ts";
import { type Fields, isFields, type Path } from "./fields.ts";
import type { Kind } from "./json-schema.ts";
import { policyRules } from "./policy-rules.ts";
import type { Breach, Rule, UpdateRule } from "./rule.ts";

/** Report order is list order. */
export const rules: Readonly<Record<Kind, readonly Rule[]>> = {
  Execution: executionRules,
  GovernancePolicy: policyRules,
};

export const updateRules: Readonly<Record<Kind, readonly UpdateRule[]>> = {
  Execution: executionUpdateRules,
  GovernancePolicy: [],
};

export interface RuleBreach extends Breach {
  readonly code: string;
}

/** Every breach of every rule in an object of the kind; paths start at the object's root. */
export function checkRules(kind: Kind, object: unknown): RuleBreach[] {
  const found: RuleBreach[] = [];
  for (const rule of rules[kind]) {
    for (const { path, self } of placesOf(object, rule.at)) {
      for (const breach of rule.check(self))
        found.push({ ...breach, code: rule.code, path: [...path, ...breach.path] });
    }
  }
  return found;
}

/** What the API server says to an edit, for hosts without one: the broken rules, in the order of the table. */
export function checkUpdate(kind: Kind, before: unknown, after: unknown): RuleBreach[] {
  const found: RuleBreach[] = [];
  for (const rule of updateRules[kind]) {
    const [old] = placesOf(before, rule.at);
    const [now] = placesOf(after, rule.at);
    if (old !== undefined && now !== undefined && !rule.allows(old.self, now.self)) {
      found.push({ code: rule.code, path: [...now.path, rule.fieldPath.slice(1)], message: rule.message });
    }
  }
  return found;
}

function placesOf(root: unknown, at: readonly string[]): { path: Path; self: Fields }[] {
  let places: { path: Path; value: unknown }[] = [{ path: [], value: root }];
  for (const step of at) {
    places = places.flatMap(({ path, value }) => {
      if (step === "*")
        return Array.isArray(value) ? value.map((entry: unknown, i) => ({ path: [...path, i], value: entry })) : [];
      return isFields(value) && Object.hasOwn(value, step) ? [{ path: [...path, step], value: value[step] }] : [];
    });
  }
  return places.flatMap(({ path, value }) => (isFields(value) ? [{ path, self: value }] : []));
}
