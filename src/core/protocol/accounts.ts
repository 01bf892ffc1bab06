/** Admission and settlement on the two accounts a command may touch: the execution's and the node's. */
import { loseReserved, spentOf, subtract } from "./amounts.ts";
import {
  type Account,
  type AccountScope,
  type ExecutionRecord,
  type ItemRecord,
  type Ledger,
  type Records,
  type Refusal,
  type Reply,
  type SequencedWorkerCommand,
  type Unit,
  units,
} from "./types.ts";

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
 * Steps never waits either: a tool call holds its step while its inner calls ask for theirs, so it would wait for itself.
 * heal is asked like grow: what others were admitted to while the store had forgotten may have taken its room.
 */
export function admit(
  records: { execution: Pick<ExecutionRecord, "account">; node: Account; item: Pick<ItemRecord, "ledger"> },
  after: Ledger,
  op: "begin" | "grow" | "heal",
): Reply | undefined {
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
      if (op !== "begin" || unit === "Steps" || spent + need > limit)
        return { code: unit === "Steps" ? "LIMIT" : "BUDGET", refusal };
      waiting ??= refusal;
    }
  }
  return waiting === undefined ? undefined : { code: "WAIT", refusal: waiting };
}

/** What the account must still hold for `after`: new use and new reservations together. */
function growth(before: Ledger, after: Ledger, unit: Unit): number {
  return after.settled[unit] - before.settled[unit] + (after.reserved[unit] - before.reserved[unit]);
}

/**
 * What is wrong with a ledger that shall replace `before`; undefined = nothing.
 * Use never shrinks (B2). begin and grow only add holds; commit and finish count nothing that was not held (B1).
 */
export function ledgerProblem(before: Ledger, after: Ledger, op: SequencedWorkerCommand["op"]): string | undefined {
  for (const unit of units) {
    for (const part of [after.settled, after.overshoot, after.reserved]) {
      if (!Number.isSafeInteger(part[unit]) || part[unit] < 0) return "a ledger holds whole numbers from 0";
    }
  }
  const used = subtract(after.settled, before.settled);
  const beyond = subtract(after.overshoot, before.overshoot);
  const freed = subtract(before.reserved, after.reserved);
  if (units.some((unit) => used[unit] < 0 || beyond[unit] < 0)) return "use was taken back";
  if ((op === "begin" || op === "grow") && units.some((unit) => freed[unit] > 0))
    return "only a settlement frees what is held";
  if ((op === "commit" || op === "finish") && units.some((unit) => used[unit] > freed[unit]))
    return "settled more than it held";
  return undefined;
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

/** What the item's current attempt still holds becomes lost on both accounts. `crossed` = audit limits that this passes. */
export function addLost(
  records: Records,
  execution: ExecutionRecord,
  item: ItemRecord | undefined,
): { execution: ExecutionRecord; node: Account | undefined; crossed: string[] } {
  if (item === undefined || records.node === undefined) return { execution, node: records.node, crossed: [] };
  const before = { execution: execution.account, node: records.node };
  const after = {
    execution: loseReserved(before.execution, item.ledger.reserved),
    node: loseReserved(before.node, item.ledger.reserved),
  };
  return {
    execution: { ...execution, account: after.execution },
    node: after.node,
    crossed: crossedAudits(before, after),
  };
}
