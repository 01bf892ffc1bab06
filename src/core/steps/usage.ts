/** Blocks, bounds and what a call is charged. Whole tokens everywhere. */
import { mapUnits, zeroAmounts } from "../protocol/amounts.ts";
import type { Amounts, Limits } from "../protocol/types.ts";
import type { TokenUsage } from "./format.ts";

/** Tokens as the provider reported them; undefined where it said nothing usable. */
export interface Reported {
  readonly input?: number | undefined;
  readonly output?: number | undefined;
  readonly total?: number | undefined;
}

const blockMin = 16;
const blockMax = 512;

/** The unit in which a stream buys tokens: a hundredth of the smallest token budget, so that siblings do not starve each other. */
export function blockSize(limits: readonly Limits[]): number {
  let smallest = blockMax;
  for (const limit of limits) {
    for (const unit of ["TotalTokens", "OutputTokens"] as const) {
      const budget = limit[unit];
      if (budget !== undefined) smallest = Math.min(smallest, Math.max(blockMin, Math.ceil(budget / 100)));
    }
  }
  return smallest;
}

/** What a model call reserves at its begin and while it grows. */
export function modelReservation(inputBound: number, bought: number): Amounts {
  return { ...zeroAmounts, TotalTokens: inputBound + bought, InputTokens: inputBound, OutputTokens: bought, Steps: 1 };
}

/** A tool call holds one step and spends one ToolCalls at begin: an enclosing tool can never wait for its own inner call. */
export const toolHold = { settled: { ...zeroAmounts, ToolCalls: 1 }, reserved: { ...zeroAmounts, Steps: 1 } };

/** A value is a whole step in one command. */
export const valueHold = { settled: { ...zeroAmounts, Steps: 1 }, reserved: zeroAmounts };

export interface Charge {
  readonly settled: Amounts;
  readonly overshoot: Amounts;
  readonly usage: TokenUsage;
}

/**
 * counted = min(max(estimate, reported), reserved). A missing, zero or low report never lowers a charge; what only the
 * provider knew beyond the reservation is overshoot: counted by later admissions, not part of B1.
 */
export function chargeModelCall(
  estimated: { input: number; output: number },
  reported: Reported | undefined,
  reserved: Amounts,
): Charge {
  const input = Math.max(estimated.input, whole(reported?.input));
  const output = Math.max(estimated.output, whole(reported?.output));
  const total = Math.max(input + output, whole(reported?.total));
  const shown = {
    input: usable(reported?.input) ?? estimated.input,
    output: usable(reported?.output) ?? estimated.output,
  };
  const asked: Amounts = { ...zeroAmounts, TotalTokens: total, InputTokens: input, OutputTokens: output };
  const settled = mapUnits((unit) => Math.min(asked[unit], reserved[unit]));
  const overshoot = mapUnits((unit) => asked[unit] - settled[unit]);
  return {
    settled,
    overshoot,
    usage: {
      ...shown,
      total: usable(reported?.total) ?? shown.input + shown.output,
      reported: reported === undefined ? null : definedOnly(reported),
      estimated,
      counted: { input: settled.InputTokens, output: settled.OutputTokens, total: settled.TotalTokens },
      overshoot: overshoot.TotalTokens,
    },
  };
}

/** As large as a budget may be: no figure of a provider can push a sum of them out of the whole numbers. */
const reportedMax = 1_000_000_000;

/** Providers' figures are input: only finite, non-negative numbers count, rounded up. */
function whole(value: number | undefined): number {
  return usable(value) ?? 0;
}

function usable(value: number | undefined): number | undefined {
  return value === undefined || !Number.isFinite(value) || value < 0
    ? undefined
    : Math.min(Math.ceil(value), reportedMax);
}

function definedOnly(reported: Reported): { input?: number; output?: number; total?: number } {
  const kept: { input?: number; output?: number; total?: number } = {};
  for (const name of ["input", "output", "total"] as const) {
    const value = reported[name];
    if (value !== undefined && Number.isFinite(value)) kept[name] = value;
  }
  return kept;
}
