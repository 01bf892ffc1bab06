/** The accounts of a run, told over from its record: each call is put to the admission that governs live calls. */
import { admit, crossedAudits, outputLeft } from "../protocol/accounts.ts";
import { add, applyLedger, emptyAccount, emptyLedger, subtract, zeroAmounts } from "../protocol/amounts.ts";
import type { Account, Amounts, Ledger } from "../protocol/types.ts";
import type { TokenUsage } from "../steps/format.ts";
import { type Admission, admission, type Ask, type Asking, type Hold, Purchase, type Stop } from "../steps/purchase.ts";
import { toolHold, valueHold } from "../steps/usage.ts";
import { executionLimits, type OpenLimits } from "./limits.ts";
import type { EffectivePolicy } from "./types.ts";

/** What a model call used: all that later admissions count, whatever its own budget had left for it at the time. */
export interface Used {
  /** What it reserved when it began. */
  readonly inputBound: number;
  /** Of its answer, as it is estimated: what a live call buys. */
  readonly output: number;
  /** As the provider counted it; undefined = it did not say. */
  readonly reported: number | undefined;
  readonly amounts: Amounts;
  /** Of its tokens, what only the provider knew beyond what was held. */
  readonly overshoot: number;
}

export const nothingUsed: Used = {
  inputBound: 0,
  output: 0,
  reported: undefined,
  amounts: zeroAmounts,
  overshoot: 0,
};

export function usedBy(usage: TokenUsage | null | undefined): Used {
  if (usage === null || usage === undefined) return nothingUsed;
  const { estimated, reported, counted, overshoot } = usage;
  const amounts = {
    ...zeroAmounts,
    InputTokens: Math.max(estimated.input, reported?.input ?? 0),
    OutputTokens: Math.max(estimated.output, reported?.output ?? 0),
    TotalTokens: counted.total + overshoot,
  };
  return { inputBound: estimated.input, output: estimated.output, reported: reported?.output, amounts, overshoot };
}

/** What a call would have been stopped by, and the tokens that it would have used all the same. */
export interface Cut {
  readonly stop: Stop;
  readonly tokens: number;
}

interface Accounts {
  readonly execution: Account;
  readonly node: Account;
}

const modelHold: Hold = { settled: { ...zeroAmounts, ModelCalls: 1 }, reserved: { ...zeroAmounts, Steps: 1 } };
const holds = { model: modelHold, tool: toolHold, value: valueHold };
export type SpendingKind = keyof typeof holds;

export class Spending {
  readonly #policy: EffectivePolicy;
  readonly #limitsOf: (node: string) => OpenLimits;
  readonly #nodes = new Map<string, Account>();
  #execution: Account;

  constructor(policy: EffectivePolicy, limitsOf: (node: string) => OpenLimits) {
    this.#policy = policy;
    this.#limitsOf = limitsOf;
    const { limits, auditLimits } = executionLimits(policy);
    this.#execution = emptyAccount(limits, auditLimits);
  }

