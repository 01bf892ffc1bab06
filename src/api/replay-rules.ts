import { has } from "./fields.ts";
import type { Rule } from "./rule.ts";

const spec = ["spec"] as const;

/** Of another run's record: its own lists are known only where it is read. */
export const replayRules: readonly Rule[] = [
  {
    code: "MissingField",
    at: spec,
    message: "task and nodes are required, unless replay names the Execution that they are inherited from.",
    cel: "has(self.replay) || (has(self.task) && has(self.nodes))",
    fieldPath: ".nodes",
    check: (self) =>
      has(self, "replay")
        ? []
        : ["task", "nodes"]
            .filter((field) => !has(self, field))
            .map((field) => ({ path: [field], message: `${field} is missing` })),
  },
  {
    code: "ReplayCursor",
    at: [...spec, "replay"],
    message: "At most one of fromStep and from may be set.",
    cel: "!(has(self.fromStep) && has(self.from))",
    fieldPath: ".from",
    check: (self) =>
      has(self, "fromStep") && has(self, "from")
        ? [{ path: ["from"], message: "fromStep is set too; at most one of them may be", hint: "remove one" }]
        : [],
  },
  {
    code: "ReplayStrict",
    at: [...spec, "replay"],
    message: "A Strict replay makes no calls, so it has no fromStep, from or toolOutputs.",
    cel: "!(has(self.mode) && self.mode == 'Strict') || !(has(self.fromStep) || has(self.from) || has(self.toolOutputs))",
    fieldPath: ".mode",
    check: (self) =>
      self.mode === "Strict"
        ? ["fromStep", "from", "toolOutputs"]
            .filter((field) => has(self, field))
            .map((field) => ({
              path: [field],
              message: `a Strict replay makes no calls, so it has no ${field}`,
              hint: "remove it, or write mode: Fork",
            }))
        : [],
  },
  {
    code: "ReplayTimes",
    at: [...spec, "replay"],
    message: "times is for a Strict replay: a Fork makes calls, once.",
    cel: "!has(self.times) || (!(has(self.mode) && self.mode == 'Fork') && !has(self.fromStep) && !has(self.from))",
    fieldPath: ".times",
    check: (self) =>
      has(self, "times") && (self.mode === "Fork" || has(self, "fromStep") || has(self, "from"))
        ? [{ path: ["times"], message: "times is for a Strict replay: a Fork makes calls, once", hint: "remove it" }]
        : [],
  },
];
