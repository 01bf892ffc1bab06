import { type Fields, has, isFields } from "./fields.ts";
import { duplicates, type Rule } from "./rule.ts";

/**
 * Where a rule of a policy can stand, below spec. A misspelt field is pruned by the API server, so
 * an object counts only by its known members: `models: { alow: … }` must not pass as a policy
 * without limits. `enforcement` alone rules nothing. A test compares this with the schema.
 */
export const ruleFields: Readonly<Record<string, readonly string[]>> = {
  maxTokens: [],
  budgets: [],
  models: ["allow", "deny", "endpoints"],
  tools: ["allow", "deny", "hosts", "modules", "effects"],
  retry: ["maxRetries", "retryDelaySeconds", "exponentialBackoff", "maxDelaySeconds", "jitter", "retryOn"],
  infrastructure: ["maxRestarts"],
  images: ["allow"],
  limits: ["maxSteps", "maxParallel", "maxDurationSeconds", "maxConcurrentExecutions", "loopDetection"],
  onInDoubt: [],
  onLossWindow: [],
  recording: ["content", "redact", "maxBodyBytes"],
};

/** Present but empty, these say nothing; an empty allow list (hosts, endpoints, …) refuses everything. */
const emptySaysNothing = new Set(["budgets", "deny", "effects", "redact"]);

function celOf(path: string, field: string): string {
  const present = `has(${path}.${field})`;
  return emptySaysNothing.has(field) ? `${present} && ${path}.${field}.size() > 0` : present;
}

function says(self: Fields, field: string): boolean {
  if (!has(self, field)) return false;
  const value = self[field];
  if (!emptySaysNothing.has(field)) return true;
  return Array.isArray(value) ? value.length > 0 : isFields(value) && Object.keys(value).length > 0;
}

export const policyRules: readonly Rule[] = [
  {
    code: "EmptyPolicy",
    at: ["spec"],
    message: "A policy must hold at least one rule.",
    cel: Object.entries(ruleFields)
      .map(([field, members]) =>
        members.length === 0
          ? `(${celOf("self", field)})`
          : `(has(self.${field}) && (${members.map((member) => celOf(`self.${field}`, member)).join(" || ")}))`,
      )
      .join(" || "),
    check: (self) =>
      Object.entries(ruleFields).some(([field, members]) => {
        const value = self[field];
        if (members.length === 0) return says(self, field);
        return isFields(value) && members.some((member) => says(value, member));
      })
        ? []
        : [{ path: [], message: "the policy holds no rule", hint: "set at least one, for example maxTokens" }],
  },
  {
    code: "DuplicateName",
    at: ["spec"],
    message: "Names in budgets must be unique.",
    cel: undefined, // x-kubernetes-list-map-keys
    check: (self) => duplicates(self, "budgets", "name"),
  },
  {
    code: "CallBudget",
    at: ["spec", "budgets", "*"],
    message: "A budget of scope Call counts tokens: one call is always one call.",
    cel: "self.scope != 'Call' || !(self.unit in ['ModelCalls', 'ToolCalls'])",
    fieldPath: ".unit",
    check: (self) =>
      self.scope === "Call" && (self.unit === "ModelCalls" || self.unit === "ToolCalls")
        ? [
            {
              path: ["unit"],
              message: `a budget of scope Call limits nothing in ${self.unit}: one call is always one call`,
              hint: "use scope Node or Execution, or a unit of tokens",
            },
          ]
        : [],
  },
];