  /** Why the call may not begin. Nothing is held. */
  refusal(node: string, kind: SpendingKind, used: Used): Stop | undefined {
    const asking = kind === "model" ? this.#purchase(node, used).begin() : askOnce(holds[kind]);
    return drive(this.#accounts(node), asking);
  }

  /** Why a model call's answer would have ended before it did. `wasCut`: it wanted more. Nothing is held. */
  cut(node: string, used: Used, wasCut: boolean): Cut | undefined {
    const purchase = this.#purchase(node, used);
    // It has begun, and is bought here once more from its beginning.
    const before = moved(this.#accounts(node), ledgerOf(emptyLedger, modelHold), emptyLedger);
    const stop = drive(before, wholeCall(purchase, used, wasCut));
    const held = purchase.reserved.TotalTokens;
    const total = used.amounts.TotalTokens;
    // Where it would have been cut no earlier than it was, what came on top of that would have come too.
    return stop && { stop, tokens: held < total - used.overshoot ? held : total };
  }

  /** Both return the limits of Audit policies that this has just passed, as "Scope/Unit". */
  begin(node: string, kind: SpendingKind): string[] {
    return this.#put(node, holds[kind]);
  }

  /** `isStep`: false = a call that was made again, or lost. */
  end(node: string, { amounts }: Pick<Used, "amounts">, isStep: boolean): string[] {
    const step: Amounts = { ...zeroAmounts, Steps: 1 };
    const settled = isStep ? add(amounts, step) : amounts;
    return this.#put(node, { settled, reserved: subtract(zeroAmounts, step) });
  }

  #put(node: string, hold: Hold): string[] {
    const before = this.#accounts(node);
    const after = moved(before, emptyLedger, ledgerOf(emptyLedger, hold));
    this.#execution = after.execution;
    this.#nodes.set(node, after.node);
    return crossedAudits(before, after);
  }

  #purchase(node: string, { inputBound }: Used): Purchase {
    const { execution, node: own } = this.#accounts(node);
    const accountLimits = [execution.limits, own.limits];
    return new Purchase({ inputBound, accountLimits, callLimits: this.#policy.limits.call });
  }

  #newAccount(node: string): Account {
    const { limits, auditLimits } = this.#limitsOf(node);
    return emptyAccount(limits, auditLimits);
  }

  #accounts(node: string): Accounts {
    return { execution: this.#execution, node: this.#nodes.get(node) ?? this.#newAccount(node) };
  }
}

/** On these accounts alone, so that what is asked for is not held. No sibling holds tokens of them, so nothing waits. */
function drive(before: Accounts, asking: Asking): Stop | undefined {
  let [accounts, ledger] = [before, emptyLedger];
  const answer = (ask: Ask): Admission => {
    const after = ledgerOf(ledger, ask);
    const { execution, node } = accounts;
    const refused = admit({ execution: { account: execution }, node, item: { ledger } }, after, ask.op);
    if (refused !== undefined) return admission(refused);
    [accounts, ledger] = [moved(accounts, ledger, after), after];
    return { code: "OK", left: outputLeft(accounts) };
  };
  for (let step = asking.next(); ; step = asking.next(answer(step.value))) if (step.done === true) return step.value;
}

function* askOnce(hold: Hold): Asking {
  const reply = yield { ...hold, op: "begin", isLater: false };
  return reply.code === "OK" ? undefined : { by: "Account", refusal: reply.refusal };
}

/**
 * As it went when it was recorded, its answer token by token. A provider ends at the cap that it is given, by its own count, which
 * is the estimate where it reports none; one whose answer had to be cut has not.
 */
function* wholeCall(purchase: Purchase, { output, reported }: Used, wasCut: boolean): Asking {
  const refused = yield* purchase.begin();
  if (refused !== undefined) return refused;
  const { cap = Number.POSITIVE_INFINITY } = purchase;
  const count = reported ?? (wasCut ? 0 : output);
  const isCapped = count > cap || (wasCut && count === cap);
  const wanted = isCapped ? Math.floor((output * cap) / count) : output + (wasCut ? 1 : 0);
  for (let text = 0; text < wanted; ) {
    // Nothing happens before what is bought is used up.
    text = Math.min(wanted, Math.max(text, purchase.reserved.OutputTokens) + 1);
    const stop = yield* purchase.output(text);
    if (stop !== undefined) return stop;
  }
  return isCapped ? yield* purchase.capped(cap) : undefined;
}

function ledgerOf(before: Ledger, { settled, reserved }: Hold): Ledger {
  return { ...before, settled: add(before.settled, settled), reserved: add(before.reserved, reserved) };
}

function moved({ execution, node }: Accounts, before: Ledger, after: Ledger): Accounts {
  return { execution: applyLedger(execution, before, after), node: applyLedger(node, before, after) };
}
