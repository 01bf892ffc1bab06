/** Arithmetic on the unit vector. */
import type { Account, Amounts, Ledger, Limits, Unit } from "./types.ts";

export const zeroAmounts: Amounts = {
  TotalTokens: 0,
  InputTokens: 0,
  OutputTokens: 0,
  ModelCalls: 0,
  ToolCalls: 0,
  Steps: 0,
};
export const emptyLedger: Ledger = { settled: zeroAmounts, overshoot: zeroAmounts, reserved: zeroAmounts };

export function emptyAccount(limits: Limits, auditLimits: Limits): Account {
  return {
    limits,
    auditLimits,
    settled: zeroAmounts,
    lost: zeroAmounts,
    overshoot: zeroAmounts,
    reserved: zeroAmounts,
  };
}

/** One number per unit. */
export function mapUnits(of: (unit: Unit) => number): Amounts {
  return {
    TotalTokens: of("TotalTokens"),
    InputTokens: of("InputTokens"),
    OutputTokens: of("OutputTokens"),
    ModelCalls: of("ModelCalls"),
    ToolCalls: of("ToolCalls"),
    Steps: of("Steps"),
  };
}

export function add(a: Amounts, b: Amounts): Amounts {
  return mapUnits((unit) => a[unit] + b[unit]);
}

export function subtract(a: Amounts, b: Amounts): Amounts {
  return mapUnits((unit) => a[unit] - b[unit]);
}

/** What admissions count: everything used, charged for dead calls, or known to the provider only. */
export function spentOf(account: Account, unit: Unit): number {
  return account.settled[unit] + account.lost[unit] + account.overshoot[unit];
}

/** B2: `after` replaces `before`, so sending it twice changes nothing. */
export function applyLedger(account: Account, before: Ledger, after: Ledger): Account {
  return {
    ...account,
    settled: add(account.settled, subtract(after.settled, before.settled)),
    overshoot: add(account.overshoot, subtract(after.overshoot, before.overshoot)),
    reserved: add(account.reserved, subtract(after.reserved, before.reserved)),
  };
}

/** An attempt died: what it held is charged as lost, but for Steps, which its successor makes again. */
export function loseReserved(account: Account, held: Amounts): Account {
  return {
    ...account,
    reserved: subtract(account.reserved, held),
    lost: add(account.lost, { ...held, Steps: 0 }),
  };
}
