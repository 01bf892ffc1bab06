/** The exact words of budget stops: people and alerts match them. */
import type { Refusal, Unit } from "../protocol/types.ts";
import type { Stop } from "../steps/purchase.ts";
import type { Violation } from "./types.ts";

const whatIsExceeded: Readonly<Record<Unit, string>> = {
  TotalTokens: "Max Token Limit Exceeded",
  InputTokens: "Max Token Limit Exceeded",
  OutputTokens: "Max Token Limit Exceeded",
  ModelCalls: "Max Model Calls Exceeded",
  ToolCalls: "Max Tool Calls Exceeded",
  Steps: "Max Steps Exceeded",
};

/** `limitNames` maps "Execution/TotalTokens" to the budget it came from. */
export function budgetMessage(refusal: Refusal, limitNames: Readonly<Record<string, string>>): string {
  const { scope, unit, limit, spent, reserved, need } = refusal;
  // What a stream has bought is as good as spent to a person: the call that is cut is among the running ones.
  const running = reserved > 0 ? ` (${reserved} by running calls)` : "";
  return `PolicyViolation: ${whatIsExceeded[unit]}: ${named(limitNames, scope, unit)}, limit ${limit}, spent ${spent + reserved}${running}, needed ${need} more`;
}

/** A budget of scope Call: one model call would have to use more than `limit`. */
export function callBudgetMessage(
  unit: Unit,
  limit: number,
  used: number,
  limitNames: Readonly<Record<string, string>>,
): string {
  return `PolicyViolation: ${whatIsExceeded[unit]}: ${named(limitNames, "Call", unit)}, limit ${limit}, one call needs ${used}`;
}

/** `path` is the limit, as in "Execution/TotalTokens". */
export function stopText(
  stop: Stop,
  limitNames: Readonly<Record<string, string>>,
): { readonly message: string; readonly path?: string } {
  switch (stop.by) {
    case "Account": {
      const { scope, unit } = stop.refusal;
      return { message: budgetMessage(stop.refusal, limitNames), path: `${scope}/${unit}` };
    }
    case "Call": {
      const { unit, limit, used } = stop;
      return { message: callBudgetMessage(unit, limit, used, limitNames), path: `Call/${unit}` };
    }
    case "Cap":
      return {
        message: `PolicyViolation: ${whatIsExceeded.TotalTokens}: the answer ended at ${stop.cap} tokens, all that the budgets had left when its call began`,
      };
  }
}

/** All rules that one call breaks, as one violation: told by the first one's path. */
export function violationsText([first, ...others]: readonly Violation[]): string {
  const rest = others.map(({ message }) => message.replace(/^PolicyViolation: /, ""));
  return [first?.message ?? "", ...rest].join("; ");
}

/** A limit of an Audit policy, as in "Execution/ToolCalls". */
export function auditLimitMessage(limit: string, limitNames: Readonly<Record<string, string>>): string {
  const name = limitNames[`Audit/${limit}`];
  return `PolicyViolation: audit limit ${name === undefined ? limit : `${name} (${limit})`} passed`;
}

function named(limitNames: Readonly<Record<string, string>>, scope: string, unit: Unit): string {
  const name = limitNames[`${scope}/${unit}`];
  return name === undefined ? `budget of scope ${scope}, unit ${unit}` : `budget ${name} (${scope} ${unit})`;
}
