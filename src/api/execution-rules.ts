import { type Fields, has, isFields, listOf, namesOf, objectsOf } from "./fields.ts";
import { replayRules } from "./replay-rules.ts";
import { duplicates, repeats, type Rule } from "./rule.ts";
import { bound, exactlyOne, knownNames, uniqueNames } from "./rule-makers.ts";

const spec = ["spec"] as const;
const nodeLists = ["nodes", "finally"] as const;
type NodeList = (typeof nodeLists)[number];

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

const expectable = ["hash", "task", "policy", "agents", "tools", "runtime"] as const;

export const executionRules: readonly Rule[] = [
  ...replayRules,
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
  {
    code: "DuplicateName",
    at: ["spec", "agents", "*"],
    message: "Names in tools must be unique.",
    cel: undefined, // x-kubernetes-list-type: set
    check: (self) => repeats(self, "tools"),
  },
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
    code: "EmptyExpectation",
    at: spec,
    message: "expectedHash must hold hash or at least one part.",
    cel: `!has(self.expectedHash) || [${expectable.map((part) => `has(self.expectedHash.${part})`).join(", ")}].exists(x, x)`,
    fieldPath: ".expectedHash",
    check: ({ expectedHash }) =>
      !isFields(expectedHash) || expectable.some((part) => has(expectedHash, part))
        ? []
        : [
            {
              path: ["expectedHash"],
              message: "expectedHash is empty, so it expects nothing",
              hint: `give it one of ${expectable.join(", ")}, as oao hash FILE prints them`,
            },
          ],
  },
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
