/** Admission and settlement on the two accounts a command may touch: the execution's and the node's. */
import { loseReserved, spentOf, subtract } from "./amounts.ts";
import { type Account, type AccountScope, type ExecutionRecord, type ItemRecord, type Ledger, type Records, type Refusal, type Reply, type Unit, units } from "./types.ts";

interface Accounts {
  readonly execution: Account;
  readonly node: Account;
}

/** Report order: the wider scope first, units in wire order. */
function* scopes(accounts: Accounts): Generator<[AccountScope, Account]> {
  yield ["Execution", accounts.execution];
  yield ["Node", accounts.node];
}

/**
 * May the ledger grow to `after`? Undefined = yes.
 * spent + need > limit is final (BUDGET, LIMIT for Steps); only spent + reserved + need > limit is WAIT for begin.
 * grow never waits: text is already flowing, so it is refused at once. A violation may come early by siblings' unspent blocks, never late (B1).
 */
export function admit(records: { execution: ExecutionRecord; node: Account; item: ItemRecord }, after: Ledger, op: "begin" | "grow"): Reply | undefined {
  const before = records.item.ledger;
  const accounts = { execution: records.execution.account, node: records.node };
  let waiting: Refusal | undefined;
  for (const [scope, account] of scopes(accounts)) {
    for (const unit of units) {
      const need = growth(before, after, unit);
      const limit = account.limits[unit];
      if (need <= 0 || limit === undefined) continue;
      const spent = spentOf(account, unit);
      const reserved = account.reserved[unit];
      if (spent + reserved + need <= limit) continue;
      const refusal: Refusal = { scope, unit, limit, spent, reserved, need };
      if (op === "grow" || spent + need > limit) return { code: unit === "Steps" ? "LIMIT" : "BUDGET", refusal };
      waiting ??= refusal;
    }
  }
  return waiting === undefined ? undefined : { code: "WAIT", refusal: waiting };
}

/** What the account must still hold for `after`: new use and new reservations together. */
function growth(before: Ledger, after: Ledger, unit: Unit): number {
  return after.settled[unit] - before.settled[unit] + (after.reserved[unit] - before.reserved[unit]);
}

/** B1 at settlement: counted use comes out of what was reserved. */
export function settlesOnlyReserved(before: Ledger, after: Ledger): boolean {
  const used = subtract(after.settled, before.settled);
  const freed = subtract(before.reserved, after.reserved);
  return units.every((unit) => used[unit] >= 0 && after.reserved[unit] >= 0 && used[unit] <= freed[unit]);
}

/** Audit limits that spending has just passed, as "Scope/Unit". */
export function crossedAudits(before: Accounts, after: Accounts): string[] {
  const crossed: string[] = [];
  for (const [scope, account] of scopes(after)) {
    const earlier = scope === "Execution" ? before.execution : before.node;
    for (const unit of units) {
      const limit = account.auditLimits[unit];
      if (limit === undefined) continue;
      if (spentOf(earlier, unit) <= limit && spentOf(account, unit) > limit) crossed.push(`${scope}/${unit}`);
    }
  }
  return crossed;
}

/** Output tokens that could still be bought: the smallest rest of the budgets they count in; -1 without any. */
export function outputLeft(accounts: Accounts): number {
  let left = -1;
  for (const [, account] of scopes(accounts)) {
    for (const unit of ["TotalTokens", "OutputTokens"] as const) {
      const limit = account.limits[unit];
      if (limit === undefined) continue;
      const rest = Math.max(0, limit - spentOf(account, unit) - account.reserved[unit]);
      left = left === -1 ? rest : Math.min(left, rest);
    }
  }
  return left;
}

/** What the item's current attempt still holds becomes lost on both accounts. */
export function addLost(records: Records, execution: ExecutionRecord, item: ItemRecord | undefined): { execution: ExecutionRecord; node: Account | undefined } {
  if (item === undefined || records.node === undefined) return { execution, node: records.node };
  return {
    execution: { ...execution, account: loseReserved(execution.account, item.ledger.reserved) },
    node: loseReserved(records.node, item.ledger.reserved),
  };
}

