/** Rules that a recorded call would have broken, in the words and the order of gate and budgets. */
import type { ExecutionSpec } from "../../api/types.ts";
import type { StepIdentity } from "../steps/format.ts";
import { checkModel, checkTool, modelCheckOf, toolCheckOf } from "./checks.ts";
import { auditLimitMessage, budgetMessage, callBudgetMessage, loopMessage } from "./messages.ts";
import { type CallPassed, type Passed, passedByCall, type Spending, type Used } from "./spending.ts";
import type { EffectivePolicy, Violation } from "./types.ts";

export type Rule = Pick<Violation, "enforcement" | "message" | "path">;

/** A broken rule, and how many tokens of the call would have been used all the same. */
export interface Broken {
  readonly rule: Rule;
  readonly kept: number;
}

export type CallKind = "model" | "tool" | "value";

/** Where a call is made; a budget that is used up is told of once per `teller`. */
export interface CallPlace {
  readonly node: string;
  readonly teller: string;
}

export class RecordedRules {
  readonly #spec: ExecutionSpec;
  readonly #policy: EffectivePolicy;
  readonly #told = new Set<string>();

  constructor(spec: ExecutionSpec, policy: EffectivePolicy) {
    this.#spec = spec;
    this.#policy = policy;
  }

  /** Once per call however often it is made. `made`: how often its node made it by now. */
  lists(item: string, { kind, name }: Pick<StepIdentity, "kind" | "name">, made: number): Broken[] {
    const { sameCall } = this.#policy;
    const isLoop = sameCall !== undefined && made > sameCall.limit;
    const loop = isLoop
      ? [
          {
            enforcement: sameCall.enforcement,
            message: loopMessage(item, kind, name, made, sameCall.limit),
            path: "spec.limits.loopDetection.sameCall",
          },
        ]
      : [];
    return [...loop, ...this.#checks(kind, name)].map((rule) => ({ rule, kept: 0 }));
  }

  /** Budgets that do not let the call begin. */
  refusals(place: CallPlace, accounts: Spending, kind: CallKind, used: Used): Broken[] {
    const { limits } = this.#policy;
    const ofCall = kind === "model" ? passedByCall(limits.call, used).filter(({ isRefused }) => isRefused) : [];
    return [
      ...ofCall.map((passed) => this.#callBudget(passed)),
      ...accounts.refused(limits, place.node, kind, used).flatMap((passed) => this.#budget(place, passed)),
    ];
  }

  /** Budgets that end before the answer does. */
  cuts(place: CallPlace, accounts: Spending, used: Used): Broken[] {
    const { limits } = this.#policy;
    const ofCall = passedByCall(limits.call, used).filter(({ isRefused }) => !isRefused);
    return [
      ...ofCall.map((passed) => this.#callBudget(passed)),
      ...accounts.cut(limits, place.node, used).flatMap((passed) => this.#budget(place, passed)),
    ];
  }

  /** Limits of Audit policies that the accounts have passed by now. */
  audits({ node }: CallPlace, accounts: Spending): Broken[] {
    return accounts.over(this.#policy.auditLimits, node).flatMap(({ scope, unit }) => {
      const limit = `${scope}/${unit}`;
      return this.#isTold(`Audit/${limit} ${scope === "Node" ? node : ""}`) ? [] : [this.#audit(limit)];
    });
  }

  /** The same of one call that has ended, with what it was charged for its input. */
  callAudits(used: Used): Broken[] {
    const charged = { ...used, inputBound: used.input };
    return passedByCall(this.#policy.auditLimits.call, charged).map(({ unit }) => this.#audit(`Call/${unit}`));
  }

  #checks(kind: string, name: string): Violation[] {
    if (kind === "model") {
      const model = this.#spec.models?.find((each) => each.name === name);
      return model === undefined ? [] : checkModel(this.#policy, modelCheckOf(model));
    }
    const tool = this.#spec.tools?.find((each) => each.name === name);
    return checkTool(this.#policy, tool === undefined ? { tool: name } : toolCheckOf(tool));
  }

  #callBudget({ unit, limit, used, kept }: CallPassed): Broken {
    const message = callBudgetMessage(unit, limit, used, this.#policy.limitNames);
    return { rule: { enforcement: "Enforce", message, path: `Call/${unit}` }, kept };
  }

  /** A budget that is used up stops every later call too: only the first one tells. */
  #budget({ node, teller }: CallPlace, { scope, unit, refusal, kept }: Passed): Broken[] {
    if (this.#isTold(`${scope}/${unit} ${scope === "Node" ? node : ""} ${teller}`)) return [];
    const message = budgetMessage(refusal, this.#policy.limitNames);
    return [{ rule: { enforcement: "Enforce", message, path: `${scope}/${unit}` }, kept }];
  }

  #audit(limit: string): Broken {
    const message = auditLimitMessage(limit, this.#policy.limitNames);
    return { rule: { enforcement: "Audit", message, path: limit }, kept: 0 };
  }

  #isTold(what: string): boolean {
    if (this.#told.has(what)) return true;
    this.#told.add(what);
    return false;
  }
}
