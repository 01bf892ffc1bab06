import { type Fields, has, isFields, listOf, namesOf, objectsOf } from "./fields.ts";
import { type Breach, duplicates, repeats, type Rule, type UpdateRule } from "./rule.ts";

const spec = ["spec"] as const;
const nodeLists = ["nodes", "finally"] as const;
type NodeList = (typeof nodeLists)[number];

/**
 * The names of a list as one CEL variable: bound once, and as keys of a map, since `in` costs a list its length each time
 * (1,000 nodes with one dependency each were over the API server's limit). transformMapEntry: Kubernetes 1.33 and later.
 */
function bound(list: string, variable: string, condition: string): string {
  return `[has(self.${list}) ? self.${list}.transformMapEntry(i, x, {x.name: i}) : {}].all(${variable}, ${condition})`;
}

function uniqueNames(list: string): Rule {
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

function exactlyOne(code: string, at: readonly string[], fields: readonly string[], what: string): Rule {
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
function knownNames(rule: {
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
    cel: rule.cel,
    fieldPath: rule.fieldPath,
    check: (self) => {
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

function dependencies(list: NodeList) {
  return (self: Fields) =>
    objectsOf(self, list).flatMap(({ index, entry }) =>
      listOf(entry, "dependsOn").map((name, i) => ({ path: [list, index, "dependsOn", i], name })),
    );
}

function worksOf(list: NodeList, kind: "agent" | "tool") {
  return (self: Fields) =>
    objectsOf(self, list).flatMap(({ index, entry }) => {
      const work = entry[kind];
      return isFields(work) ? [{ path: [list, index, kind, "ref"], name: work.ref }] : [];
    });
}

const workRules = nodeLists.flatMap((list) =>
  (["agent", "tool"] as const).map((kind) =>
    knownNames({
      code: kind === "agent" ? "UnknownAgent" : "UnknownTool",
      noun: kind,
      message: `Every ${kind}.ref in ${list} must name an entry of ${kind}s.`,
      fieldPath: `.${list}`,
      cel: `!has(self.${list}) || ${bound(`${kind}s`, "names", `self.${list}.all(n, !has(n.${kind}) || n.${kind}.ref in names)`)}`,
      known: `${kind}s`,
      references: worksOf(list, kind),
    }),
  ),
);

const dependencyRules = nodeLists.flatMap((list): Rule[] => [
  knownNames({
    code: "UnknownNode",
    noun: "node",
    message:
      list === "nodes"
        ? "Every name in dependsOn must be a node of nodes."
        : "Every name in dependsOn of finally must be a node of finally: all nodes have ended before those start.",
    fieldPath: `.${list}`,
    cel: `!has(self.${list}) || ${bound(list, "names", `self.${list}.all(n, !has(n.dependsOn) || n.dependsOn.all(d, d in names))`)}`,
    known: list,
    elsewhere:
      list === "nodes"
        ? { list: "finally", because: "those start after all nodes have ended" }
        : { list: "nodes", because: "all of those have ended before finally starts" },
    references: dependencies(list),
  }),
  {
    code: "SelfDependency",
    at: spec,
    message: "A node must not depend on itself.",
    cel: `!has(self.${list}) || self.${list}.all(n, !has(n.dependsOn) || !(n.name in n.dependsOn))`,
    fieldPath: `.${list}`,
    check: (self) =>
      objectsOf(self, list).flatMap(({ index, entry }) =>
        listOf(entry, "dependsOn").flatMap((name, i) =>
          name === entry.name
            ? [{ path: [list, index, "dependsOn", i], message: `node "${name}" depends on itself`, hint: "remove it" }]
            : [],
        ),
      ),
  },
]);

const notOnApprovals = ["forEach", "retry", "timeoutSeconds", "budget"] as const;

export const executionRules: readonly Rule[] = [
  ...["models", "tools", "agents", ...nodeLists].map(uniqueNames),
  {
    code: "DuplicateName",
    at: spec,
    message: "A name must not be in both nodes and finally.",
    cel: `!has(self.finally) || ${bound("nodes", "names", "self.finally.all(f, !(f.name in names))")}`,
    fieldPath: ".finally",
    check: (self) => {
      const names = new Set(namesOf(self, "nodes"));
      return objectsOf(self, "finally").flatMap(({ index, entry }) =>
        typeof entry.name === "string" && names.has(entry.name)
          ? [{ path: ["finally", index, "name"], message: `name "${entry.name}" is already used in nodes` }]
          : [],
      );
    },
  },
  {
    code: "ReservedName",
    at: ["spec", "tools", "*"],
    message: "A tool's name must not begin with extract-.",
    cel: "!self.name.startsWith('extract-')",
    fieldPath: ".name",
    check: (self) =>
      typeof self.name === "string" && self.name.startsWith("extract-")
        ? [
            {
              path: ["name"],
              // LangChain takes a call of such a name for its own way of getting a structured answer.
              message:
                "names that begin with extract- are kept for structured answers: such a tool would never be called",
              hint: "give it another name",
            },
          ]
        : [],
  },
  ...([["agents", "tools"], ...nodeLists.map((list) => [list, "dependsOn"] as const)] as const).map(
    ([list, field]): Rule => ({
      code: "DuplicateName",
      at: ["spec", list, "*"],
      message: `Names in ${field} must be unique.`,
      cel: undefined, // x-kubernetes-list-type: set
      check: (self) => repeats(self, field),
    }),
  ),
  exactlyOne("ToolKind", ["spec", "tools", "*"], ["http", "module"], "the tool"),
  exactlyOne("ModuleSource", ["spec", "tools", "*", "module"], ["path", "configMapRef"], "the module"),
  exactlyOne("NodeKind", ["spec", "nodes", "*"], ["agent", "tool", "approval"], "the node"),
  exactlyOne("NodeKind", ["spec", "finally", "*"], ["agent", "tool"], "the node"),
  {
    code: "ApprovalAlone",
    at: ["spec", "nodes", "*"],
    message: "An approval node has no forEach, retry, timeoutSeconds or budget: a person is asked once.",
    cel: `!has(self.approval) || !(${notOnApprovals.map((field) => `has(self.${field})`).join(" || ")})`,
    fieldPath: ".approval",
    check: (self) =>
      has(self, "approval")
        ? notOnApprovals
            .filter((field) => has(self, field))
            .map((field) => ({
              path: [field],
              message: `an approval node has no ${field}: a person is asked once`,
              hint: field === "timeoutSeconds" ? "write it inside approval" : "remove it",
            }))
        : [],
  },
  exactlyOne("HeaderValue", ["spec", "tools", "*", "http", "headers", "*"], ["value", "secretKeyRef"], "the header"),
  {
    code: "DuplicateName",
    at: ["spec", "tools", "*", "http"],
    message: "Header names must be unique.",
    cel: undefined, // x-kubernetes-list-map-keys
    check: (self) => duplicates(self, "headers", "name"),
  },
  ...nodeLists.map(
    (list): Rule => ({
      code: "DuplicateUnit",
      at: ["spec", list, "*"],
      message: "A unit may have one budget.",
      cel: undefined, // x-kubernetes-list-map-keys
      check: (self) => duplicates(self, "budget", "unit"),
    }),
  ),
  knownNames({
    code: "UnknownModel",
    noun: "model",
    message: "Every agent's model must name an entry of models.",
    fieldPath: ".agents",
    cel: `!has(self.agents) || ${bound("models", "names", "self.agents.all(a, a.model in names)")}`,
    known: "models",
    references: (self) =>
      objectsOf(self, "agents").map(({ index, entry }) => ({ path: ["agents", index, "model"], name: entry.model })),
  }),
  knownNames({
    code: "UnknownTool",
    noun: "tool",
    message: "Every name in an agent's tools must name an entry of tools.",
    fieldPath: ".agents",
    cel: `!has(self.agents) || ${bound("tools", "names", "self.agents.all(a, !has(a.tools) || a.tools.all(t, t in names))")}`,
    known: "tools",
    references: (self) =>
      objectsOf(self, "agents").flatMap(({ index, entry }) =>
        listOf(entry, "tools").map((name, i) => ({ path: ["agents", index, "tools", i], name })),
      ),
  }),
  ...workRules,
  ...dependencyRules,
  {
    code: "RunOnCancel",
    at: ["spec", "finally", "*"],
    message: "runOnCancel is for tool nodes: a cancelled run makes no model calls.",
    cel: "!has(self.runOnCancel) || !self.runOnCancel || has(self.tool)",
    fieldPath: ".runOnCancel",
    check: (self) =>
      self.runOnCancel === true && !has(self, "tool")
        ? [
            {
              path: ["runOnCancel"],
              message: "runOnCancel is for tool nodes: a cancelled run makes no model calls",
              hint: "remove it, or do the work in a tool",
            },
          ]
        : [],
  },
];

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
