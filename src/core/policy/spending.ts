/** What recorded calls use of budgets, and which limit that passes: admission told over from a record. */
import { add, zeroAmounts } from "../protocol/amounts.ts";
import {
  type AccountScope,
  type Amounts,
  type Limits,
  type Refusal,
  tokenUnits,
  type Unit,
  units,
} from "../protocol/types.ts";
import type { TokenUsage } from "../steps/format.ts";
import type { ScopedLimits } from "./types.ts";

/** What a model call used: all that later admissions count, whatever its own budget had left for it at the time. */
export interface Used {
  /** What it reserved when it began. */
  readonly inputBound: number;
  readonly input: number;
  readonly output: number;
  readonly total: number;
}

export const nothingUsed: Used = { inputBound: 0, input: 0, output: 0, total: 0 };

export function usedBy(usage: TokenUsage | null | undefined): Used {
  if (usage === null || usage === undefined) return nothingUsed;
  const { estimated, reported } = usage;
  return {
    inputBound: estimated.input,
    input: Math.max(estimated.input, reported?.input ?? 0),
    output: Math.max(estimated.output, reported?.output ?? 0),
    total: usage.counted.total + usage.overshoot,
  };
}

export interface Passed {
  readonly scope: AccountScope;
  readonly unit: Unit;
  readonly refusal: Refusal;
  /** Tokens that the call would still have used. */
  readonly kept: number;
}

interface Spent {
  amounts: Amounts;
  /** Steps of calls at work. */
  steps: number;
}

/** The accounts of a run and of its nodes. */
export class Spending {
  readonly #execution: Spent = { amounts: zeroAmounts, steps: 0 };
  readonly #nodes = new Map<string, Spent>();

  /** Limits that keep the call from beginning, wider scope first. `kind`: a value is made without a call. */
  refused(limits: ScopedLimits, node: string, kind: "model" | "tool" | "value", used: Used): Passed[] {
    const least = (unit: Unit): number => {
      if (unit === "Steps") return 1;
      if (unit === "ToolCalls") return kind === "tool" ? 1 : 0;
      if (kind !== "model") return 0;
      if (unit === "TotalTokens") return used.inputBound + 1;
      return unit === "InputTokens" ? used.inputBound : 1;
    };
    const asked = (unit: Unit): number => {
      if (unit === "TotalTokens") return used.total;
      return unit === "OutputTokens" ? used.output : 0;
    };
    return this.#passed(
      limits,
      node,
      units,
      (unit) => ({ least: least(unit), need: asked(unit) }),
      () => 0,
    );
  }

  /** Token limits that cut the call before its answer was whole. */
  cut(limits: ScopedLimits, node: string, used: Used): Passed[] {
    const { inputBound, output } = used;
    const need = (unit: Unit) => (unit === "TotalTokens" ? inputBound + output : output);
    return this.#passed(
      limits,
      node,
      ["TotalTokens", "OutputTokens"],
      (unit) => ({ least: need(unit), need: need(unit) }),
      (unit, left) => Math.min(used.total, unit === "TotalTokens" ? Math.max(left, inputBound) : inputBound + left),
    );
  }

  begin(node: string, kind: "model" | "tool"): void {
    for (const spent of this.#both(node)) {
      spent.steps += 1;
      spent.amounts = add(spent.amounts, { ...zeroAmounts, [kind === "model" ? "ModelCalls" : "ToolCalls"]: 1 });
    }
  }

  /** `isStep`: false = a call that was made again, or lost. */
  end(node: string, used: Used, isStep: boolean): void {
    for (const spent of this.#both(node)) spent.steps -= 1;
    this.#add(node, used, isStep);
  }

  value(node: string): void {
    this.#add(node, nothingUsed, true);
  }

  /** Every limit that is passed by now. */
  over(limits: ScopedLimits, node: string): { readonly scope: AccountScope; readonly unit: Unit }[] {
    return this.#scopes(limits, node).flatMap(({ scope, limits: own, spent }) =>
      units.flatMap((unit) => (spent.amounts[unit] > (own[unit] ?? Number.POSITIVE_INFINITY) ? [{ scope, unit }] : [])),
    );
  }

  #add(node: string, { input, output, total }: Used, isStep: boolean): void {
    const more = {
      ...zeroAmounts,
      InputTokens: input,
      OutputTokens: output,
      TotalTokens: total,
      Steps: isStep ? 1 : 0,
    };
    for (const spent of this.#both(node)) spent.amounts = add(spent.amounts, more);
  }

  #passed(
    limits: ScopedLimits,
    node: string,
    of: readonly Unit[],
    asks: (unit: Unit) => { readonly least: number; readonly need: number },
    keeps: (unit: Unit, left: number) => number,
  ): Passed[] {
    return this.#scopes(limits, node).flatMap(({ scope, limits: own, spent }) =>
      of.flatMap((unit): Passed[] => {
        const limit = own[unit];
        const { least, need } = asks(unit);
        if (limit === undefined || least === 0) return [];
        const reserved = unit === "Steps" ? spent.steps : 0;
        const left = limit - spent.amounts[unit] - reserved;
        if (least <= left) return [];
        const refusal = { scope, unit, limit, spent: spent.amounts[unit], reserved, need: Math.max(least, need) };
        return [{ scope, unit, refusal, kept: keeps(unit, Math.max(0, left)) }];
      }),
    );
  }

  #scopes({ execution, node: each }: ScopedLimits, node: string) {
    const [whole, own] = this.#both(node);
    const scopes: { readonly scope: AccountScope; readonly limits: Limits; readonly spent: Spent }[] = [
      { scope: "Execution", limits: execution, spent: whole },
      { scope: "Node", limits: each, spent: own },
    ];
    return scopes;
  }

  #both(node: string): [Spent, Spent] {
    const known = this.#nodes.get(node) ?? { amounts: zeroAmounts, steps: 0 };
    this.#nodes.set(node, known);
    return [this.#execution, known];
  }
}

export interface CallPassed {
  readonly unit: Unit;
  readonly limit: number;
  readonly used: number;
  /** The input alone is too much, which is known before the call. */
  readonly isRefused: boolean;
  readonly kept: number;
}

/** Limits of scope Call that a model call passed. */
export function passedByCall(limits: Limits, { inputBound, output, total }: Used): CallPassed[] {
  return tokenUnits.flatMap((unit): CallPassed[] => {
    const limit = limits[unit];
    if (limit === undefined) return [];
    if (unit !== "OutputTokens" && inputBound > limit)
      return [{ unit, limit, used: inputBound, isRefused: true, kept: 0 }];
    const used = unit === "TotalTokens" ? inputBound + output : unit === "OutputTokens" ? output : 0;
    const kept = unit === "TotalTokens" ? limit : inputBound + limit;
    return used > limit ? [{ unit, limit, used, isRefused: false, kept: Math.min(total, kept) }] : [];
  });
}
