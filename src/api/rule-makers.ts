/** Rules of a kind that several fields share: each as CEL for the API server and as a check with a better message. */
import { type Fields, has, namesOf } from "./fields.ts";
import { type Breach, duplicates, type Rule } from "./rule.ts";

const spec = ["spec"] as const;

/**
 * The names of a list as one CEL variable: bound once, and as keys of a map, since `in` costs a list its length each time
 * (1,000 nodes with one dependency each were over the API server's limit). transformMapEntry: Kubernetes 1.33 and later.
 */
export function bound(list: string, variable: string, condition: string): string {
  return `[has(self.${list}) ? self.${list}.transformMapEntry(i, x, {x.name: i}) : {}].all(${variable}, ${condition})`;
}

export function uniqueNames(list: string): Rule {
  return {
    code: "DuplicateName",
    at: spec,
    message: `Names in ${list} must be unique.`,
    cel: undefined, // x-kubernetes-list-map-keys
    check: (self) => duplicates(self, list, "name"),
  };
}

function listed(names: readonly string[]): string {
  return [names.slice(0, -1).join(", "), names.at(-1) ?? ""].filter((part) => part !== "").join(" and ");
}

export function exactlyOne(code: string, at: readonly string[], fields: readonly string[], what: string): Rule {
  const choice = listed(fields);
  return {
    code,
    at,
    message: `Exactly one of ${choice} must be set.`,
    cel: `[${fields.map((field) => `has(self.${field})`).join(", ")}].exists_one(x, x)`,
    check: (self) => {
      const set = fields.filter((field) => has(self, field));
      if (set.length === 1) return [];
      const message =
        set.length === 0
          ? `${what} has none of ${choice}; exactly one must be set`
          : `${what} has ${listed(set)}; exactly one of ${choice} must be set`;
      return [{ path: set.length === 0 ? [] : [set[1] ?? ""], message }];
    },
  };
}

/** References that hold a name of another list: each breach names the nearest known one. */
export function knownNames(rule: {
  readonly code: string;
  readonly noun: string;
  readonly message: string;
  readonly fieldPath: string;
  readonly cel: string;
  readonly known: string;
  /** A list that holds names too, but not for this reference, and why. */
  readonly elsewhere?: { readonly list: string; readonly because: string };
  readonly references: (
    self: Fields,
  ) => readonly { readonly path: readonly (string | number)[]; readonly name: unknown }[];
}): Rule {
  return {
    code: rule.code,
    at: spec,
    message: rule.message,
    // What a replay inherits is known where its parent's record is read, and checked there.
    cel: `has(self.replay) || ${rule.cel}`,
    fieldPath: rule.fieldPath,
    check: (self) => {
      if (has(self, "replay")) return [];
      const known = namesOf(self, rule.known);
      const set = new Set(known);
      const { elsewhere } = rule;
      const others = new Set(elsewhere === undefined ? [] : namesOf(self, elsewhere.list));
      return rule.references(self).flatMap(({ path, name }): Breach[] => {
        if (typeof name !== "string" || set.has(name)) return [];
        if (elsewhere !== undefined && others.has(name)) {
          return [{ path, message: `"${name}" is in ${elsewhere.list}: ${elsewhere.because}`, hint: "remove it" }];
        }
        const message = `there is no ${rule.noun} "${name}" in spec.${rule.known}`;
        return [{ path, message, unknownName: { name, known } }];
      });
    },
  };
}
